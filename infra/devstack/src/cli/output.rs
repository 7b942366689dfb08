//! The one place that prints. On a terminal the last line is rewritten; elsewhere every line is
//! plain and stays. A closed pipe is no error of ours.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use tokio::time::Instant;

/// Between two progress lines that stay.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Where progress goes.
#[derive(Debug)]
pub(crate) struct Output {
    terminal: bool,
    status_shown: bool,
    last_plain: Option<(Instant, String)>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            status_shown: false,
            last_plain: None,
        }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
        drop(writeln!(stdout(), "{text}"));
    }

    /// A line that the next one replaces; off a terminal, at most one every 5 s.
    pub(crate) fn status(&mut self, text: &str) {
        if self.terminal {
            self.clear();
            let mut out = stdout();
            drop(write!(out, "{text}"));
            drop(out.flush());
            self.status_shown = true;
            return;
        }
        let due = self
            .last_plain
            .as_ref()
            .is_none_or(|(at, last)| last != text && at.elapsed() >= PLAIN_PAUSE);
        if due {
            drop(writeln!(stdout(), "{text}"));
            self.last_plain = Some((Instant::now(), text.to_owned()));
        }
    }

    fn clear(&mut self) {
        if self.status_shown {
            drop(write!(stdout(), "\r\x1b[K"));
            self.status_shown = false;
        }
    }
}

/// The one line that says why a command failed.
pub(crate) fn error(text: &str) {
    let line = text.replace('\n', "; ");
    drop(writeln!(stderr(), "devstack: {line}"));
}

/// `12.34 s`
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
