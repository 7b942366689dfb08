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
use super::signals::{stopped, unless_stopped};

/// Whose business a signal is while the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signals {
    /// It ends the work.
    EndIt,
    /// The work listens itself.
    AreHeard,
}

/// How a stack is to be started.
pub(crate) struct Stage<'a> {
    pub(crate) start: &'a StartArgs,
    pub(crate) listen: SocketAddr,
    pub(crate) signals: Signals,
    /// The last word about its configuration.
    pub(crate) change: Box<dyn FnOnce(&mut StackConfig) + 'a>,
}

impl<'a> Stage<'a> {
    /// As the arguments say; a signal ends the work.
    pub(crate) fn new(start: &'a StartArgs, listen: SocketAddr) -> Self {
        Self {
            start,
            listen,
            signals: Signals::EndIt,
            change: Box::new(|_| {}),
        }
    }
}

/// Starts everything, says what it took, does `work`, and tears all down: also when the work
/// fails, or a signal ends it.
pub(crate) async fn with_stack(
    stage: Stage<'_>,
    output: &mut Output,
    work: impl AsyncFnOnce(&Stack, &mut Output) -> Result<End>,
) -> Result<End> {
    let binaries = build(output).await?;
    output.status("starting PostgreSQL …");
    let server = LocalPg::start(Options::from_env()).await?;
    output.line(&format!("database   {}", server.source()));
    let url = server.fresh_database("devstack").await?;
    let mut config = StackConfig::new(url.clone(), binaries);
    config.listen = stage.listen;
    config.concurrency_max = usize::from(stage.start.concurrency);
    config.sim = world(stage.start);
    (stage.change)(&mut config);
    let starting = async {
        migrate(&url).await?;
        Stack::start(config).await
    };
    let started = tokio::select! {
        started = Box::pin(starting) => started.map(Ok),
        signal = stopped() => Ok(Err(End::Signal(signal))),
    };
    let ended = match started {
        Ok(Ok(stack)) => {
            output.line(&format!("public     {}", stack.url()));
            let working = Box::pin(work(&stack, output));
            let ended = match stage.signals {
                Signals::EndIt => unless_stopped(working).await,
                Signals::AreHeard => working.await,
            };
            stack.stop();
            ended
        }
        Ok(Err(end)) => Ok(end),
        Err(error) => Err(error),
    };
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
