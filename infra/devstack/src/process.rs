//! Starts child processes: a clean environment, taps if wanted, output collected, and nobody
//! left alone.

use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::logs::{self, Tail};
use crate::nursery::Nursery;
use crate::tap::Wire;
use crate::taps::Taps;

/// How long the last words of a dead process are waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The value of an environment variable.
#[derive(Clone)]
pub enum Value {
    /// Given as it is.
    Plain(String),
    /// A URL whose host can be tapped; the label names it in records.
    Upstream {
        /// Name of the upstream in records.
        label: &'static str,
        /// Where it is.
        url: String,
    },
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain([redacted])"),
            Self::Upstream { label, .. } => write!(f, "Upstream({label})"),
        }
    }
}

impl Value {
    /// A value that is no address.
    pub fn plain(value: impl Into<String>) -> Self {
        Self::Plain(value.into())
    }

    /// An address that can be tapped.
    pub fn upstream(label: &'static str, url: impl Into<String>) -> Self {
        Self::Upstream {
            label,
            url: url.into(),
        }
    }
}

/// What to start.
#[derive(Clone)]
pub struct Program {
    /// Name in logs and records.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(String, Value)>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("args", &self.args)
            .field("env", &names)
            .finish()
    }
}

/// Signals that GitHub's runner sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Starts programs as children of one stack.
#[derive(Debug)]
pub(crate) struct Launcher {
    nursery: Mutex<Option<Nursery>>,
    logs: PathBuf,
    taps: Option<Taps>,
    started: AtomicU32,
}

impl Launcher {
    /// `logs` is an existing folder; with `taps` every process is tapped.
    pub(crate) fn new(nursery: Nursery, logs: PathBuf, taps: Option<Taps>) -> Self {
        Self {
            nursery: Mutex::new(Some(nursery)),
            logs,
            taps,
            started: AtomicU32::new(0),
        }
    }

    /// Starts one process and watches over it.
    pub(crate) async fn spawn(&self, program: &Program) -> Result<Process> {
        let wire = self.taps.as_ref().map(|taps| taps.wire(&program.name));
        let mut command = std::process::Command::new(&program.path);
        command.args(&program.args).env_clear();
        for (name, value) in &program.env {
            command.env(name, tapped(wire.as_ref(), value).await?);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.start(command)?;
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let file = self.logs.join(format!("{number:04}-{}.log", program.name));
        let tail = Tail::default();
        let collectors = collect(&mut child, &file, &tail);
        Ok(Process::watch(child, wire, tail, collectors))
    }
}

impl Launcher {
    /// Whether it still starts children.
    pub(crate) fn is_open(&self) -> bool {
        self.nursery
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Kills every child and starts no more.
    pub(crate) fn close(&self) {
        let nursery = self
            .nursery
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(nursery);
    }

    /// Starts it under the lock, so that nothing starts once the nursery is closed.
    fn start(&self, mut command: std::process::Command) -> Result<Child> {
        let nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
        nursery
            .as_ref()
            .context("the stack is closed")?
            .admit(&mut command);
        let path = command.get_program().to_owned();
        let child = Command::from(command).kill_on_drop(true).spawn();
        child.with_context(|| format!("cannot start {}", path.display()))
    }
}

async fn tapped(wire: Option<&Wire>, value: &Value) -> Result<String> {
    match (value, wire) {
        (Value::Upstream { label, url }, Some(wire)) => wire.tap(label, url).await,
        (Value::Plain(value) | Value::Upstream { url: value, .. }, _) => Ok(value.clone()),
    }
}

fn collect(child: &mut Child, file: &std::path::Path, tail: &Tail) -> Vec<JoinHandle<()>> {
    let out = child
        .stdout
        .take()
        .map(|out| logs::collect(out, file.into(), tail.clone()));
    let err = child
        .stderr
        .take()
        .map(|err| logs::collect(err, file.into(), tail.clone()));
    out.into_iter().chain(err).collect()
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Option<u32>,
    tail: Tail,
    kill: Arc<Notify>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    fn watch(
        child: Child,
        wire: Option<Wire>,
        tail: Tail,
        collectors: Vec<JoinHandle<()>>,
    ) -> Self {
        let pid = child.id();
        let kill = Arc::new(Notify::new());
        let (sender, exit) = watch::channel(None);
        let killed = Arc::clone(&kill);
        tokio::spawn(async move {
            let status = end(child, wire, &killed).await;
            let last_words = futures_util::future::join_all(collectors);
            drop(tokio::time::timeout(LAST_WORDS, last_words).await);
            sender.send_replace(Some(status));
        });
        Self {
            pid,
            tail,
            kill,
            exit,
        }
    }

    /// Waits for its end, whatever the cause.
    pub(crate) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status);
        match status {
            Some(status) => status,
            // The watching task ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    /// Sends a signal if it still runs.
    pub(crate) async fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Interrupt => "-INT",
            Signal::Terminate => "-TERM",
        };
        if let (Some(pid), true) = (self.pid, self.is_alive()) {
            // It may have ended meanwhile; then there is nobody to tell.
            let sent = Command::new("kill")
                .args([name, &pid.to_string()])
                .output()
                .await;
            drop(sent);
        }
    }

    /// The last line it printed.
    pub(crate) fn last_line(&self) -> String {
        self.tail.last()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the end, or brings it about.
async fn end(mut child: Child, wire: Option<Wire>, killed: &Notify) -> ExitStatus {
    let struck = async {
        match &wire {
            Some(wire) => wire.struck().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        () = struck => None,
        () = killed.notified() => None,
        status = child.wait() => Some(status),
    };
    let status = if let Some(status) = ended {
        status
    } else {
        drop(child.start_kill());
        child.wait().await
    };
    if let Some(wire) = wire {
        wire.close();
    }
    status.unwrap_or_default()
}
