//! Finds a run again when GitHub's answer was lost, says how it stands, and stops it.
//! It must not know what becomes of the attempt.

use super::{GitHub, WORKFLOW, headers};
use domain::{Sight, Timestamp};
use outbound::{Answer, Request};
use serde::Deserialize;
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;

/// A run is some 12 KB of JSON, more with a long commit message, and an answer longer than
/// [`outbound::BODY_BYTES_MAX`] is refused: a page is to stay well below it.
const PER_PAGE: usize = 50;
/// GitHub gives at most 1000 runs for a filtered list.
const PAGES_MAX: u32 = 20;

/// Longest that a whole search may take, its pages and its token included.
const SEARCH_MAX: Duration = Duration::from_secs(8);

/// Longest a call about one run may take.
const RUN_CALL_MAX: Duration = Duration::from_secs(5);

/// Runs are searched from this many seconds before the attempt was opened: clocks differ.
const SEARCH_SLACK_SECONDS: i64 = 120;

/// What GitHub shows of an attempt's runs. A doubled dispatch has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How they stand together.
    pub sight: Sight,
    /// Those that are not over.
    pub alive: Vec<u64>,
}

impl Seen {
    const fn only(sight: Sight) -> Self {
        Self {
            sight,
            alive: Vec::new(),
        }
    }

    fn of(runs: &[Run]) -> Self {
        let alive: Vec<u64> = runs
            .iter()
            .filter(|run| !run.is_over())
            .map(|run| run.id)
            .collect();
        let sight = match (runs.is_empty(), alive.is_empty()) {
            (true, _) => Sight::None,
            (false, true) => Sight::Over,
            (false, false) => Sight::Alive,
        };
        Self { sight, alive }
    }
}

/// What GitHub answered when it was asked to stop a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It stops the run.
    Taken,
    /// It does not: the run is over, or cannot be stopped now.
    Declined,
    /// It knows no such run, or the token may not see it.
    Gone,
    /// No usable answer came; the run may be stopping.
    Unknown,
}

#[derive(Debug, Clone, Deserialize)]
struct Run {
    id: u64,
    #[serde(default)]
    display_title: String,
    #[serde(default)]
    status: Option<String>,
}

impl Run {
    /// Every other status, known or new, counts as alive.
    fn is_over(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    workflow_runs: Vec<Run>,
}

impl GitHub {
    /// Looks a run up by its id. A run that is not there may be one the token cannot see.
    pub async fn look_at(&self, run_id: u64, now: Timestamp) -> Seen {
        let path = format!("actions/runs/{run_id}");
        let Some(answer) = self.get(&path, &[], (RUN_CALL_MAX, now)).await else {
            return Seen::only(Sight::Unknown);
        };
        match (answer.status(), answer.json::<Run>()) {
            (200, Ok(run)) => Seen::of(&[run]),
            (404, _) => Seen::only(Sight::None),
            _ => Seen::only(Sight::Unknown),
        }
    }

    /// Looks for runs named `run_name` that were started since `opened_at`, for at most 8 s.
    pub async fn look_for(&self, run_name: &str, opened_at: Timestamp, now: Timestamp) -> Seen {
        let search = Box::pin(self.search(run_name, opened_at, now));
        if let Ok(seen) = timeout(SEARCH_MAX, search).await {
            return seen;
        }
        tracing::warn!("GitHub's list of runs took too long");
        Seen::only(Sight::Unknown)
    }

