//! Composes the binary: arguments, environment, runtimes, signals, exit code.
//! It must not decide anything about the work.

use clap::{Parser, ValueEnum};
use contract::Operation;
use outbound::{Dice, NetworkSettings, Secrets, Transport};
use runner::{
    Actions, ActionsSettings, Clock, CloudSettings, Mistakes, WireSettings, World, doctor, operate,
    report_failure,
};
use std::{collections::HashMap, process::ExitCode, sync::Arc, time::UNIX_EPOCH};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

const ENVIRONMENT: &str = "\
Everything else comes from the environment: JOB_ID, AGENT_ID, REGION, CALLBACK_URL, FENCE,
GITHUB_RUN_ID, GITHUB_RUN_ATTEMPT, CALLBACK_SECRET, and the settings of Hetzner and Tailscale
that the README lists. All mistakes are named at once.

doctor needs no job: it checks CALLBACK_URL, CALLBACK_SECRET and the settings of Hetzner and
Tailscale (for REGION, default us-east), one line each.

Exit codes: 0 done, 1 failed, 2 wrong settings, 3 the attempt is not this run's, 130 canceled.";

/// Exit code for wrong settings or arguments, as clap's.
const WRONG_SETTINGS: u8 = 2;

/// Builds, changes or removes one agent's machine and reports every step to the callback.
#[derive(Debug, Parser)]
#[command(name = "runner", version, max_term_width = 100, after_help = ENVIRONMENT)]
struct Arguments {
    /// What to do; without it OPERATION tells.
    #[arg(value_enum)]
    operation: Option<Word>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    /// Make the machine and bring the agent up.
    Provision,
    /// Bring new configuration to a machine that exists.
    Configure,
    /// Power the machine off, data kept.
    Stop,
    /// Power the machine on again.
    Start,
    /// Remove everything that belongs to the agent.
    Destroy,
    /// Tell that the runner died, unless it told how it ended.
    ReportFailure,
    /// Check every setting and credential against the live services; changes nothing, needs no job.
    Doctor,
}

impl Word {
    /// The operation that the environment asks for. Clap would show a wrong value.
    fn told(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let text = lookup("OPERATION").unwrap_or_default();
        let why = match text.trim() {
            "" => "is not set, and no argument says what to do",
            word => match Self::from_str(word, false) {
                Ok(word) => return Ok(word),
                Err(_) => "is not one of the operations that --help names",
            },
        };
        Err(Mistakes::of("OPERATION", why))
    }

    /// The operation a run is about; a doctor has no run. A dead runner's is not asked for.
    const fn operation(self) -> Option<Operation> {
        match self {
            Self::Provision | Self::ReportFailure => Some(Operation::Provision),
            Self::Configure => Some(Operation::Configure),
            Self::Stop => Some(Operation::Stop),
            Self::Start => Some(Operation::Start),
            Self::Destroy => Some(Operation::Destroy),
            Self::Doctor => None,
        }
    }
}

fn main() -> ExitCode {
    let asked = Arguments::parse().operation;
    let environment: HashMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let lookup = |name: &str| environment.get(name).cloned();
    let secrets = Secrets::new();
    for secret in runner::secrets(&lookup) {
        secrets.add(&secret);
    }
    let dice = Dice::system();
    let out = Box::new(std::io::stdout());
    let actions = Arc::new(Actions::new(
        ActionsSettings::read(&lookup),
        secrets.clone(),
        dice.clone(),
        out,
    ));
    let (asked, wire) = match told(asked, &lookup) {
        Ok(told) => told,
        Err(mistakes) => {
            actions.error(&mistakes.to_string());
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    match runtimes() {
        Ok((main, heart)) => {
            let end = main.block_on(async {
                let world = world(&heart, &dice, &secrets, &actions)?;
                Ok::<_, String>(match wire {
                    None => doctor(world, &lookup, &mut std::io::stdout()).await,
                    Some(wire) if asked == Word::ReportFailure => report_failure(world, wire).await,
                    Some(wire) => operate(world, wire, CloudSettings::read(&lookup)).await,
                })
            });
            heart.shutdown_background();
            // A name that is being looked up in vain must not hold the exit up.
            main.shutdown_background();
            end.map_or_else(|why| fail(&actions, &why), ExitCode::from)
        }
        Err(error) => fail(&actions, &format!("no runtime: {error}")),
    }
}

/// The operation, and what it needs to report; a doctor reports nothing. Nobody could be told of
/// a mistake here, so those of all settings are given together.
fn told(
    asked: Option<Word>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(Word, Option<WireSettings>), Mistakes> {
    let asked = asked.map_or_else(|| Word::told(lookup), Ok);
    let operation = match &asked {
        Ok(word) => word.operation(),
        Err(_) => Some(Operation::Provision),
    };
    let wire = operation.map(|operation| WireSettings::read(operation, lookup));
    match (asked, wire.transpose()) {
        (Ok(asked), Ok(wire)) => Ok((asked, wire)),
        (Ok(Word::ReportFailure), Err(mistakes)) => Err(mistakes),
        (Ok(_), Err(mistakes)) => Err(mistakes.and(CloudSettings::read(lookup).err())),
        (Err(mistakes), wire) => {
            let mistakes = mistakes.and(wire.err());
            Err(mistakes.and(CloudSettings::read(lookup).err()))
        }
    }
}

fn fail(actions: &Actions, why: &str) -> ExitCode {
    actions.error(why);
    ExitCode::FAILURE
}

/// One runtime for the work, and one with a thread of its own for reports: whatever blocks the
/// first cannot starve a heartbeat.
fn runtimes() -> std::io::Result<(Runtime, Runtime)> {
    let main = Builder::new_current_thread().enable_all().build()?;
    let heart = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    Ok((main, heart))
}

fn world(
    heart: &Runtime,
    dice: &Dice,
    secrets: &Secrets,
    actions: &Arc<Actions>,
) -> Result<World, String> {
    let network = NetworkSettings::default();
    Ok(World {
        providers: Transport::network(&network)?,
        callback: Transport::network(&network)?,
        heart: heart.handle().clone(),
        dice: dice.clone(),
        clock: Clock::new(unix_seconds),
        secrets: secrets.clone(),
        actions: Arc::clone(actions),
        signal: signals().map_err(|error| format!("signals cannot be heard: {error}"))?,
    })
}

/// Becomes true on the first SIGINT or SIGTERM.
fn signals() -> std::io::Result<watch::Receiver<bool>> {
    let (raise, raised) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        raise.send_replace(true);
        // A closed channel would look like the end of all signals.
        raise.closed().await;
    });
    Ok(raised)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that hands the wall clock in"
)]
fn unix_seconds() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
