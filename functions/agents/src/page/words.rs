//! The words for a customer: states, operations, failures, commands. Plain, and without
//! anything that only we know. It must not know how a page is put together.

use super::money;
use domain::{AgentState, ErrorClass, Existing, JobKind, JobState, Payment, Permission};
use std::borrow::Cow;
use store::{AgentStatus, JobStatus};

/// How the page looks at first sight. Colour never says it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Working,
    Well,
    Waiting,
    Trouble,
    Gone,
}

impl Tone {
    /// The tone of a state by itself.
    pub(crate) const fn of(state: AgentState) -> Self {
        match state {
            AgentState::Provisioning
            | AgentState::Stopping
            | AgentState::Starting
            | AgentState::Deleting => Self::Working,
            AgentState::Active => Self::Well,
            AgentState::Draft
            | AgentState::AwaitingCredentials
            | AgentState::Paused
            | AgentState::Suspended => Self::Waiting,
            AgentState::Failed | AgentState::DeleteFailed => Self::Trouble,
            AgentState::Deleted => Self::Gone,
        }
    }

    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Well => "well",
            Self::Waiting => "waiting",
            Self::Trouble => "trouble",
            Self::Gone => "gone",
        }
    }

    pub(crate) const fn badge(self) -> &'static str {
        match self {
            Self::Working => "In progress",
            Self::Well => "All is well",
            Self::Waiting => "Waiting",
            Self::Trouble => "Needs attention",
            Self::Gone => "Ended",
        }
    }
}

/// What is the case, in one line and in one sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Headline {
    pub(crate) tone: Tone,
    pub(crate) line: Cow<'static, str>,
    pub(crate) text: Cow<'static, str>,
}

pub(super) fn say(
    tone: Tone,
    line: impl Into<Cow<'static, str>>,
    text: impl Into<Cow<'static, str>>,
) -> Headline {
    Headline {
        tone,
        line: line.into(),
        text: text.into(),
    }
}

/// The state in plain words.
pub(crate) fn headline(status: &AgentStatus) -> Headline {
    use Tone::{Trouble, Waiting, Working};
    match status.state {
        AgentState::Draft => money::draft(status),
        AgentState::Provisioning => say(
            Working,
            "Setting up your agent",
            "You need not do anything, and you may close this page: the work goes on.",
        ),
        AgentState::Active => active(status),
        AgentState::AwaitingCredentials => say(
            Waiting,
            "Your agent waits for its credentials",
            "Its server is ready. It starts to work as soon as its credentials are stored; whoever \
             sold you the agent can tell you how.",
        ),
        AgentState::Stopping if status.facts.payment == Payment::PastDue => money::stopping(status),
        AgentState::Stopping => say(
            Working,
            "Stopping your agent",
            "It will rest until you start it again. Its data is kept.",
        ),
        AgentState::Paused => paused(status),
        AgentState::Suspended => money::suspended(status),
        AgentState::Starting => say(Working, "Starting your agent", "It will be as you left it."),
        AgentState::Deleting => say(
            Working,
            "Removing your agent",
            "Everything that belongs to it is removed, its data too.",
        ),
        AgentState::Deleted => money::deleted(status),
        AgentState::Failed if status.job.as_ref().is_some_and(|job| job.state.is_open()) => say(
            Trouble,
            "Your agent could not be set up",
            "We are tidying up what was begun; you need not wait for that.",
        ),
        AgentState::Failed => say(
            Trouble,
            "Your agent could not be set up",
            "It is not running.",
        ),
        AgentState::DeleteFailed => say(
            Trouble,
            "Your agent is not wholly removed yet",
            "We could not confirm that everything that belonged to it is gone.",
        ),
    }
}

fn active(status: &AgentStatus) -> Headline {
    match status.facts.gave_up {
        Some(JobKind::Stop) => say(
            Tone::Trouble,
            "Your agent could not be stopped",
            "It may still be running.",
        ),
        Some(JobKind::Configure) => say(
            Tone::Trouble,
            "Your agent is running with its old settings",
            "Its new settings could not be applied.",
        ),
        Some(JobKind::Provision | JobKind::Start | JobKind::Destroy) | None => say(
            Tone::Well,
            "Your agent is running",
            "It works around the clock. You need not keep this page open.",
        ),
    }
}

