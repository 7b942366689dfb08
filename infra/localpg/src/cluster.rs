//! One throw-away cluster: a copied data folder, a server process, and a watchdog.
//!
//! The watchdog is a small shell that waits for the end of its input, whose other end we hold:
//! it stops the server and removes the folder when we let go, be it by drop, exit or SIGKILL.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::bundle;
use crate::find::{self, Installation};
use crate::identity::{self, RunAs};
use crate::settings::Options;
use crate::template::Template;

const START_ATTEMPTS: u32 = 5;
const START_DEADLINE: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(5);

/// `$1` is the folder. The lock file names the server and goes when the server is gone; no
/// lock file means that there is no server, and none can start once the folder is removed. A server
/// that does not obey is killed, and its death is waited for: until then it would serve and write.
/// A zombie is dead, its status is left for its parent.
const WATCHDOG: &str = r#"
lives() { kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null; }
cat >/dev/null
lock="$1/data/postmaster.pid"
pid=$(head -n 1 "$lock" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  tries=0
  while [ -e "$lock" ] && [ "$tries" -lt 500 ]; do sleep 0.01; tries=$((tries + 1)); done
  if [ -e "$lock" ]; then
    kill -KILL "$pid" 2>/dev/null
    tries=0
    while lives && [ "$tries" -lt 500 ]; do sleep 0.01; tries=$((tries + 1)); done
  fi
fi
rm -rf "$1"
"#;

/// What a throw-away server may do without: everything that survives a power cut.
const SERVER_SETTINGS: [&str; 12] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=300",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
    "shared_buffers=64MB",
];

/// A running server and what ends with it.
#[derive(Debug)]
pub(crate) struct Cluster {
    server: Child,
    watchdog: Child,
    port: u16,
    password: String,
    source: String,
}

impl Cluster {
    /// Finds the binaries and starts a server on a free port of 127.0.0.1. Blocks for about
    /// 0.2 s when the template is there.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let run_as = RunAs::detect(&options.temp_dir)?;
        let found = find::installation(options, &run_as)?;
        let cache = bundle::cache_dir(options, &run_as)?;
        let template = Template::get(&found, &run_as, &cache)?;
        let password = template.password()?;

        let home = home(options, &run_as)?;
        let watchdog = watch(home.path())?;
        template.copy(&home.path().join("data"))?;
        // From here on the watchdog owns the folder.
        let home = home.keep();
        let mut cluster = Starting {
            watchdog: Some(watchdog),
            home,
            found: &found,
            run_as: &run_as,
        };
        let (server, port) = cluster.serve()?;
        let watchdog = cluster.watchdog.take().context("the watchdog is gone")?;
        Ok(Self {
            server,
            watchdog,
            port,
            password,
            source: found.describe(),
        })
    }

    /// Connection URL of one database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        release(&mut self.watchdog);
        // The watchdog has stopped it; this only collects its status.
        drop(self.server.wait());
    }
}

/// A start under way: letting go of it undoes it.
struct Starting<'a> {
    watchdog: Option<Child>,
    home: PathBuf,
    found: &'a Installation,
    run_as: &'a RunAs,
}

impl Starting<'_> {
    /// Tries several ports: between our choice and the server's bind another may take it.
    fn serve(&self) -> Result<(Child, u16)> {
        let mut reason = String::new();
        for _ in 0..START_ATTEMPTS {
            let port = free_port()?;
            let mut server = self.spawn(port)?;
            match self.await_ready(&mut server) {
                Ok(()) => return Ok((server, port)),
                Err(error) => reason = format!("{error:#}"),
            }
            drop(server.kill());
            drop(server.wait());
            if !reason.contains("could not") {
                break;
            }
        }
        bail!("{} does not start: {reason}", self.found.describe())
    }

    fn spawn(&self, port: u16) -> Result<Child> {
        let log = File::create(self.log())?;
        let mut command = Command::new(self.found.bin.join("postgres"));
        command
            .arg("-D")
            .arg(self.home.join("data"))
            .args(["-p", &port.to_string()]);
        for setting in SERVER_SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.run_as.apply(&mut command);
        command.spawn().context("cannot start postgres")
    }

    /// The server writes `ready` into the eighth line of its lock file.
    fn await_ready(&self, server: &mut Child) -> Result<()> {
        let lock = self.home.join("data/postmaster.pid");
        let started = Instant::now();
        while started.elapsed() < START_DEADLINE {
            let ready = fs::read_to_string(&lock).is_ok_and(|text| {
                text.lines()
                    .nth(7)
                    .is_some_and(|line| line.trim() == "ready")
            });
            if ready {
                return Ok(());
            }
            if server.try_wait()?.is_some() {
                bail!("{}", self.last_error());
            }
            thread::sleep(START_POLL);
        }
        bail!("it was not ready after {} s", START_DEADLINE.as_secs())
    }

    fn last_error(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let fatal = log.lines().rfind(|line| line.contains("FATAL"));
        fatal
            .or(log.lines().last())
            .unwrap_or("it wrote no message")
            .to_owned()
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            release(watchdog);
        }
    }
}

/// A folder that the server's account can pass through.
fn home(options: &Options, run_as: &RunAs) -> Result<TempDir> {
    let parent = match run_as {
        RunAs::Account { .. } if !identity::reachable_by_all(&options.temp_dir) => {
            Path::new("/tmp")
        }
        RunAs::Account { .. } | RunAs::Myself { .. } => options.temp_dir.as_path(),
    };
    let home = tempfile::Builder::new()
        .prefix("localpg-")
        .tempdir_in(parent)?;
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
    Ok(home)
}

fn watch(home: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", WATCHDOG, "localpg-watchdog"]).arg(home);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.current_dir("/").spawn().context("cannot start sh")
}

/// Closes the watchdog's input and waits until it has cleaned up.
fn release(watchdog: &mut Child) {
    drop(watchdog.stdin.take());
    drop(watchdog.wait());
}

fn free_port() -> Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(probe.local_addr()?.port())
}
