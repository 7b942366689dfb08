//! The one place that prints. On a terminal the last line is rewritten; elsewhere every line is
//! plain and stays. A closed pipe is no error of ours.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use tokio::time::Instant;

/// Between two progress lines that stay, for each line of them.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Where progress goes.
#[derive(Debug)]
pub(crate) struct Output {
    terminal: bool,
    /// Lines at the end that the next output replaces.
    replaced: usize,
    last_plain: Option<(Instant, String)>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            replaced: 0,
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
        self.board(&[text.to_owned()]);
    }

    /// Lines that the next output replaces; off a terminal, at most once every 5 s for
    /// each of them.
    pub(crate) fn board(&mut self, lines: &[String]) {
        let text = lines.join("\n");
        let pause = PLAIN_PAUSE * u32::try_from(lines.len()).unwrap_or(1);
        let mut out = stdout();
        if self.terminal {
            self.clear();
            // Without wrapping a line is a line, however narrow the terminal is.
            drop(write!(out, "\x1b[?7l{text}\x1b[?7h"));
            drop(out.flush());
            self.replaced = lines.len();
            return;
        }
        let due = self
            .last_plain
            .as_ref()
            .is_none_or(|(at, last)| *last != text && at.elapsed() >= pause);
        if due {
            drop(writeln!(out, "{text}"));
            self.last_plain = Some((Instant::now(), text));
        }
    }

    fn clear(&mut self) {
        for line in 0..self.replaced {
            let up = if line == 0 { "" } else { "\x1b[A" };
            drop(write!(stdout(), "{up}\r\x1b[K"));
        }
        self.replaced = 0;
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