fn paused(status: &AgentStatus) -> Headline {
    match (status.facts.gave_up, status.facts.existing) {
        (Some(JobKind::Start), _) => say(
            Tone::Trouble,
            "Your agent could not be started",
            "It may still be stopped. Its data is kept.",
        ),
        (_, Existing::Nothing | Existing::Making | Existing::Doubt) => say(
            Tone::Waiting,
            "Your agent is stopped",
            "It is not set up yet. Start it whenever you like.",
        ),
        (
            _,
            Existing::Unconfigured | Existing::Running | Existing::Stopped | Existing::Unsettled,
        ) => say(
            Tone::Waiting,
            "Your agent is stopped",
            "Its data is kept. Start it whenever you like.",
        ),
    }
}

/// What an operation is called, while it goes on and afterwards.
pub(crate) const fn title(job: &JobStatus, state: AgentState) -> &'static str {
    let is_done = matches!(job.state, JobState::Succeeded);
    if matches!(job.state, JobState::Failed) {
        return "How far it came";
    }
    match job.kind {
        JobKind::Provision if is_done => "How it was set up",
        JobKind::Provision => "Setting up",
        JobKind::Configure if is_done => "How its settings were applied",
        JobKind::Configure => "New settings",
        JobKind::Stop if is_done => "How it was stopped",
        JobKind::Stop => "Stopping",
        JobKind::Start if is_done => "How it was started",
        JobKind::Start => "Starting",
        JobKind::Destroy => match state {
            AgentState::Deleted => "How it was removed",
            AgentState::Deleting | AgentState::DeleteFailed => "Removing",
            // What a failed set-up may have left is removed; the agent itself stays.
            AgentState::Draft
            | AgentState::Provisioning
            | AgentState::Active
            | AgentState::AwaitingCredentials
            | AgentState::Stopping
            | AgentState::Paused
            | AgentState::Suspended
            | AgentState::Starting
            | AgentState::Failed => "Tidying up",
        },
    }
}

pub(crate) fn happened(class: Option<ErrorClass>, at: Option<&'static str>) -> String {
    let what = match class {
        Some(ErrorClass::Capacity) => "No server was free, in several tries.",
        Some(ErrorClass::Permanent) => "Something on our side is not set up as it must be.",
        Some(ErrorClass::Transient) | None => "Something went wrong on the way.",
    };
    match at {
        Some(step) => format!("{what} It ended at this step: {step}."),
        None => what.to_owned(),
    }
}

pub(crate) const fn advice(
    gave_up: JobKind,
    class: Option<ErrorClass>,
    retry: Permission,
) -> &'static str {
    match (gave_up, retry, class) {
        (JobKind::Destroy, _, _) => {
            "You need not do anything: the people who run this service see it, and will finish it."
        }
        (_, Permission::Allowed, Some(ErrorClass::Capacity)) => {
            "Servers usually are free again within hours. Try again now or later; nothing is lost."
        }
        (_, Permission::Allowed, Some(ErrorClass::Permanent)) => {
            "Tell whoever sold you the agent: they see the exact reason. Once they have put it \
             right, press Try again."
        }
        (_, Permission::Allowed, Some(ErrorClass::Transient) | None) => {
            "Press Try again. If it fails once more, tell whoever sold you the agent: they see the \
             exact reason."
        }
        (
            _,
            Permission::Done
            | Permission::Busy
            | Permission::Unpaid
            | Permission::Nothing
            | Permission::Gone,
            _,
        ) => "Tell whoever sold you the agent: they see the exact reason.",
    }
}

pub(crate) const fn stop_label(state: AgentState) -> &'static str {
    match state {
        AgentState::Suspended => "Keep it stopped",
        AgentState::Provisioning | AgentState::Starting => "Stop it when that is done",
        AgentState::Draft
        | AgentState::Active
        | AgentState::AwaitingCredentials
        | AgentState::Stopping
        | AgentState::Paused
        | AgentState::Deleting
        | AgentState::Deleted
        | AgentState::Failed
        | AgentState::DeleteFailed => "Stop",
    }
}

/// Where the machine is, for people.
pub(crate) fn region(region: &str) -> Option<&'static str> {
    match region {
        "us-east" => Some("US East"),
        "us-west" => Some("US West"),
        "eu-central" | "eu-west" => Some("Germany"),
        "eu-north" => Some("Finland"),
        "ap-southeast" => Some("Singapore"),
        _ => None,
    }
}

/// Why a command was refused.
pub(crate) fn refused(why: Permission, status: &AgentStatus) -> Cow<'static, str> {
    Cow::Borrowed(match why {
        Permission::Allowed | Permission::Done => "It is so already.",
        Permission::Busy => "Your agent is being worked on. Please wait until that is done.",
        Permission::Unpaid => return Cow::Owned(money::unpaid(status)),
        Permission::Nothing => "There was nothing to do: your agent has changed meanwhile.",
        Permission::Gone => "Your agent is being removed, or is gone already.",
    })
}
