//! `devstack demo`: everything started, payments sent, agents shown, everything torn down.

use std::net::Ipv4Addr;

use anyhow::Result;
use devstack::Customer;

use super::End;
use super::args::DemoArgs;
use super::follow::follow;
use super::output::Output;
use super::start::{Stage, with_stack};
use super::summary::verdict;

/// Runs it. Well only if every agent is ready and the world holds what it should, no more.
pub(crate) async fn run(args: DemoArgs) -> Result<End> {
    let stage = Stage::new(&args.start, (Ipv4Addr::LOCALHOST, 0).into());
    let mut output = Output::new();
    with_stack(stage, &mut output, async |stack, output| {
        let secrets = stack.secrets();
        let customer = Customer::new(stack.url(), &secrets.stripe_webhook, &secrets.api_token)?;
        let agents = follow(&customer, &args.payments, output).await?;
        let verdict = verdict(&agents, stack);
        for line in &verdict.lines {
            output.line(line);
        }
        output.line(if verdict.well {
            "all is well"
        } else {
            "NOT all is well"
        });
        Ok(if verdict.well { End::Well } else { End::Badly })
    })
    .await
}
