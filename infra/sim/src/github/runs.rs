//! The life of a run: queued, pending behind its group, in progress, completed; cancel, re-run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::config::Concurrency;
use crate::draw;
use crate::github::refuse;
use crate::runs::{Conclusion, Run, RunEvent};
use crate::state::{Due, State};
use crate::wire::{Answer, Reply};

/// Most runs that wait in a group with `queue: max`.
const MOST_PENDING: usize = 100;
/// From a force-cancel to the server ending the run.
const FORCE_GRACE: Duration = Duration::from_secs(5);

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for another run of its concurrency group.
    Pending,
    /// Waits for a machine.
    Queued,
    /// A machine was told; it has not reported yet.
    Assigned,
    /// Its job runs.
    InProgress,
    /// Over.
    Completed(Conclusion),
}

impl Stage {
    /// GitHub's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued | Self::Assigned => "queued",
            Self::InProgress => "in_progress",
            Self::Completed(_) => "completed",
        }
    }

    /// How it ended.
    pub(crate) fn conclusion(self) -> Option<Conclusion> {
        match self {
            Self::Completed(conclusion) => Some(conclusion),
            Self::Pending | Self::Queued | Self::Assigned | Self::InProgress => None,
        }
    }

    fn over(self) -> bool {
        self.conclusion().is_some()
    }
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct RunRecord {
    pub(crate) id: u64,
    pub(crate) attempt: u32,
    pub(crate) branch: String,
    pub(crate) name: String,
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) stage: Stage,
    pub(crate) created: Duration,
    pub(crate) started: Duration,
    pub(crate) updated: Duration,
    pub(crate) listed_from: Duration,
    pub(crate) start_delay: Duration,
    pub(crate) cancel_requested: bool,
    /// Value of the concurrency input; group names ignore case.
    group: Option<String>,
    /// Order in the group.
    arrival: u64,
}

/// Makes a run of a valid dispatch; gives its id.
pub(super) fn begin(state: &mut State, branch: &str, inputs: BTreeMap<String, String>) -> u64 {
    let id = state.github.next_run;
    state.github.next_run += 1;
    let config = &state.config.github;
    let group = config
        .concurrency_input
        .as_ref()
        .and_then(|input| inputs.get(input))
        .map(|value| value.to_lowercase());
    let parts = ["run", &id.to_string()];
    let start_delay = draw::delay(state.config.seed, &parts, config.run_start_delay);
    let run = RunRecord {
        id,
        attempt: 1,
        branch: branch.to_owned(),
        name: run_name(&config.run_name, &inputs),
        inputs,
        stage: Stage::Pending,
        created: state.now,
        started: state.now,
        updated: state.now,
        listed_from: state.now + state.knobs.run_list_lag,
        start_delay,
        cancel_requested: false,
        group,
        arrival: id,
    };
    state.github.runs.insert(id, run);
    arrive(state, id);
    id
}

/// The template with every `${{ inputs.X }}` replaced.
fn run_name(template: &str, inputs: &BTreeMap<String, String>) -> String {
    let mut name = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("${{") {
        name.push_str(before);
        let Some((expression, after)) = behind.split_once("}}") else {
            name.push_str("${{");
            rest = behind;
            continue;
        };
        let input = expression.trim().strip_prefix("inputs.");
        let value = input.and_then(|input| inputs.get(input));
        name.push_str(value.map(String::as_str).unwrap_or_default());
        rest = after;
    }
    name.push_str(rest);
    name
}

/// A run comes to its group: it goes on when nobody is before it, else it waits.
fn arrive(state: &mut State, id: u64) {
    let Some(group) = state.github.runs.get(&id).map(|run| run.group.clone()) else {
        return;
    };
    let before: Vec<(u64, Stage)> = match group {
        None => Vec::new(),
        Some(group) => {
            let others = state.github.runs.values();
            let same = others.filter(|run| run.group.as_ref() == Some(&group));
            let open = same.filter(|run| run.id != id && !run.stage.over());
            open.map(|run| (run.id, run.stage)).collect()
        }
    };
    if before.is_empty() {
        queue(state, id);
        return;
    }
    set_stage(state, id, Stage::Pending);
    let waiting = before.iter().filter(|(_, stage)| *stage == Stage::Pending);
    let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
    match state.config.github.concurrency {
        Concurrency::QueueMax if waiting.len() >= MOST_PENDING => {
            set_stage(state, id, Stage::Completed(Conclusion::Cancelled));
        }
        Concurrency::QueueMax => {}
        Concurrency::LatestWaits => {
            for older in waiting {
                set_stage(state, older, Stage::Completed(Conclusion::Cancelled));
            }
        }
    }
}

