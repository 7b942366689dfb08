//! `devstack chaos`: a fleet of agents whose owners change their minds while everything around
//! them fails; then all faults end, everything heals, and the world is checked.

mod faults;
mod fleet;
mod gremlin;
mod post;
mod rest;
mod tally;
mod verdict;
mod watch;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::{Ageing, Customer, Stack, StackConfig, Taps};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, interval, sleep};

use super::End;
use super::args::ChaosArgs;
use super::output::Output;
use super::signals::stopped;
use super::start::{Signals, Stage, with_stack};
use fleet::Fleet;
use gremlin::Gremlin;
use post::Post;
use tally::Tally;
use watch::Watch;

/// Between two steps of the time.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at the fleet.
const LOOK: Duration = Duration::from_millis(700);
/// GitHub ends a job after this long, and a cancelled run that does not end by itself.
const JOB_LIMIT: Duration = Duration::from_mins(15);
const CANCEL_GRACE: Duration = Duration::from_mins(5);
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Runs it. Well only if nothing was lost or left over in the end.
pub(crate) async fn run(args: ChaosArgs) -> Result<End> {
    let stage = Stage {
        signals: Signals::AreHeard,
        change: Box::new(|config| hasten(config, args.speed)),
        ..Stage::new(&args.start, (Ipv4Addr::LOCALHOST, 0).into())
    };
    let mut output = Output::new();
    with_stack(stage, &mut output, async |stack, output| {
        Box::pin(play(stack, &args, output)).await
    })
    .await
}

/// What the product does not wait for by the table's times is made as much faster as those are.
fn hasten(config: &mut StackConfig, speed: u32) {
    config.taps = Some(Taps::new());
    config.sim.github.job_timeout = JOB_LIMIT / speed;
    config.sim.github.cancel_grace = CANCEL_GRACE / speed;
    let heartbeat = (HEARTBEAT / speed).as_secs().max(1);
    let name = "HEARTBEAT_SECONDS".to_owned();
    config.runner_env.push((name, heartbeat.to_string()));
}

/// What all parts of the play share.
#[derive(Debug)]
struct Set<'a> {
    stack: &'a Stack,
    taps: &'a Taps,
    customer: Customer,
    tally: Tally,
    post: Post,
    seed: u64,
    speed: u32,
    began: Instant,
}

async fn play(stack: &Stack, args: &ChaosArgs, output: &mut Output) -> Result<End> {
    let secrets = stack.secrets();
    let customer = Customer::new(stack.url(), &secrets.stripe_webhook, &secrets.api_token)?;
    let (say, heard) = unbounded_channel();
    let tally = Tally::new(say);
    let set = Set {
        stack,
        taps: stack.taps().context("the stack is not tapped")?,
        post: Post::new(customer.clone(), tally.clone()),
        customer,
        tally,
        seed: args.start.seed,
        speed: args.speed,
        began: Instant::now(),
    };
    introduce(&set, args, output);
    let mut watch = Watch::new(&set, heard)?;
    if let Some(end) = trouble(&set, args, &mut watch, output).await? {
        return Ok(end);
    }
    let waited = calm_down(&set, args, &mut watch, output).await?;
    let Some(is_at_rest) = waited else {
        return Ok(End::Signal(2));
    };
    let verdict = verdict::check(&set, &watch, is_at_rest).await?;
    for line in &verdict.lines {
        output.line(line);
    }
    Ok(if verdict.well { End::Well } else { End::Badly })
}

fn introduce(set: &Set<'_>, args: &ChaosArgs, output: &mut Output) {
    let (seed, pace, agents) = (set.seed, set.speed, args.agents);
    output.line(&format!(
        "chaos      {agents} customers, seed {seed}; leases, waits and deadlines pass {pace} \
         times as fast"
    ));
    output.line(&format!(
        "           again: devstack chaos --agents {agents} --seed {seed} --speed {pace} (the \
         same choices; their moments differ)"
    ));
    output.line(&format!("operator   {}/", set.stack.url()));
    output.line("           user       operator");
    output.line(&format!(
        "           password   {}",
        set.stack.secrets().api_token
    ));
    output.line(match args.minutes {
        Some(_) => "           Ctrl-C ends the trouble early",
        None => "           Ctrl-C ends the trouble",
    });
}

/// The trouble, until its time is over or a signal comes. An answer ends all.
async fn trouble(
    set: &Set<'_>,
    args: &ChaosArgs,
    watch: &mut Watch<'_>,
    output: &mut Output,
) -> Result<Option<End>> {
    let fleet = Fleet::new(set, args.agents);
    let gremlin = Gremlin::new(set, args.agents);
    let time_is_up = async {
        match args.minutes {
            Some(minutes) => sleep(minutes).await,
            None => std::future::pending().await,
        }
    };
    gremlin.begin();
    let ended = tokio::select! {
        () = Box::pin(fleet.live()) => Ok(None),
        () = Box::pin(gremlin.run()) => Ok(None),
        passed = Box::pin(time_passes(set)) => passed.map(|()| None),
        seen = Box::pin(keep_watching(watch, "trouble", output)) => seen.map(|()| None),
        () = time_is_up => Ok(None),
        _ = stopped() => Ok(None),
    };
    gremlin.end();
    ended
}

/// No more faults: waits until everything is at rest. False when it did not come to rest in
/// time, nothing when a signal came.
async fn calm_down(
    set: &Set<'_>,
    args: &ChaosArgs,
    watch: &mut Watch<'_>,
    output: &mut Output,
) -> Result<Option<bool>> {
    output.line("           all faults are over; waiting until everything is at rest …");
    tokio::select! {
        rest = Box::pin(rest::wait(set, watch, args.patience, output)) => rest.map(Some),
        passed = Box::pin(time_passes(set)) => passed.map(|()| None),
        _ = stopped() => Ok(None),
    }
}

/// Lets leases, waits and deadlines pass as fast as was asked for; never returns but with an
/// error.
async fn time_passes(set: &Set<'_>) -> Result<()> {
    let url = secrecy::ExposeSecret::expose_secret(set.stack.database_url());
    let ageing = Ageing::connect(url, set.stack.queue()).await?;
    let mut tick = interval(TICK);
    let (mut last, mut failures) = (Instant::now(), 0);
    loop {
        tick.tick().await;
        let passed = last.elapsed() * set.speed.saturating_sub(1);
        match ageing.pass(passed).await {
            Ok(()) => (last, failures) = (Instant::now(), 0),
            // Two statements may lock each other out once.
            Err(_) if failures < 5 => failures += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn keep_watching(watch: &mut Watch<'_>, phase: &str, output: &mut Output) -> Result<()> {
    loop {
        watch.look().await?;
        watch.show(phase, output);
        sleep(LOOK).await;
    }
}

/// What happened, for people.
type Heard = UnboundedReceiver<String>;
