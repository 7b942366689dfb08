//! Keeps child processes from outliving us.
//!
//! All children join the process group of a small watchdog shell that waits for the end of its
//! input, whose other end we hold. When we end, by drop, exit or SIGKILL, it removes the state
//! folder and kills the group. A group of their own also keeps the terminal's Ctrl-C from them:
//! who is stopped, and in which order, is decided here.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const WATCHDOG: &str = r#"cat >/dev/null; rm -rf "$1"; kill -KILL 0"#;

/// The process group of all children, and a folder that is removed with it.
#[derive(Debug)]
pub(crate) struct Nursery {
    watchdog: Child,
    group: i32,
}

impl Nursery {
    /// Starts the watchdog over `dir`, which it removes at the end.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHDOG, "devstack-watchdog"])
            .arg(dir)
            .current_dir("/");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let watchdog = command
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let group = i32::try_from(watchdog.id()).context("the process id is out of range")?;
        Ok(Self { watchdog, group })
    }

    /// Makes a command a child of this nursery.
    pub(crate) fn admit(&self, command: &mut Command) {
        command.process_group(self.group);
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // It ends by its own SIGKILL; nothing is to be learned from its status.
        drop(self.watchdog.wait());
    }
}
