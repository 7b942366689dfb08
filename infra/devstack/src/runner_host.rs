//! GitHub's machine: starts the real runner for every run that the fake GitHub lets begin, as
//! `provision-agent.yml` does, and stops it the way GitHub's runner stops a step.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sim::{Conclusion, Run, RunEvent, Sim};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::process::{Launcher, Process, Program, Signal, Value};

/// From SIGINT to SIGTERM when a step is cancelled (GitHub's runner, `ProcessInvoker`).
const INTERRUPT_GRACE: Duration = Duration::from_millis(7_500);
/// From SIGTERM to SIGKILL.
const TERMINATE_GRACE: Duration = Duration::from_millis(2_500);

/// What the repository gives to its workflow.
#[derive(Debug, Clone)]
pub(crate) struct RunnerConfig {
    /// The runner binary.
    pub(crate) path: PathBuf,
    /// Secrets and variables of the repository, and what every step gets.
    pub(crate) env: Vec<(String, Value)>,
    /// Where each run gets a folder for its files.
    pub(crate) dir: PathBuf,
}

/// How a job is being stopped, from mild to hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Not at all.
    Run,
    /// The step is stopped; `always()` steps still run.
    Cancel,
    /// Everything is stopped at once.
    Force,
    /// The machine is gone: no signal, no further step.
    Lost,
}

/// Hosts the jobs of one stack. Stops listening on drop; the processes end with the stack.
#[derive(Debug)]
pub(crate) struct RunnerHost {
    host: Arc<Host>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Host {
    sim: Sim,
    config: RunnerConfig,
    launcher: Arc<Launcher>,
    running: Mutex<HashMap<u64, watch::Sender<Stop>>>,
}

impl RunnerHost {
    pub(crate) fn start(sim: Sim, config: RunnerConfig, launcher: Arc<Launcher>) -> Self {
        let host = Arc::new(Host {
            sim,
            config,
            launcher,
            running: Mutex::default(),
        });
        let task = tokio::spawn(listen(Arc::clone(&host))).abort_handle();
        Self { host, task }
    }

    /// Whether a run is on its machine.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.host.running().is_empty()
    }

    /// The machine of this run vanishes: no signal, no failure step, no report.
    pub(crate) fn lose_machine(&self, run_id: u64) {
        self.host.stop(run_id, Stop::Lost);
    }
}

impl Drop for RunnerHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(host: Arc<Host>) {
    let mut events = host.sim.take_runs();
    while let Some(event) = events.recv().await {
        match event {
            RunEvent::Dispatched(run) => {
                let (sender, stop) = watch::channel(Stop::Run);
                host.running().insert(run.run_id, sender);
                tokio::spawn(Arc::clone(&host).job(run, stop));
            }
            RunEvent::Cancel { run_id, force } => {
                host.stop(run_id, if force { Stop::Force } else { Stop::Cancel });
            }
        }
    }
}

