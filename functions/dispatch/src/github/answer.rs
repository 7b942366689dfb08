//! What GitHub's answer to a dispatch means: a pure table.
//! It must not know how the call was made, or what happens to the job.

use domain::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// Without a number from GitHub, a secondary limit asks for at least a minute.
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_mins(1);

/// Longest wait that is believed, as the primary limit's window is an hour.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// What became of a dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// A run exists. Its id is known unless GitHub answered 204.
    Accepted {
        /// GitHub's id of the run.
        run_id: Option<u64>,
    },
    /// There is surely no run.
    Refused(Refusal),
    /// There may be a run: the call was sent, and no usable answer came.
    Unknown {
        /// One line for people.
        why: String,
    },
}

/// Why there is surely no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One line that says what to change, for the operator.
    pub reason: String,
    /// How long GitHub asked us to wait.
    pub after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a wish about time.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            after: None,
        }
    }
}

/// The parts of an answer that are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard<'a> {
    pub(crate) status: u16,
    /// `Retry-After`, seconds.
    pub(crate) retry_after: Option<&'a str>,
    /// `X-RateLimit-Remaining`.
    pub(crate) remaining: Option<&'a str>,
    /// `X-RateLimit-Reset`, unix seconds.
    pub(crate) reset: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// Whom and what a refusal names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) credential: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) workflow: &'a str,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    workflow_run_id: Option<u64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    documentation_url: Option<String>,
}

impl Heard<'_> {
    fn read(&self) -> Body {
        serde_json::from_slice(self.body).unwrap_or_default()
    }

    /// GitHub's own sentence; a page of HTML is none.
    pub(crate) fn message(&self) -> String {
        self.read()
            .message
            .unwrap_or_else(|| "no reason given".to_owned())
    }

    /// How long GitHub wants silence. A limit is 429, or 403 with a sign of one: nothing
    /// remaining, `Retry-After`, or the address of the page about secondary limits.
    pub(crate) fn limited(&self, now: Timestamp) -> Option<Duration> {
        let spent = self.remaining.map(str::trim) == Some("0");
        let page = self.read().documentation_url.unwrap_or_default();
        let secondary = ["secondary-rate-limits", "abuse-rate-limits"];
        let secondary = secondary.iter().any(|name| page.contains(name));
        let limited = match self.status {
            429 => true,
            403 => spent || secondary || self.retry_after.is_some(),
            _ => false,
        };
        let asked = self.retry_after.and_then(|text| text.trim().parse().ok());
        let reset = self
            .reset
            .filter(|_| spent)
            .and_then(|text| text.trim().parse().ok());
        limited.then(|| {
            asked
                .map(Duration::from_secs)
                .or_else(|| reset.map(|at| Timestamp::from_unix_seconds(at).since(now)))
                .unwrap_or(SECONDARY_LIMIT_WAIT)
                .min(WAIT_MAX)
        })
    }

    /// Whether an older GitHub server does not know `return_run_details`.
    pub(crate) fn knows_no_details(&self) -> bool {
        self.status == 422 && self.message().contains("is not a permitted key")
    }
}

/// What the answer to a dispatch means.
pub(crate) fn started(heard: &Heard<'_>, names: Names<'_>, now: Timestamp) -> Started {
    match heard.status {
        200..=299 => Started::Accepted {
            run_id: heard.read().workflow_run_id,
        },
        // 408 is an answer to a request that was not read whole, as far as GitHub knows.
        408 | 500.. | ..200 => {
            let why = format!("GitHub answered {}: {}", heard.status, heard.message());
            Started::Unknown { why }
        }
        300..=499 => Started::Refused(refusal(heard, names, now)),
    }
}

