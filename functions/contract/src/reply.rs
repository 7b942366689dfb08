//! What the callback answers: the reply, the spec inside a claim's reply, and errors.

use crate::{LEASE_SECONDS, Operation};
use serde::{Deserialize, Serialize};

/// The answer to a report. Every field has a default, so that the runner works with a bare 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Always true in a 200.
    #[serde(default = "yes")]
    pub received: bool,
    /// False: stop and undo.
    #[serde(default = "yes", rename = "continue")]
    pub go_on: bool,
    /// Seconds from the sending of the report for which the attempt is the runner's.
    #[serde(default = "lease")]
    pub lease_seconds: u32,
    /// What the runner needs to know about the agent; in the reply to a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// True: list the whole project by label and report it at the end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inventory: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            received: true,
            go_on: true,
            lease_seconds: LEASE_SECONDS,
            spec: None,
            inventory: false,
        }
    }
}

const fn yes() -> bool {
    true
}

const fn lease() -> u32 {
    LEASE_SECONDS
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands the field by reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What the runner needs to know about the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The agent that the claimed job is about. It comes from the callback's own records, as do
    /// operation and installation: a runner whose inputs or settings say otherwise works for
    /// another one, and is to touch nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What the claimed job is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The installation in whose name the callback speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
    /// The agent's name for people.
    #[serde(default)]
    pub agent_name: String,
    /// Where the customer wants the machine.
    #[serde(default)]
    pub region: String,
    /// Server type to prefer over the runner's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_type: Option<String>,
    /// Location to prefer over the region's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Ids of this agent's jobs that ever had an attempt; in the claim's reply for `destroy`,
    /// which removes what those attempts may have left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// Ids of the servers that this agent's attempts reported and no destroy has removed since;
    /// in the claim's reply for every operation on a machine that exists. They are the agent's
    /// whatever their labels have become.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// The same of devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// A stable code and one line for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Stable word for programs.
    pub code: String,
    /// One line for people.
    pub message: String,
}