impl Host {
    fn running(&self) -> MutexGuard<'_, HashMap<u64, watch::Sender<Stop>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, run_id: u64, wanted: Stop) {
        if let Some(sender) = self.running().get(&run_id) {
            sender.send_if_modified(|stop| {
                let harder = wanted > *stop;
                *stop = wanted.max(*stop);
                harder
            });
        }
    }

    /// The steps of the workflow: the runner, and when it did not succeed, the failure step.
    async fn job(self: Arc<Self>, run: Run, stop: watch::Receiver<Stop>) {
        self.sim.run_started(run.run_id);
        let succeeded = self.step("runner", &run, stop.clone()).await;
        let reached = *stop.borrow();
        if !succeeded && reached < Stop::Force {
            self.step("report-failure", &run, ignore_cancel(stop.clone()))
                .await;
        }
        let reached = *stop.borrow();
        let conclusion = match reached {
            Stop::Run if succeeded => Conclusion::Success,
            Stop::Run | Stop::Lost => Conclusion::Failure,
            Stop::Cancel | Stop::Force => Conclusion::Cancelled,
        };
        // Whoever sees no run at work finds each with its conclusion, and the same run begun again
        // comes after this end of it.
        let mut running = self.running();
        self.sim.run_finished(run.run_id, conclusion);
        running.remove(&run.run_id);
    }

    /// Runs one step to its end; false when it failed or was stopped.
    async fn step(&self, name: &str, run: &Run, stop: watch::Receiver<Stop>) -> bool {
        let started = async {
            ensure!(self.launcher.is_open(), "the stack is closed");
            let program = self.program(name, run).await?;
            self.launcher.spawn(&program).await
        };
        match started.await {
            Ok(process) => attend(&process, stop).await,
            Err(error) => {
                tracing::warn!(run_id = run.run_id, "step {name} cannot start: {error:#}");
                false
            }
        }
    }

    async fn program(&self, name: &str, run: &Run) -> Result<Program> {
        let dir = self
            .config
            .dir
            .join(format!("{}-{}", run.run_id, run.run_attempt));
        // Not with its parents: once the stack is gone, nothing of it must come back.
        match tokio::fs::create_dir(&dir).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("cannot make the run's folder");
            }
            Ok(()) | Err(_) => {}
        }
        let mut env = self.config.env.clone();
        env.extend(inputs(run));
        env.extend(files(&dir));
        let args = if name == "runner" {
            Vec::new()
        } else {
            vec![name.to_owned()]
        };
        Ok(Program {
            name: name.to_owned(),
            path: self.config.path.clone(),
            args,
            env,
        })
    }
}

/// The inputs as the workflow's `env:` block hands them over, and what GitHub sets itself.
fn inputs(run: &Run) -> Vec<(String, Value)> {
    let mut env = vec![
        (
            "GITHUB_RUN_ID".to_owned(),
            Value::plain(run.run_id.to_string()),
        ),
        (
            "GITHUB_RUN_ATTEMPT".to_owned(),
            Value::plain(run.run_attempt.to_string()),
        ),
    ];
    env.extend(run.inputs.iter().map(|(name, value)| {
        let value = match name.as_str() {
            "callback_url" => Value::upstream("callback", value),
            _ => Value::plain(value),
        };
        (name.to_ascii_uppercase(), value)
    }));
    env
}

/// The files that GitHub gives to a step, and the runner's marker.
fn files(dir: &Path) -> Vec<(String, Value)> {
    let file = |name: &str, file: &str| {
        (
            name.to_owned(),
            Value::plain(dir.join(file).to_string_lossy().into_owned()),
        )
    };
    vec![
        file("GITHUB_OUTPUT", "output"),
        file("GITHUB_STEP_SUMMARY", "summary.md"),
        file("RUNNER_MARKER", "marker"),
        file("RUNNER_TEMP", ""),
    ]
}

/// A failure step runs by `always()`: only force stops it.
fn ignore_cancel(mut stop: watch::Receiver<Stop>) -> watch::Receiver<Stop> {
    let (sender, hard) = watch::channel(Stop::Run);
    tokio::spawn(async move {
        if let Ok(stop) = stop.wait_for(|stop| *stop >= Stop::Force).await {
            sender.send_replace(*stop);
        }
        // The receiver must not see the channel close before the step ends.
        sender.closed().await;
    });
    hard
}

/// Waits for the end of a step and brings it about when the job is stopped.
async fn attend(process: &Process, mut stop: watch::Receiver<Stop>) -> bool {
    let status = tokio::select! {
        status = process.exited() => return status.success(),
        stopped = stop.wait_for(|stop| *stop > Stop::Run) => stopped.map(|stop| *stop),
    };
    let hard = async {
        if stop.wait_for(|stop| *stop >= Stop::Force).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    if status.ok() == Some(Stop::Cancel) {
        tokio::select! {
            () = cancel(process) => {}
            () = hard => {}
        }
    }
    process.kill();
    process.exited().await;
    false
}

/// SIGINT, then SIGTERM, each with its time to end.
async fn cancel(process: &Process) {
    for (signal, grace) in [
        (Signal::Interrupt, INTERRUPT_GRACE),
        (Signal::Terminate, TERMINATE_GRACE),
    ] {
        process.signal(signal).await;
        if timeout(grace, process.exited()).await.is_ok() {
            return;
        }
    }
}