/// Why a call was refused, whichever call it was. Names the setting to change.
pub(crate) fn refusal(heard: &Heard<'_>, names: Names<'_>, now: Timestamp) -> Refusal {
    let Names {
        credential,
        repository,
        workflow,
    } = names;
    let (status, message) = (heard.status, heard.message());
    if let Some(after) = heard.limited(now) {
        let reason = format!(
            "GitHub's rate limit for {credential} is used up ({status}), {} s to wait: {message}",
            after.as_secs()
        );
        return Refusal {
            reason,
            after: Some(after),
        };
    }
    let reason = match status {
        300..=399 => format!("GITHUB_REPOSITORY {repository} or GITHUB_API_URL has moved"),
        401 => format!("{credential} was refused"),
        403 => format!("{credential} may not start workflows of {repository}"),
        // GitHub hides what a token may not see behind 404.
        404 => format!(
            "{repository} has no {workflow} on its default branch, or {credential} may not see it; \
             GITHUB_REPOSITORY or the permission Actions: write is wrong"
        ),
        422 => format!("{repository} does not take the dispatch of {workflow}"),
        _ => format!("GitHub refused the dispatch of {workflow} in {repository}"),
    };
    Refusal::new(format!("{reason} ({status}): {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const NAMES: Names<'_> = Names {
        credential: "GITHUB_TOKEN",
        repository: "acme/ops",
        workflow: "provision-agent.yml",
    };

    fn heard(status: u16, body: &str) -> Heard<'_> {
        Heard {
            status,
            body: body.as_bytes(),
            ..Heard::default()
        }
    }

    fn refused(heard: &Heard<'_>) -> Refusal {
        match started(heard, NAMES, NOW) {
            Started::Refused(refusal) => refusal,
            other @ (Started::Accepted { .. } | Started::Unknown { .. }) => {
                panic!("not refused: {other:?}")
            }
        }
    }

    #[test]
    fn both_ways_of_success_are_accepted() {
        for (answer, run_id) in [
            (heard(204, ""), None),
            (
                heard(
                    200,
                    r#"{"workflow_run_id":16000000001,"run_url":"u","html_url":"h"}"#,
                ),
                Some(16_000_000_001),
            ),
            (heard(200, "{}"), None),
            (heard(201, "<html>"), None),
        ] {
            assert_eq!(started(&answer, NAMES, NOW), Started::Accepted { run_id });
        }
    }

    #[test]
    fn a_server_error_is_no_refusal() {
        for answer in [
            heard(500, ""),
            heard(502, "<html>Unicorn</html>"),
            heard(503, "{}"),
            heard(504, ""),
            heard(408, ""),
            heard(599, ""),
            heard(100, ""),
        ] {
            assert!(
                matches!(started(&answer, NAMES, NOW), Started::Unknown { .. }),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_refusal_names_the_setting_to_change() {
        for (status, message, names) in [
            (301, "Moved Permanently", "GITHUB_REPOSITORY"),
            (
                401,
                "Bad credentials",
                "GITHUB_TOKEN was refused (401): Bad credentials",
            ),
            (
                403,
                "Resource not accessible by personal access token",
                "GITHUB_TOKEN may not",
            ),
            (404, "Not Found", "GITHUB_REPOSITORY"),
            (404, "Not Found", "Actions: write"),
            (422, "No ref found for: main", "No ref found for: main"),
            (
                422,
                "Required input 'job_id' not provided",
                "provision-agent.yml (422): Required",
            ),
            (400, "Problems parsing JSON", "(400): Problems"),
            (451, "Blocked", "(451): Blocked"),
        ] {
            let body = format!(r#"{{"message":"{message}","status":"{status}"}}"#);
            let refusal = refused(&heard(status, &body));
            assert!(refusal.reason.contains(names), "{}", refusal.reason);
            assert_eq!(refusal.after, None);
        }
        assert!(
            refused(&heard(404, "<html>"))
                .reason
                .ends_with("no reason given")
        );
    }

    const SECONDARY: &str = r#"{"message":"You have exceeded a secondary rate limit.",
        "documentation_url":"https://docs.github.com/rest#about-secondary-rate-limits"}"#;
    const PLAIN: &str = r#"{"message":"API rate limit exceeded"}"#;

    fn waits(status: u16, body: &str, headers: [Option<&str>; 3]) -> Option<u64> {
        let [retry_after, remaining, reset] = headers;
        let heard = Heard {
            status,
            retry_after,
            remaining,
            reset,
            body: body.as_bytes(),
        };
        refused(&heard).after.map(|after| after.as_secs())
    }

    #[test]
    fn a_limit_says_how_long_to_wait() {
        let (spent, reset) = (Some("0"), Some("1800000120"));
        for (status, body, headers, seconds) in [
            (403, SECONDARY, [Some("30"), None, None], 30),
            (429, PLAIN, [Some(" 7 "), None, None], 7),
            (403, SECONDARY, [None, None, None], 60),
            (429, "", [None, None, None], 60),
            (403, PLAIN, [None, spent, reset], 120),
            (429, PLAIN, [None, spent, reset], 120),
            (403, PLAIN, [None, spent, Some("1")], 0),
            (403, PLAIN, [None, spent, Some("soon")], 60),
            (429, PLAIN, [None, Some("9"), reset], 60),
            (429, PLAIN, [Some("999999"), None, None], 3600),
        ] {
            assert_eq!(
                waits(status, body, headers),
                Some(seconds),
                "{status} {headers:?}"
            );
        }
        assert_eq!(waits(403, PLAIN, [None, Some("4999"), None]), None);
    }

    #[test]
    fn an_older_server_is_known_by_its_words() {
        let body =
            r#"{"message":"Invalid request.\n\n\"return_run_details\" is not a permitted key."}"#;
        assert!(heard(422, body).knows_no_details());
        assert!(!heard(400, body).knows_no_details());
        assert!(!heard(422, r#"{"message":"No ref found for: main"}"#).knows_no_details());
    }
}