/// The run waits for a machine now.
fn queue(state: &mut State, id: u64) {
    set_stage(state, id, Stage::Queued);
    let never = state.knobs.runs_never_start;
    let run = state.github.runs.get(&id).filter(|_| !never);
    if let Some((after, attempt)) = run.map(|run| (run.start_delay, run.attempt)) {
        state.schedule(after, Due::RunStarts { run: id, attempt });
    }
}

fn set_stage(state: &mut State, id: u64, next: Stage) {
    let now = state.now;
    if let Some(run) = state.github.runs.get_mut(&id) {
        run.stage = next;
        run.updated = now;
    }
}

/// The run of this attempt, unless it is over.
fn open(state: &State, id: u64, attempt: u32) -> Option<&RunRecord> {
    let run = state.github.runs.get(&id)?;
    (run.attempt == attempt && !run.stage.over()).then_some(run)
}

/// A machine is free: tell the embedder.
pub(crate) fn starts(state: &mut State, id: u64, attempt: u32) {
    let Some(run) = open(state, id, attempt) else {
        return;
    };
    let event = RunEvent::Dispatched(Run {
        run_id: id,
        run_attempt: attempt,
        workflow: state.config.github.workflow_file.clone(),
        git_ref: run.branch.clone(),
        name: run.name.clone(),
        inputs: run.inputs.clone(),
    });
    if crate::knob::take_one(&mut state.knobs.startup_failures) {
        finish(state, id, Conclusion::StartupFailure);
        return;
    }
    set_stage(state, id, Stage::Assigned);
    state.outbox.push(event);
    let timeout = state.config.github.job_timeout;
    state.schedule(timeout, Due::RunTimesOut { run: id, attempt });
}

/// The embedder started the job.
pub(crate) fn job_started(state: &mut State, id: u64) {
    let now = state.now;
    if let Some(run) = state.github.runs.get_mut(&id)
        && run.stage == Stage::Assigned
    {
        run.stage = Stage::InProgress;
        run.started = now;
        run.updated = now;
    }
}

/// The run is over; the next one of its group goes on.
pub(crate) fn finish(state: &mut State, id: u64, conclusion: Conclusion) {
    let Some(run) = state.github.runs.get(&id).filter(|run| !run.stage.over()) else {
        return;
    };
    let group = run.group.clone();
    set_stage(state, id, Stage::Completed(conclusion));
    let Some(group) = group else {
        return;
    };
    let others = state.github.runs.values();
    let waiting =
        others.filter(|run| run.group.as_ref() == Some(&group) && run.stage == Stage::Pending);
    let next = waiting.min_by_key(|run| run.arrival).map(|run| run.id);
    if let Some(next) = next {
        queue(state, next);
    }
}

/// `timeout-minutes` is over: the cancel path.
pub(crate) fn times_out(state: &mut State, id: u64, attempt: u32) {
    if open(state, id, attempt).is_some() {
        stop(state, id, false);
    }
}

/// The grace after a cancel is over: the server ends the run.
pub(crate) fn is_ended(state: &mut State, id: u64, attempt: u32) {
    if open(state, id, attempt).is_some() {
        finish(state, id, Conclusion::Cancelled);
    }
}

/// `POST …/cancel` and `…/force-cancel` → 202, 409 when it is over.
pub(super) fn cancel(state: &mut State, id: u64, force: bool) -> Answer {
    let over = state
        .github
        .runs
        .get(&id)
        .is_none_or(|run| run.stage.over());
    if over {
        let message = "Cannot cancel a workflow run that is completed.";
        return Err(refuse(
            409,
            message,
            "/actions/workflow-runs#cancel-a-workflow-run",
        ));
    }
    stop(state, id, force);
    Ok(Reply::json(202, json!({})))
}

/// Ends a waiting run at once; tells the machine of a started one.
fn stop(state: &mut State, id: u64, force: bool) {
    let grace = if force {
        FORCE_GRACE
    } else {
        state.config.github.cancel_grace
    };
    let Some(run) = state.github.runs.get_mut(&id) else {
        return;
    };
    run.cancel_requested = true;
    let attempt = run.attempt;
    match run.stage {
        Stage::Pending | Stage::Queued => finish(state, id, Conclusion::Cancelled),
        Stage::Assigned | Stage::InProgress => {
            state.outbox.push(RunEvent::Cancel { run_id: id, force });
            state.schedule(grace, Due::RunIsEnded { run: id, attempt });
        }
        Stage::Completed(_) => {}
    }
}

/// The same run again with the next attempt; false when it is not over.
pub(crate) fn rerun(state: &mut State, id: u64) -> bool {
    let arrival = state.github.next_run;
    let Some(run) = state.github.runs.get_mut(&id) else {
        return false;
    };
    if !run.stage.over() {
        return false;
    }
    run.attempt += 1;
    run.cancel_requested = false;
    run.arrival = arrival;
    state.github.next_run += 1;
    arrive(state, id);
    true
}