    async fn search(&self, run_name: &str, opened_at: Timestamp, now: Timestamp) -> Seen {
        let path = format!("actions/workflows/{WORKFLOW}/runs");
        let since = format!(
            ">={}",
            rfc3339(opened_at.unix_seconds() - SEARCH_SLACK_SECONDS)
        );
        let mut found = Vec::new();
        for page in 1..=PAGES_MAX {
            let query = [
                ("event", "workflow_dispatch"),
                ("created", since.as_str()),
                ("per_page", &PER_PAGE.to_string()),
                ("page", &page.to_string()),
            ];
            let answer = self
                .get(&path, &query, (SEARCH_MAX, now))
                .await
                .filter(Answer::is_success);
            let Some(runs) = answer.and_then(|answer| answer.json::<Page>().ok()) else {
                return Seen::only(Sight::Unknown);
            };
            let last = runs.workflow_runs.len() < PER_PAGE;
            found.extend(
                runs.workflow_runs
                    .into_iter()
                    .filter(|run| run.display_title == run_name),
            );
            if last || !found.is_empty() {
                return Seen::of(&found);
            }
        }
        Seen::only(Sight::Unknown)
    }

    /// Asks GitHub to stop a run, in the way that lets the run's last steps work.
    pub async fn cancel(&self, run_id: u64, now: Timestamp) -> Asked {
        self.stop(run_id, "cancel", now).await
    }

    /// Asks GitHub to stop a run that did not stop when asked: none of its steps runs any more.
    pub async fn force_cancel(&self, run_id: u64, now: Timestamp) -> Asked {
        self.stop(run_id, "force-cancel", now).await
    }

    async fn stop(&self, run_id: u64, how: &str, now: Timestamp) -> Asked {
        let (Ok(settings), Ok(token)) = (&self.settings, self.token(now).await) else {
            return Asked::Unknown;
        };
        let url = format!(
            "{}/repos/{}/actions/runs/{run_id}/{how}",
            settings.api_url, settings.repository
        );
        let call = headers(Request::post(&url))
            .bearer(&token)
            .keep(&[429])
            .deadline(RUN_CALL_MAX);
        match self.http.send(call).await {
            Ok(answer) => {
                self.mind(&answer).await;
                let status = answer.status();
                tracing::info!(run_id, how, status, "asked GitHub to stop the run");
                match status {
                    200..=299 => Asked::Taken,
                    409 => Asked::Declined,
                    404 => Asked::Gone,
                    _ => Asked::Unknown,
                }
            }
            Err(error) => {
                tracing::warn!(run_id, how, %error, "the run could not be asked to stop");
                Asked::Unknown
            }
        }
    }

    /// A GET below the repository, with its deadline; `None` when no answer came.
    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        (deadline, now): (Duration, Timestamp),
    ) -> Option<Answer> {
        let settings = self.settings.as_ref().ok()?;
        let token = self.token(now).await.ok()?;
        let url = format!("{}/repos/{}/{path}", settings.api_url, settings.repository);
        let call = headers(Request::get(&url))
            .bearer(&token)
            .deadline(deadline);
        let call = query
            .iter()
            .fold(call, |call, (name, value)| call.query(name, value));
        match self.http.send(call).await {
            Ok(answer) => {
                self.mind(&answer).await;
                Some(answer)
            }
            Err(error) => {
                tracing::warn!(%error, "GitHub could not be asked about runs");
                None
            }
        }
    }
}

fn rfc3339(unix_seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix_seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: u64, status: Option<&str>) -> Run {
        Run {
            id,
            display_title: String::new(),
            status: status.map(str::to_owned),
        }
    }

    #[test]
    fn one_living_run_is_enough_to_wait() {
        for (runs, sight, alive) in [
            (vec![], Sight::None, vec![]),
            (vec![run(1, Some("completed"))], Sight::Over, vec![]),
            (vec![run(1, Some("queued"))], Sight::Alive, vec![1]),
            (vec![run(1, Some("a_new_word"))], Sight::Alive, vec![1]),
            (vec![run(1, None)], Sight::Alive, vec![1]),
            (
                vec![run(1, Some("completed")), run(2, Some("in_progress"))],
                Sight::Alive,
                vec![2],
            ),
        ] {
            assert_eq!(Seen::of(&runs), Seen { sight, alive });
        }
    }

    #[test]
    fn times_are_as_github_reads_them() {
        assert_eq!(rfc3339(1_800_000_000), "2027-01-15T08:00:00Z");
    }
}
