//! Everything started together, and torn down together: fakes, queue, functions, front, runners.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use secrecy::SecretString;
use sim::{Sim, SimConfig, Waiting};

use crate::build::Binaries;
use crate::clock::Clock;
use crate::environment::{Name, Places};
use crate::function::{Function, FunctionConfig};
use crate::gateway::{self, Gateway, Routes};
use crate::mapping::{Mapping, MappingConfig};
use crate::nursery::Nursery;
use crate::process::{Launcher, Program, Value};
use crate::queue::{Queue, QueueConfig};
use crate::runner_host::{RunnerConfig, RunnerHost};
use crate::secrets::Secrets;
use crate::sqs_server::QueueServer;
use crate::taps::Taps;

/// What a stack is made of. [`StackConfig::new`] gives what the README's commands use.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// A migrated database.
    pub database_url: String,
    /// The product.
    pub binaries: Binaries,
    /// The world outside. Its clock is set to the machine's.
    pub sim: SimConfig,
    /// Where the public paths are served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Counts turns and kills processes, when given.
    pub taps: Option<Taps>,
    /// How the queue treats messages.
    pub queue: QueueConfig,
    /// How messages reach dispatch.
    pub mapping: MappingConfig,
    /// Most processes of one function.
    pub concurrency_max: usize,
    /// Time-out of a function.
    pub timeout: Duration,
    /// Encodes every request body in base64, as AWS may do.
    pub force_base64: bool,
    /// Further variables for every runner (`HEARTBEAT_SECONDS`, …).
    pub runner_env: Vec<(String, String)>,
}

impl StackConfig {
    /// A stack over a migrated database, on a free port.
    pub fn new(database_url: String, binaries: Binaries) -> Self {
        Self {
            database_url,
            binaries,
            sim: SimConfig::default(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            taps: None,
            queue: QueueConfig::default(),
            mapping: MappingConfig::default(),
            concurrency_max: 4,
            timeout: Duration::from_secs(30),
            force_base64: false,
            runner_env: Vec::new(),
        }
    }
}

/// A running stack. Dropping it kills every process and removes its files.
#[derive(Debug)]
pub struct Stack {
    public_url: String,
    database_url: SecretString,
    secrets: Secrets,
    sim: Sim,
    queue: Queue,
    functions: Functions,
    state_dir: PathBuf,
    launcher: Arc<Launcher>,
    runners: RunnerHost,
    taps: Option<Taps>,
    _front: Gateway,
    _mapping: Mapping,
    _queue_server: QueueServer,
}

/// The four functions.
#[derive(Debug, Clone)]
pub struct Functions {
    /// Behind `POST /webhooks/stripe`.
    pub stripe_webhook: Function,
    /// Behind the queue.
    pub dispatch: Function,
    /// Behind `POST /callback`.
    pub callback: Function,
    /// Behind the API and the status page.
    pub agents: Function,
}

impl Stack {
    /// Starts everything; the functions start at their first event, as on Lambda.
    pub async fn start(mut config: StackConfig) -> Result<Self> {
        let clock = Clock::system();
        config.sim.epoch_unix_seconds = clock.unix_seconds();
        let sim = Sim::start(config.sim.clone())
            .await
            .context("cannot start the fakes")?;
        let queue = Queue::new(config.queue, clock);
        let queue_server = QueueServer::start(queue.clone()).await?;
        let listener = gateway::bind(config.listen).await?;
        let public_url = format!("http://{}", listener.local_addr()?);
        let secrets = Secrets::random();
        let places = Places {
            database_url: &config.database_url,
            queue_endpoint: &queue_server.endpoint,
            queue_url: &queue_server.queue_url(),
            public_url: &public_url,
            listens_here: config.listen.ip().is_loopback(),
            sim: &sim,
            sim_config: &config.sim,
            secrets: &secrets,
        };

        let state_dir = state_dir()?;
        let nursery = Nursery::new(&state_dir)?;
        let launcher = Launcher::new(nursery, state_dir.join("logs"), config.taps.clone());
        let launcher = Arc::new(launcher);
        let functions = Functions::new(&config, &places, &launcher, clock);
        let mapping = map(&queue, &config, &functions.dispatch);
        let runner = runner(&config, &places, &state_dir);
        let runners = RunnerHost::start(sim.clone(), runner, Arc::clone(&launcher));
        let front = Gateway::start(listener, functions.routes(), clock, config.force_base64);
        Ok(Self {
            public_url,
            database_url: config.database_url.into(),
            secrets,
            sim,
            queue,
            functions,
            state_dir,
            launcher,
            runners,
            taps: config.taps,
            _front: front,
            _mapping: mapping,
            _queue_server: queue_server,
        })
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.public_url
    }

