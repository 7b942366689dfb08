//! Workflow runs as the embedder sees them: the sim plays GitHub's side, whoever holds the channel
//! plays the machine that runs the job.

use std::collections::BTreeMap;

/// What the embedder has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// A run left the queue: start its job, then call [`crate::Sim::run_started`].
    Dispatched(Run),
    /// A started run is to be stopped: by cancel, by force-cancel, or by the job's time-out.
    Cancel {
        /// The run to stop.
        run_id: u64,
        /// Force: `always()` steps are skipped too.
        force: bool,
    },
}

/// One attempt of one workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// GitHub's id of the run; the same for every attempt.
    pub run_id: u64,
    /// 1, and one more for every human "Re-run".
    pub run_attempt: u32,
    /// The workflow's file name.
    pub workflow: String,
    /// The branch it was dispatched on.
    pub git_ref: String,
    /// The run's name (`display_title` in the API).
    pub name: String,
    /// The inputs after defaults were filled in.
    pub inputs: BTreeMap<String, String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Every step succeeded.
    Success,
    /// A step failed, or the machine was lost.
    Failure,
    /// Stopped on request.
    Cancelled,
    /// The job's time was over.
    TimedOut,
    /// The workflow file could not be started.
    StartupFailure,
}

impl Conclusion {
    /// GitHub's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::StartupFailure => "startup_failure",
        }
    }
}
