//! `devstack tell`: what becomes of a purchase, told to a running stack.

use anyhow::Result;
use devstack::Customer;

use super::End;
use super::args::TellArgs;
use super::output::Output;
use super::state_file::{UpState, default_path};

/// Sends the events and says how the agent is then.
pub(crate) async fn run(args: TellArgs) -> Result<End> {
    let state = UpState::read(&args.state_file.unwrap_or_else(default_path))?;
    let customer = Customer::new(&state.url, &state.webhook_secret, &state.api_token)?;
    customer.tell(args.agent, args.news.into()).await?;
    let mut output = Output::new();
    let Some(view) = customer.agent(args.agent).await? else {
        output.line("agent      is not known; the events were taken");
        return Ok(End::Badly);
    };
    let awaits = view.awaits.as_deref().unwrap_or("nothing");
    output.line(&format!("agent      is {}, awaits {awaits}", view.status));
    if let Some(page) = customer.status_page(args.agent).await? {
        output.line(&format!("page       {page}"));
    }
    Ok(End::Well)
}
