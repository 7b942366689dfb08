//! `devstack up`: everything runs until a signal.

use anyhow::Result;
use devstack::Stack;

use super::End;
use super::args::UpArgs;
use super::output::Output;
use super::start::{Stage, with_stack};
use super::state_file::{StateFile, default_path};

/// Starts everything and stays until a signal.
pub(crate) async fn run(args: UpArgs) -> Result<End> {
    let mut output = Output::new();
    let stage = Stage::new(&args.start, args.listen);
    with_stack(stage, &mut output, async |stack, output| {
        let file = StateFile::write(default_path(), stack)?;
        show(stack, output);
        output.line(&format!("secrets    {}", file.path().display()));
        output.line("ready; `devstack pay` sends a payment and prints its agent's status page,");
        output.line("`devstack tell` what becomes of it; Ctrl-C stops");
        std::future::pending().await
    })
    .await
}

fn show(stack: &Stack, output: &mut Output) {
    let (url, sim) = (stack.url(), stack.sim());
    let logs = stack.state_dir().join("logs");
    for (name, place) in [
        ("operator", format!("{url}/")),
        ("", "user       operator".to_owned()),
        ("", format!("password   {}", stack.secrets().api_token)),
        ("webhook", format!("{url}/webhooks/stripe")),
        (
            "agents",
            format!("{url}/agents/{{id}} (bearer token: the password)"),
        ),
        ("hetzner", sim.hetzner_url()),
        ("tailscale", sim.tailscale_url()),
        ("github", sim.github_url()),
        ("logs", logs.display().to_string()),
    ] {
        output.line(&format!("{name:<11}{place}"));
    }
}
