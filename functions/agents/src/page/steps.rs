//! The steps of the newest operation as a customer sees them: done, now, to come.
//! It must not know why an operation waits or failed.

use super::moment::{Moment, about, iso};
use domain::{JobKind, JobState, Timestamp};
use std::{cmp::Ordering, time::Duration};
use store::{AgentStatus, AttemptStatus, JobStatus};

/// A step in a customer's words. `key` is what reports and learned times call it.
#[derive(Debug, Clone, Copy)]
struct Step {
    key: &'static str,
    todo: &'static str,
    doing: &'static str,
    done: &'static str,
    /// Not every operation takes it.
    optional: bool,
}

const fn step(
    key: &'static str,
    todo: &'static str,
    doing: &'static str,
    done: &'static str,
) -> Step {
    Step {
        key,
        todo,
        doing,
        done,
        optional: false,
    }
}

const fn optional(step: Step) -> Step {
    Step {
        optional: true,
        ..step
    }
}

const PAID: Step = step("paid", "Payment", "Waiting for payment", "Payment received");
const CLAIMED: Step = step(
    "claimed",
    "Find a free worker",
    "Finding a free worker",
    "Work started",
);
const HEALTHY: Step = optional(step(
    "healthy",
    "Check that the agent answers",
    "Checking that the agent answers",
    "The agent answers",
));

const PROVISION: &[Step] = &[
    PAID,
    CLAIMED,
    step(
        "key_created",
        "Prepare the private network",
        "Preparing the private network",
        "Private network prepared",
    ),
    step(
        "vm_created",
        "Create the server",
        "Creating the server",
        "Server created",
    ),
    step(
        "enrolled",
        "Connect the server",
        "Connecting the server",
        "Server connected",
    ),
    optional(step(
        "ansible_complete",
        "Install the agent",
        "Installing the agent",
        "Agent installed",
    )),
    HEALTHY,
    step("done", "Ready", "Finishing", "Ready"),
];
const CONFIGURE: &[Step] = &[
    CLAIMED,
    step(
        "ansible_complete",
        "Apply the new settings",
        "Applying the new settings",
        "New settings applied",
    ),
    HEALTHY,
    step("done", "Done", "Finishing", "Done"),
];
const STOP: &[Step] = &[
    CLAIMED,
    step(
        "stopped",
        "Shut the agent down",
        "Shutting the agent down",
        "Agent shut down",
    ),
    step("done", "Done", "Finishing", "Done"),
];
const START: &[Step] = &[
    CLAIMED,
    step(
        "started",
        "Switch the server on",
        "Switching the server on",
        "Server switched on",
    ),
    HEALTHY,
    step("done", "Ready", "Finishing", "Ready"),
];
const DESTROY: &[Step] = &[
    CLAIMED,
    step(
        "deleted",
        "Remove everything",
        "Removing everything",
        "Everything removed",
    ),
    step("done", "Done", "Finishing", "Done"),
];

const fn plan(kind: JobKind) -> &'static [Step] {
    match kind {
        JobKind::Provision => PROVISION,
        JobKind::Configure => CONFIGURE,
        JobKind::Stop => STOP,
        JobKind::Start => START,
        JobKind::Destroy => DESTROY,
    }
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Done,
    Now,
    Failed,
    Todo,
}

impl Mark {
    /// Its class in the style, and its name for who cannot see the style.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Now => "now",
            Self::Failed => "failed",
            Self::Todo => "to come",
        }
    }

    /// Its class in the style.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::Done | Self::Now | Self::Failed => self.word(),
        }
    }
}

/// A step as a line of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Names the line through updates of the page.
    pub(crate) key: &'static str,
    pub(crate) mark: Mark,
    pub(crate) text: &'static str,
    /// When it was done.
    pub(crate) at: Option<Moment>,
    /// Since when it is being done, for the script.
    pub(crate) since: Option<String>,
    /// How long it usually takes.
    pub(crate) usually: Option<String>,
}

/// How far an operation is.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    status: &'a AgentStatus,
    job: &'a JobStatus,
    /// The steps that count here.
    steps: Vec<Step>,
    /// How many of them are behind us.
    behind: usize,
}

