//! A nudge: "look at the table". It carries a hint, never the truth.
//! It knows no queue.

use domain::{JobId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest delay of a message (SQS: `DelaySeconds` is at most 900).
pub const DELAY_MAX: Duration = Duration::from_mins(15);

/// What a message of the queue says. Everything may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nudge {
    /// The job to look at first.
    pub job: Option<JobId>,
    /// When it is due, in whole seconds; a nudge that comes earlier is early.
    pub due: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
}

impl Nudge {
    /// "Look at everything that is due."
    pub const EMPTY: Self = Self {
        job: None,
        due: None,
    };

    /// "Look at this job, which is due at `due`."
    pub const fn job(job: JobId, due: Timestamp) -> Self {
        Self {
            job: Some(job),
            due: Some(due),
        }
    }

    /// The message: `{"job_id":"…","due":<unix seconds>}`, or `{}`.
    pub fn body(&self) -> String {
        let wire = Wire {
            job_id: self.job.map(|job| job.to_string()),
            due: self.due.map(Timestamp::unix_seconds),
        };
        serde_json::to_string(&wire).unwrap_or_else(|_| "{}".to_owned())
    }

    /// Reads a message. What cannot be read counts as empty, because a nudge is only a hint and
    /// looking at everything is always right.
    pub fn read(body: &str) -> Self {
        let wire: Wire = serde_json::from_str(body).unwrap_or_default();
        match wire.job_id.and_then(|id| id.parse().ok()) {
            Some(job) => Self {
                job: Some(job),
                due: wire.due.map(Timestamp::from_unix_seconds),
            },
            None => Self::EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5";

    #[test]
    fn a_nudge_comes_back_as_it_went() {
        let due = Timestamp::from_unix_seconds(1_800_000_000);
        for nudge in [
            Nudge::EMPTY,
            Nudge::job(JOB.parse().unwrap(), due),
            Nudge {
                job: Some(JOB.parse().unwrap()),
                due: None,
            },
        ] {
            assert_eq!(Nudge::read(&nudge.body()), nudge);
        }
        assert_eq!(Nudge::EMPTY.body(), "{}");
        let body = Nudge::job(JOB.parse().unwrap(), due).body();
        assert_eq!(body, format!(r#"{{"job_id":"{JOB}","due":1800000000}}"#));
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        for body in [
            "",
            "null",
            "[]",
            "7",
            r#"{"job_id":7}"#,
            r#"{"job_id":"x","due":1}"#,
            "{",
        ] {
            assert_eq!(Nudge::read(body), Nudge::EMPTY, "{body}");
        }
        let odd_due = format!(r#"{{"job_id":"{JOB}","due":"soon"}}"#);
        assert_eq!(Nudge::read(&odd_due), Nudge::EMPTY);
    }
}
