//! `devstack up`: everything runs until a signal.

use anyhow::Result;

use super::End;
use super::args::UpArgs;
use super::output::Output;
use super::start::with_stack;
use super::state_file::{StateFile, default_path};

/// Starts everything and stays until a signal.
pub(crate) async fn run(args: UpArgs) -> Result<End> {
    let mut output = Output::new();
    with_stack(
        &args.start,
        args.listen,
        &mut output,
        async |stack, output| {
            let state = StateFile::write(default_path(), stack)?;
            output.line(&format!("webhook    {}/webhooks/stripe", stack.url()));
            output.line(&format!(
                "agents     {}/agents/{{id}} (bearer token)",
                stack.url()
            ));
            output.line(&format!("hetzner    {}", stack.sim().hetzner_url()));
            output.line(&format!("tailscale  {}", stack.sim().tailscale_url()));
            output.line(&format!("github     {}", stack.sim().github_url()));
            output.line(&format!(
                "logs       {}",
                stack.state_dir().join("logs").display()
            ));
            output.line(&format!("secrets    {}", state.path().display()));
            output.line("ready; `devstack pay` sends a payment, Ctrl-C stops");
            std::future::pending().await
        },
    )
    .await
}
