//! From arguments to a running stack: PostgreSQL, the binaries, the schema, the rest.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use devstack::{Binaries, Stack, StackConfig};
use localpg::{LocalPg, Options};
use sim::{DelayRange, SimConfig};

use super::End;
use super::args::{Delay, StartArgs};
use super::migrate::migrate;
use super::output::Output;
use super::signals::unless_stopped;

/// Starts everything, says what it took, does `work`, and tears all down: also when the work
/// fails, or a signal ends it.
pub(crate) async fn with_stack(
    args: &StartArgs,
    listen: SocketAddr,
    output: &mut Output,
    work: impl AsyncFnOnce(&Stack, &mut Output) -> Result<End>,
) -> Result<End> {
    let binaries = build(output).await?;
    output.status("starting PostgreSQL …");
    let server = LocalPg::start(Options::from_env()).await?;
    output.line(&format!("database   {}", server.source()));
    let url = server.fresh_database("devstack").await?;
    let working = async {
        migrate(&url).await?;
        let mut config = StackConfig::new(url.clone(), binaries);
        config.listen = listen;
        config.concurrency_max = usize::from(args.concurrency);
        config.sim = world(args);
        let stack = Stack::start(config).await?;
        output.line(&format!("public     {}", stack.url()));
        let ended = work(&stack, output).await;
        stack.stop();
        ended
    };
    let ended = unless_stopped(Box::pin(working)).await;
    server.drop_database(&url).await?;
    server.stop();
    ended
}

async fn build(output: &mut Output) -> Result<Binaries> {
    let executable = env::current_exe().context("our own path is unknown")?;
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    output.status("building the functions and the runner …");
    Binaries::build(&cargo, &executable).await
}

/// The fakes with the delays asked for; by default short ones, so that a demo is no wait.
fn world(args: &StartArgs) -> SimConfig {
    let mut sim = SimConfig {
        seed: args.seed,
        ..SimConfig::default()
    };
    if !args.real_delays {
        sim.github.run_start_delay = DelayRange::millis(500, 1_500);
        sim.hetzner.create_delay = DelayRange::millis(1_000, 3_000);
        sim.hetzner.start_delay = DelayRange::millis(500, 1_000);
        sim.hetzner.boot_delay = DelayRange::millis(2_000, 5_000);
        sim.tailscale.enrol_delay = DelayRange::millis(500, 1_500);
    }
    let set = |range: &mut DelayRange, delay: Option<Delay>| {
        if let Some(Delay(wanted)) = delay {
            *range = wanted;
        }
    };
    set(&mut sim.github.run_start_delay, args.run_delay);
    set(&mut sim.hetzner.create_delay, args.create_delay);
    set(&mut sim.hetzner.start_delay, args.start_delay);
    set(&mut sim.hetzner.boot_delay, args.boot_delay);
    set(&mut sim.tailscale.enrol_delay, args.enrol_delay);
    sim
}
