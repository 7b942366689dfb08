//! What GitHub Actions and people see: log lines with times, masks, outputs, the summary, the
//! marker. Every line goes through redaction and can never be taken for a workflow command.
//! It must not know what the run does.

use crate::settings::ActionsSettings;
use outbound::{Dice, Secrets};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A step as the summary shows it.
#[derive(Debug, Clone)]
struct Row {
    title: String,
    began: Duration,
    took: Duration,
    outcome: String,
}

/// The step that is under way.
#[derive(Debug, Clone)]
struct Open {
    title: String,
    began: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    open: Option<Open>,
    rows: Vec<Row>,
    remarks: Vec<(&'static str, String)>,
}

/// Where progress is shown.
pub struct Actions {
    settings: ActionsSettings,
    secrets: Secrets,
    dice: Dice,
    started: Instant,
    out: Mutex<Box<dyn Write + Send>>,
    seen: Mutex<Seen>,
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actions")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Actions {
    /// Shows progress on `out` and in the files of `settings`; nothing in `secrets` is shown.
    pub fn new(
        settings: ActionsSettings,
        secrets: Secrets,
        dice: Dice,
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            settings,
            secrets,
            dice,
            started: Instant::now(),
            out: Mutex::new(out),
            seen: Mutex::new(Seen::default()),
        }
    }

    /// Begins a step.
    pub(crate) fn begin(&self, title: &str) {
        let began = self.started.elapsed();
        self.seen().open = Some(Open {
            title: title.to_owned(),
            began,
        });
        self.raw(&if self.settings.commands {
            format!("::group::{}", escaped(title))
        } else {
            format!("{} {title}", stamp(began))
        });
    }

    /// Ends the step that is under way.
    pub(crate) fn end(&self, outcome: &str) {
        let now = self.started.elapsed();
        let Some(open) = self.seen().open.take() else {
            return;
        };
        let took = now.saturating_sub(open.began);
        self.line(&format!("{outcome}, {:.1} s", took.as_secs_f64()));
        if self.settings.commands {
            self.raw("::endgroup::");
        }
        let Open { title, began } = open;
        self.seen().rows.push(Row {
            title,
            began,
            took,
            outcome: outcome.to_owned(),
        });
    }

    /// One line of progress.
    pub fn line(&self, text: &str) {
        self.raw(&format!(
            "{} {}",
            stamp(self.started.elapsed()),
            self.clean(text)
        ));
    }

    /// One line of progress that the summary shows too, under this name.
    pub(crate) fn remark(&self, name: &'static str, text: &str) {
        self.line(&format!("{name}: {text}"));
        self.seen().remarks.push((name, text.to_owned()));
    }

    /// A warning that shows on the run's page.
    pub(crate) fn warn(&self, text: &str) {
        self.annotate("warning", text);
    }

    /// An error that shows on the run's page.
    pub fn error(&self, text: &str) {
        self.annotate("error", text);
    }

    fn annotate(&self, kind: &str, text: &str) {
        let text = self.clean(text);
        self.raw(&if self.settings.commands {
            format!("::{kind}::{}", escaped(&text))
        } else {
            format!("{} {kind}: {text}", stamp(self.started.elapsed()))
        });
    }

    /// Has GitHub hide a secret in everything shown later. Elsewhere nothing is printed: the
    /// command itself would show it.
    pub(crate) fn mask(&self, secret: &SecretString) {
        if self.settings.commands {
            self.raw(&format!("::add-mask::{}", escaped(secret.expose_secret())));
        }
    }

