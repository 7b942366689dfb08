//! Why an operation waits and how long it usually takes, in a customer's words.
//! It must not know the steps' names or any provider's answers.

use super::{
    moment::{Moment, about},
    steps::{Progress, live},
    words::region,
};
use domain::{AttemptState, ErrorClass, Timestamp};
use std::time::Duration;
use store::{AgentStatus, JobStatus};

/// Later than this beyond its usual time, and half of the usual time, is called late.
const LATE: Duration = Duration::from_secs(30);

/// What is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) text: String,
    /// When it is tried again.
    pub(crate) until: Option<Moment>,
}

/// Why the open `job` does not go on; nothing when a runner is at work.
pub(crate) fn wait(status: &AgentStatus, job: &JobStatus, now: Timestamp) -> Option<Wait> {
    let say = |text: &str| {
        Some(Wait {
            text: text.to_owned(),
            until: None,
        })
    };
    match live(job).map(|attempt| attempt.state) {
        Some(AttemptState::Intended) => say("We asked GitHub, whose machines do the work, for a \
             free one and wait for the answer."),
        Some(AttemptState::Accepted) => {
            say("Your order is in the queue of GitHub, whose machines \
             do the work. It starts as soon as one is free.")
        }
        // A live attempt is none of the others.
        Some(
            AttemptState::Claimed
            | AttemptState::Succeeded
            | AttemptState::Failed
            | AttemptState::Aborted
            | AttemptState::Expired
            | AttemptState::Refused,
        ) => None,
        None => match job.due {
            None => say("What was begun before has to end first."),
            Some(due) if due <= now => say("It begins within a few seconds."),
            Some(due) => Some(Wait {
                text: put_off(status, job),
                until: Some(Moment::clock(due, now)),
            }),
        },
    }
}

/// Why the next try is not now.
fn put_off(status: &AgentStatus, job: &JobStatus) -> String {
    let last = job.attempt.as_ref().map(|attempt| attempt.state);
    let limited = job
        .reason
        .as_deref()
        .is_some_and(|reason| reason.contains("rate limit"));
    let place = region(&status.region).map_or(String::new(), |place| format!(" in {place}"));
    match (last, job.error_class) {
        (Some(AttemptState::Refused), _) if limited => {
            "GitHub, whose machines do the work, allows only so many orders an hour, and there \
             were more."
                .to_owned()
        }
        (Some(AttemptState::Refused), _) => {
            "GitHub, whose machines do the work, did not take the order. The people who run this \
             service see why."
                .to_owned()
        }
        (Some(AttemptState::Expired), _) => {
            "The machine that did the work was not heard of any more, so another one takes over."
                .to_owned()
        }
        (_, Some(ErrorClass::Capacity)) => {
            format!("No server is free{place} just now. We keep trying by ourselves.")
        }
        (None, None) => "It is not its turn yet.".to_owned(),
        (_, Some(ErrorClass::Transient | ErrorClass::Permanent) | None) => {
            "The last try did not work. We try again by ourselves.".to_owned()
        }
    }
}

/// How long it usually takes from here, learned from past runs.
pub(crate) fn estimate(progress: &Progress<'_>, now: Timestamp) -> Option<String> {
    let usually = progress.usually(now)?;
    Some(if usually.late > LATE.max(usually.whole / 2) {
        "This takes longer than usual. You need not do anything: we watch it, and begin again by \
         ourselves should it hang."
            .to_owned()
    } else if usually.left.is_zero() {
        "It should be done any moment.".to_owned()
    } else {
        format!("Usually done in {}.", about(usually.left))
    })
}
