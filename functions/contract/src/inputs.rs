//! The workflow's inputs: what dispatch sends and the runner's environment holds.
//! Anyone who can see the run can see them, so none is ever a secret.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a run does to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make the machine and bring the agent up.
    #[default]
    Provision,
    /// Bring new configuration to a machine that exists.
    Configure,
    /// Power the machine off, data kept.
    Stop,
    /// Power the machine on again.
    Start,
    /// Remove everything that belongs to the agent.
    Destroy,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 5] = [
        Self::Provision,
        Self::Configure,
        Self::Stop,
        Self::Start,
        Self::Destroy,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Configure => "configure",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Destroy => "destroy",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or_else(|| format!("unknown operation {text:?}"))
    }
}

/// Inputs of `provision-agent.yml`. GitHub carries all of them as strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The job this run works for.
    pub job_id: String,
    /// The agent it is about.
    pub agent_id: String,
    /// Where the customer wants the machine.
    pub region: String,
    /// Where reports go.
    pub callback_url: String,
    /// The attempt's fence.
    pub fence: i64,
    /// What to do.
    pub operation: Operation,
}

impl Inputs {
    /// The region used when none is given.
    pub const DEFAULT_REGION: &'static str = "us-east";

    /// Names and values as GitHub takes them.
    pub fn pairs(&self) -> [(&'static str, String); 6] {
        [
            ("job_id", self.job_id.clone()),
            ("agent_id", self.agent_id.clone()),
            ("region", self.region.clone()),
            ("callback_url", self.callback_url.clone()),
            ("fence", self.fence.to_string()),
            ("operation", self.operation.to_string()),
        ]
    }

    /// The run's name, by which a run is found again when GitHub's answer was lost.
    /// It is what `run-name` in the workflow makes of the inputs.
    pub fn run_name(&self) -> String {
        format!("{} {} f{}", self.operation, self.job_id, self.fence)
    }
}