/// What past runs say about an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usually {
    /// How long it takes as a whole.
    pub(crate) whole: Duration,
    /// What is left of that.
    pub(crate) left: Duration,
    /// How long ago it would have ended.
    pub(crate) late: Duration,
}

impl<'a> Progress<'a> {
    /// Of the job that matters most now.
    pub(crate) fn of(status: &'a AgentStatus, job: &'a JobStatus) -> Self {
        let learned = !status.expected.is_empty();
        let is_shown = |step: &Step| {
            let unlikely = !job.state.is_open() || (learned && after(status, step.key).is_none());
            !step.optional || reached(status, job, step.key).is_some() || !unlikely
        };
        let steps: Vec<Step> = plan(job.kind).iter().copied().filter(is_shown).collect();
        let last = steps
            .iter()
            .rposition(|step| reached(status, job, step.key).is_some());
        let behind = match job.state {
            JobState::Succeeded => steps.len(),
            JobState::Queued
            | JobState::Dispatched
            | JobState::Running
            | JobState::Failed
            | JobState::Canceled => last.map_or(0, |last| last.saturating_add(1)),
        };
        Self {
            status,
            job,
            steps,
            behind,
        }
    }

    /// "Step 3 of 6: Creating the server", while the job is open.
    pub(crate) fn now(&self) -> Option<String> {
        let step = self.next().filter(|_| self.job.state.is_open())?;
        let (number, all) = (self.behind.saturating_add(1), self.steps.len());
        Some(format!("Step {number} of {all}: {}", step.doing))
    }

    /// The steps as lines.
    pub(crate) fn lines(&self, now: Timestamp) -> Vec<Line> {
        let steps = self.steps.iter().enumerate();
        steps
            .map(|(index, step)| self.line(index, *step, now))
            .collect()
    }

    /// What past runs say about the time left. Nothing when nothing was learned yet.
    pub(crate) fn usually(&self, now: Timestamp) -> Option<Usually> {
        let whole = after(self.status, "done")?;
        let Some(attempt) = live(self.job) else {
            let due = self.job.due?;
            let (left, late) = (due.since(now).saturating_add(whole), now.since(due));
            return Some(Usually { whole, left, late });
        };
        let (at, known) = self
            .last_learned()
            .unwrap_or((attempt.opened_at, Duration::ZERO));
        let ends = at.plus(whole.saturating_sub(known));
        let next = self.next().and_then(|step| after(self.status, step.key));
        let least = whole.saturating_sub(next.unwrap_or(whole));
        let (left, late) = (ends.since(now).max(least), now.since(ends));
        Some(Usually { whole, left, late })
    }

    /// The step that is being done, or would be.
    fn next(&self) -> Option<Step> {
        self.steps.get(self.behind).copied()
    }

    /// The last step behind us whose time is known, and when it usually is.
    fn last_learned(&self) -> Option<(Timestamp, Duration)> {
        let behind = self.steps.iter().take(self.behind).rev();
        behind.filter(|step| step.key != PAID.key).find_map(|step| {
            let at = reached(self.status, self.job, step.key)?;
            Some((at, after(self.status, step.key)?))
        })
    }

    fn line(&self, index: usize, step: Step, now: Timestamp) -> Line {
        let mark = match index.cmp(&self.behind) {
            Ordering::Less => Mark::Done,
            Ordering::Equal if self.job.state.is_open() => Mark::Now,
            Ordering::Equal if self.job.state == JobState::Failed => Mark::Failed,
            Ordering::Equal | Ordering::Greater => Mark::Todo,
        };
        let is_now = mark == Mark::Now;
        let at = reached(self.status, self.job, step.key).filter(|_| mark == Mark::Done);
        Line {
            key: step.key,
            mark,
            text: match mark {
                Mark::Done => step.done,
                Mark::Now => step.doing,
                Mark::Failed | Mark::Todo => step.todo,
            },
            at: at.map(|at| Moment::clock(at, now)),
            since: self.since().filter(|_| is_now).map(iso),
            usually: self
                .length(step)
                .filter(|_| is_now)
                .map(|length| format!("usually {}", about(length))),
        }
    }