    /// The step's outputs. A value that is masked would be dropped by GitHub, so none ever is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn outputs(&self, pairs: &[(&str, &str)]) -> io::Result<()> {
        let Some(path) = &self.settings.output else {
            return Ok(());
        };
        let mut text = String::new();
        for (name, value) in pairs {
            // A delimiter that nobody can guess: no value can end early and add outputs.
            let end = format!("end-{}", self.dice.word());
            text.extend([name, "<<", &end, "\n", value, "\n", &end, "\n"]);
        }
        append(path, &text)
    }

    /// The step summary: headline, facts and steps in markdown.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn summary(
        &self,
        headline: &str,
        facts: &[(&'static str, String)],
    ) -> io::Result<()> {
        let Some(path) = &self.settings.summary else {
            return Ok(());
        };
        let cell = |text: &str| self.clean(text).replace('\\', "\\\\").replace('|', "\\|");
        let mut text = format!("### {}\n\n", cell(headline));
        let seen = self.seen();
        let mut facts = facts.iter().chain(&seen.remarks).peekable();
        if facts.peek().is_some() {
            text.push_str("| | |\n|---|---|\n");
            for (name, value) in facts {
                text.extend(["| ", &cell(name), " | ", &cell(value), " |\n"]);
            }
            text.push('\n');
        }
        text.push_str("| step | began | took | outcome |\n|---|---:|---:|---|\n");
        for row in &seen.rows {
            let times = format!(
                " | {:.1} s | {:.1} s | ",
                row.began.as_secs_f64(),
                row.took.as_secs_f64()
            );
            text.extend([
                "| ",
                &cell(&row.title),
                &times,
                &cell(&row.outcome),
                " |
",
            ]);
        }
        drop(seen);
        append(path, &text)
    }

    /// Leaves the marker: nothing is left to say about this attempt.
    pub(crate) fn mark(&self) {
        if let Some(path) = &self.settings.marker
            && let Err(error) = append(path, "reported\n")
        {
            self.warn(&format!(
                "the marker {} cannot be written: {error}",
                path.display()
            ));
        }
    }

    /// Whether a runner of this job left its marker.
    pub(crate) fn is_marked(&self) -> bool {
        self.settings.marker.as_deref().is_some_and(Path::exists)
    }

    /// One line without secrets and control characters.
    fn clean(&self, text: &str) -> String {
        self.secrets
            .redact(text)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }

    fn raw(&self, line: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody reads any more: the work goes on, the reports say what happens.
        drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(at: Duration) -> String {
    format!("[{:6.1} s]", at.as_secs_f64())
}

/// GitHub: the data of a workflow command escapes percent signs and line ends.
fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn actions(commands: bool) -> (Actions, Shown, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        let settings = ActionsSettings {
            commands,
            output: path("output"),
            summary: path("summary"),
            marker: path("marker"),
        };
        let secrets = Secrets::new();
        secrets.add(&SecretString::from("a-long-secret"));
        let shown = Shown::default();
        let out = Box::new(shown.clone());
        (
            Actions::new(settings, secrets, Dice::seeded(1), out),
            shown,
            folder,
        )
    }

    fn text(shown: &Shown) -> String {
        String::from_utf8(shown.0.lock().unwrap().clone()).unwrap()
    }

    #[tokio::test]
    async fn no_text_becomes_a_command_and_no_secret_shows() {
        let (actions, shown, _folder) = actions(true);
        actions.begin("a\n::set-env::");
        actions.line("::error::x\n::error::y a-long-secret");
        actions.error("100%\nsure");
        actions.mask(&SecretString::from("m%s"));
        actions.end("done");
        for line in text(&shown).lines() {
            assert!(
                !line.starts_with("::error::x") && !line.starts_with("::set-env"),
                "{line}"
            );
        }
        let text = text(&shown);
        assert!(text.contains("::group::a%0A::set-env::\n"), "{text}");
        assert!(
            text.contains("::error::100%25 sure\n::add-mask::m%25s\n"),
            "{text}"
        );
        assert!(
            text.contains("::endgroup::") && !text.contains("a-long-secret"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn outside_actions_nothing_looks_like_a_command() {
        let (actions, shown, _folder) = actions(false);
        actions.begin("one");
        actions.mask(&SecretString::from("minted"));
        actions.warn("careful");
        actions.end("done");
        assert!(!text(&shown).contains("::") && !text(&shown).contains("minted"));
    }

    #[tokio::test(start_paused = true)]
    async fn outputs_cannot_be_forged_and_the_summary_is_a_table() {
        let (actions, _, folder) = actions(true);
        actions
            .outputs(&[("server_id", "1"), ("server_ip", "x\nend\nserver_id=2")])
            .unwrap();
        let text = std::fs::read_to_string(folder.path().join("output")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "1");
        let end = lines[0].strip_prefix("server_id<<").unwrap();
        assert_eq!((lines[2], end.len()), (end, 36));
        actions.begin("Make | it");
        actions.remark("Tried", "cpx11 at ash");
        actions.end("done");
        actions
            .summary("All well", &[("server", "1".to_owned())])
            .unwrap();
        let text = std::fs::read_to_string(folder.path().join("summary")).unwrap();
        assert!(
            text.starts_with(
                "### All well\n\n| | |\n|---|---|\n| server | 1 |\n| Tried | cpx11 at ash |\n"
            ),
            "{text}"
        );
        assert!(text.contains("| Make \\| it | 0.0 s |"), "{text}");
        assert!(!actions.is_marked());
        actions.mark();
        assert!(actions.is_marked());
    }
}