    /// The database behind it.
    pub fn database_url(&self) -> &SecretString {
        &self.database_url
    }

    /// What callers of the public paths have to know.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The world outside.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// The queue of nudges.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The functions, to be invoked past the front.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// What was given to tap the processes.
    pub fn taps(&self) -> Option<&Taps> {
        self.taps.as_ref()
    }

    /// Holds `logs/`, one file per process, and `runs/<run id>-<attempt>/`, the files of a run:
    /// `output`, `summary.md`, `marker`.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Whether anything goes on: a message could be received or is being handled, an event is with
    /// a function, a run is on its machine or about to come to one. What only waits for its time
    /// (a delayed message, a run that does not start) is not at work.
    pub fn is_at_work(&self) -> bool {
        let Functions {
            stripe_webhook,
            dispatch,
            callback,
            agents,
        } = &self.functions;
        let functions = [stripe_webhook, dispatch, callback, agents];
        let starting = |waiting: &Waiting| waiting.what == "run starts";
        self.queue.is_at_work()
            || functions.into_iter().any(Function::is_at_work)
            || self.sim.waiting().iter().any(starting)
            || self.runners.is_at_work()
    }

    /// The machine of this run vanishes: no signal, no failure step, no report.
    pub fn lose_machine(&self, run_id: u64) {
        self.runners.lose_machine(run_id);
    }

    /// Kills every process and removes the files.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.launcher.close();
        self.sim.shutdown();
        // The watchdog has removed it; what a dying process wrote meanwhile goes now.
        drop(std::fs::remove_dir_all(&self.state_dir));
    }
}

impl Functions {
    fn new(
        config: &StackConfig,
        places: &Places<'_>,
        launcher: &Arc<Launcher>,
        clock: Clock,
    ) -> Self {
        let function = |name: Name| {
            let program = Program {
                name: name.as_str().to_owned(),
                path: config.binaries.path(name.as_str()),
                args: Vec::new(),
                env: places.function(name),
            };
            let (concurrency_max, timeout) = (config.concurrency_max, config.timeout);
            let limits = FunctionConfig {
                program,
                concurrency_max,
                timeout,
            };
            Function::new(limits, Arc::clone(launcher), clock)
        };
        Self {
            stripe_webhook: function(Name::StripeWebhook),
            dispatch: function(Name::Dispatch),
            callback: function(Name::Callback),
            agents: function(Name::Agents),
        }
    }

    fn routes(&self) -> Routes {
        Routes {
            stripe_webhook: self.stripe_webhook.clone(),
            callback: self.callback.clone(),
            agents: self.agents.clone(),
        }
    }
}

/// The queue's messages go to dispatch.
fn map(queue: &Queue, config: &StackConfig, dispatch: &Function) -> Mapping {
    let dispatch = dispatch.clone();
    Mapping::start(queue.clone(), config.mapping, move |event| {
        let dispatch = dispatch.clone();
        async move {
            let answer = dispatch.invoke(event).await;
            answer
                .inspect_err(|error| tracing::warn!(%error, "dispatch failed"))
                .ok()
        }
    })
}

fn runner(config: &StackConfig, places: &Places<'_>, state_dir: &Path) -> RunnerConfig {
    let mut env = places.runner();
    let further = config.runner_env.iter();
    env.extend(further.map(|(name, value)| (name.clone(), Value::plain(value))));
    RunnerConfig {
        path: config.binaries.path("runner"),
        env,
        dir: state_dir.join("runs"),
    }
}

/// A fresh private folder; the nursery removes it.
fn state_dir() -> Result<PathBuf> {
    let dir = tempfile::Builder::new()
        .prefix("devstack-")
        .tempdir()?
        .keep();
    std::fs::create_dir(dir.join("logs"))?;
    std::fs::create_dir(dir.join("runs"))?;
    Ok(dir)
}
