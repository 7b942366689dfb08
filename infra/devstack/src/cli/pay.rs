//! `devstack pay`: payments to a running stack.

use anyhow::Result;
use devstack::Customer;

use super::End;
use super::args::PayArgs;
use super::follow::follow;
use super::output::Output;
use super::state_file::{UpState, default_path};
use super::summary;

/// Sends payments and watches their agents.
pub(crate) async fn run(args: PayArgs) -> Result<End> {
    let state = UpState::read(&args.state_file.unwrap_or_else(default_path))?;
    let customer = Customer::new(&state.url, &state.webhook_secret, &state.api_token)?;
    let mut output = Output::new();
    let agents = follow(&customer, &args.payments, &mut output).await?;
    for line in summary::lines(&agents) {
        output.line(&line);
    }
    let well = agents.iter().all(|agent| agent.ready_after.is_some());
    Ok(if well { End::Well } else { End::Badly })
}