    /// Since when the present step is being done.
    fn since(&self) -> Option<Timestamp> {
        let attempt = live(self.job)?;
        let behind = self.steps.iter().take(self.behind).rev();
        let last = behind
            .filter(|step| step.key != PAID.key)
            .find_map(|step| reached(self.status, self.job, step.key));
        Some(last.unwrap_or(attempt.opened_at))
    }

    /// How long a step usually takes after the one before it.
    fn length(&self, step: Step) -> Option<Duration> {
        let end = after(self.status, step.key)?;
        let before = self.steps.iter().take_while(|other| other.key != step.key);
        let begin = before
            .filter_map(|other| after(self.status, other.key))
            .max();
        Some(end.saturating_sub(begin.unwrap_or_default()))
    }
}

/// What was being done when an operation of `kind` was given up, after its step `after` had
/// taken effect, as a task: "Create the server".
pub(crate) fn given_up_at(kind: JobKind, after: &str) -> Option<&'static str> {
    let behind = behind(kind, after)?;
    plan(kind).get(behind).map(|step| step.todo)
}

/// The steps of an operation that was given up, when its job is not the newest any more.
pub(crate) fn given_up(
    status: &AgentStatus,
    kind: JobKind,
    after: &str,
    now: Timestamp,
) -> Vec<Line> {
    let Some(behind) = behind(kind, after) else {
        return Vec::new();
    };
    // The newest of its kind: each attempt begins anew.
    let at = |key: &str| {
        let mut passed = status.passed.iter().rev();
        passed.find(|passed| passed.is_step && passed.what == key)
    };
    let steps = plan(kind).iter().enumerate();
    steps
        .filter(|(index, step)| *index <= behind || !step.optional)
        .map(|(index, step)| {
            let (mark, text) = match index.cmp(&behind) {
                Ordering::Less => (Mark::Done, step.done),
                Ordering::Equal => (Mark::Failed, step.todo),
                Ordering::Greater => (Mark::Todo, step.todo),
            };
            Line {
                key: step.key,
                mark,
                text,
                at: at(step.key)
                    .filter(|_| mark == Mark::Done)
                    .map(|passed| Moment::clock(passed.at, now)),
                since: None,
                usually: None,
            }
        })
        .collect()
}

/// How many steps are behind an operation after a step that it reported.
fn behind(kind: JobKind, after: &str) -> Option<usize> {
    let key = if after == "ansible_started" {
        "enrolled"
    } else {
        after
    };
    let last = plan(kind).iter().position(|step| step.key == key)?;
    last.checked_add(1)
}

/// The attempt that is at work.
pub(crate) fn live(job: &JobStatus) -> Option<&AttemptStatus> {
    job.attempt
        .as_ref()
        .filter(|attempt| attempt.state.is_live())
}

/// How long after the opening of an attempt a step usually is reached.
fn after(status: &AgentStatus, key: &str) -> Option<Duration> {
    let expected = status
        .expected
        .iter()
        .find(|expected| expected.step == key)?;
    Some(expected.after)
}

/// When a step was reached. What an attempt did that is over does not count while its job is
/// open: the next one begins anew.
fn reached(status: &AgentStatus, job: &JobStatus, key: &str) -> Option<Timestamp> {
    if key == PAID.key {
        let paid = |passed: &&store::Passed| !passed.is_step && passed.what != "draft";
        return status.passed.iter().find(paid).map(|passed| passed.at);
    }
    let attempt = job.attempt.as_ref()?;
    if job.state.is_open() && !attempt.state.is_live() {
        return None;
    }
    match key {
        "claimed" => attempt.claimed_at,
        "done" => attempt
            .finished_at
            .filter(|_| job.state == JobState::Succeeded),
        _ => status
            .passed
            .iter()
            .find(|passed| {
                passed.is_step && passed.what == key && passed.fence == Some(attempt.fence)
            })
            .map(|passed| passed.at),
    }
}
