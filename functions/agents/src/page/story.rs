//! What a customer is told about an agent, in plain words: how it is, what it waits for, what
//! went wrong and what can be done. No ids, no addresses, nothing a provider said.
//! It must not know HTTP or where a status comes from.

use super::{
    moment::Moment,
    steps::{self, Line, Progress},
    wait::{Wait, estimate, wait},
    words::{Headline, Tone, advice, happened, headline, region, stop_label, title},
};
use askama::Template;
use domain::{AgentState, Command, JobKind, JobState, Permission, Timestamp, permit};
use store::{AgentStatus, JobStatus};

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) happened: String,
    pub(crate) advice: &'static str,
}

/// A command that is allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) command: Command,
    pub(crate) label: &'static str,
    pub(crate) is_main: bool,
}

/// The steps of one operation.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) title: &'static str,
    /// "Try 2 of 4", from the second on.
    pub(crate) try_line: Option<String>,
    pub(crate) lines: Vec<Line>,
}

/// Everything that the customer's page says, as its `<main>`.
#[derive(Debug, Template)]
#[template(path = "status.html")]
pub(crate) struct Story<'a> {
    /// Path of the page.
    pub(crate) path: &'a str,
    pub(crate) name: &'a str,
    pub(crate) headline: Headline,
    /// "Step 3 of 6: Creating the server".
    pub(crate) step: Option<String>,
    pub(crate) estimate: Option<String>,
    pub(crate) wait: Option<Wait>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) buttons: Vec<Button>,
    pub(crate) steps: Option<Steps>,
    /// Since when it is so.
    pub(crate) since: Moment,
    pub(crate) region: Option<&'static str>,
    /// Something is being done, so the page asks often.
    pub(crate) moves: bool,
}

impl Steps {
    /// How far an operation came that was given up.
    fn given_up(status: &AgentStatus, now: Timestamp) -> Option<Self> {
        let kind = status.facts.gave_up?;
        let after = status.failure.as_ref()?.after.as_deref()?;
        Some(Self {
            title: "How far it came",
            try_line: None,
            lines: steps::given_up(status, kind, after, now),
        })
    }
}

/// Which try it is, from the second on.
fn try_line(job: &JobStatus) -> Option<String> {
    let attempt = job.attempt.as_ref().filter(|attempt| attempt.number > 1)?;
    Some(format!(
        "Try {} of {}",
        attempt.number,
        domain::ATTEMPTS_MAX
    ))
}

impl<'a> Story<'a> {
    /// The story of a status at `now`, for the page at `path`.
    pub(crate) fn of(status: &'a AgentStatus, path: &'a str, now: Timestamp) -> Self {
        let headline = headline(status);
        let job = status.job.as_ref();
        let open = job.filter(|job| job.state.is_open());
        let shown = job.filter(|job| is_shown(job, status.state));
        let progress = shown.map(|job| Progress::of(status, job));
        let at_work = progress.as_ref().filter(|_| open.is_some());
        let steps = shown
            .zip(progress.as_ref())
            .map(|(job, progress)| Steps {
                title: title(job, status.state),
                try_line: open.and_then(try_line),
                lines: progress.lines(now),
            })
            .or_else(|| Steps::given_up(status, now));
        Self {
            path,
            name: &status.name,
            headline,
            step: at_work.and_then(Progress::now),
            estimate: at_work.and_then(|progress| estimate(progress, now)),
            wait: open
                .filter(|_| at_work.is_some())
                .and_then(|job| wait(status, job, now)),
            trouble: trouble(status),
            buttons: buttons(status),
            steps,
            since: Moment::minute(since(status), now),
            region: region(&status.region),
            moves: open.is_some(),
        }
    }

    /// Title of the window: what is the case, then whose.
    pub(crate) fn title(&self) -> String {
        format!("{} · {}", self.headline.line, self.name)
    }
}

/// Whether a job's steps are of use to the customer. What was given up or called off is tidied
/// up behind the scenes.
fn is_shown(job: &JobStatus, state: AgentState) -> bool {
    let behind = state == AgentState::Failed && job.kind == JobKind::Destroy;
    job.state != JobState::Canceled && !behind
}

/// When the agent came into its present state.
fn since(status: &AgentStatus) -> Timestamp {
    let state = status.state.as_str();
    let came = status
        .passed
        .iter()
        .rev()
        .find(|passed| !passed.is_step && passed.what == state);
    came.map_or(status.updated_at, |passed| passed.at)
}

/// What went wrong, where the state does not go on by itself.
fn trouble(status: &AgentStatus) -> Option<Trouble> {
    let gave_up = status.facts.gave_up?;
    let is_told = match status.state {
        AgentState::Failed | AgentState::DeleteFailed => true,
        AgentState::Active | AgentState::Paused => headline(status).tone == Tone::Trouble,
        AgentState::Suspended => gave_up == JobKind::Start,
        AgentState::Draft
        | AgentState::Provisioning
        | AgentState::AwaitingCredentials
        | AgentState::Stopping
        | AgentState::Starting
        | AgentState::Deleting
        | AgentState::Deleted => false,
    };
    let failure = status.failure.as_ref();
    let class = failure.and_then(|failure| failure.class);
    let after = failure.and_then(|failure| failure.after.as_deref());
    let at = after.and_then(|after| steps::given_up_at(gave_up, after));
    is_told.then(|| Trouble {
        happened: happened(class, at),
        advice: advice(gave_up, class, permit(status.facts, Command::Retry)),
    })
}

/// What is allowed now and of use to the customer. Removing is never offered here.
fn buttons(status: &AgentStatus) -> Vec<Button> {
    let allowed = |command| permit(status.facts, command) == Permission::Allowed;
    let is_new = |command: Command| command.wish(status.facts.wish) != status.facts.wish;
    let offers = [
        (Command::Retry, "Try again", allowed(Command::Retry)),
        (
            Command::Start,
            "Start",
            allowed(Command::Start) && is_new(Command::Start),
        ),
        (
            Command::Stop,
            stop_label(status.state),
            allowed(Command::Stop) && is_new(Command::Stop) && status.state != AgentState::Failed,
        ),
    ];
    let offers = offers.into_iter().filter(|(_, _, is_offered)| *is_offered);
    offers
        .map(|(command, label, _)| Button {
            command,
            label,
            is_main: command != Command::Stop,
        })
        .collect()
}
