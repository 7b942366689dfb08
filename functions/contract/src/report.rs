//! A report: what the runner tells the callback, and who says it.
//! The shape on the wire is in `wire`; here is what it means.

use crate::wire;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The GitHub run a report comes from. Both parts are empty in reports of the first version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunPair {
    /// GitHub's run id, as text; empty in the first version.
    pub workflow_run_id: String,
    /// 1, or more after a human pressed "Re-run"; 0 in the first version.
    pub run_attempt: i32,
}

/// Who sent a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// A report without `fence`: fence 1, the empty run pair, no freshness check.
    FirstVersion,
    /// A report of today's version.
    Attempt {
        /// Fence of the sender's attempt.
        fence: i64,
        /// The run that works on it.
        run: RunPair,
        /// Unix seconds at which this copy was sent.
        sent_at: i64,
    },
}

impl Sender {
    /// The fence the report is judged by.
    pub const fn fence(&self) -> i64 {
        match self {
            Self::FirstVersion => 1,
            Self::Attempt { fence, .. } => *fence,
        }
    }

    /// The run pair the report is judged by.
    pub fn run(&self) -> RunPair {
        match self {
            Self::FirstVersion => RunPair {
                workflow_run_id: String::new(),
                run_attempt: 0,
            },
            Self::Attempt { run, .. } => run.clone(),
        }
    }
}

/// What a report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Work goes on; the first of these claims the attempt.
    Provisioning,
    /// The operation succeeded.
    Running,
    /// The operation failed.
    Failed,
    /// Nothing new; the lease is wanted on.
    Heartbeat,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| format!("unknown {} {text:?}", stringify!($name)))
            }
        }
    };
}

words! {
    /// A step that took effect.
    Step {
        /// A Tailscale auth key exists.
        KeyCreated => "key_created",
        /// The server exists and its create action ended well.
        VmCreated => "vm_created",
        /// The device is in the tailnet.
        Enrolled => "enrolled",
        /// Ansible began.
        AnsibleStarted => "ansible_started",
        /// Ansible ended well.
        AnsibleComplete => "ansible_complete",
        /// The agent answered.
        Healthy => "healthy",
        /// The server is off.
        Stopped => "stopped",
        /// The server is on again.
        Started => "started",
        /// Nothing of the agent is left.
        Deleted => "deleted",
    }
}

words! {
    /// How a successful operation ended.
    Outcome {
        /// The agent works.
        Ready => "ready",
        /// The machine works; the agent waits for its credentials.
        AwaitingCredentials => "awaiting_credentials",
    }
}

words! {
    /// What a failure means for the next try.
    ErrorClass {
        /// May work when tried again.
        Transient => "transient",
        /// Nothing to be had just now; tried again later.
        Capacity => "capacity",
        /// Will not work until somebody changes something.
        Permanent => "permanent",
    }
}

/// Ids and addresses of what an attempt has made so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Hetzner's server id.
    pub server_id: Option<String>,
    /// Public address.
    pub server_ip: Option<String>,
    /// Address in the tailnet.
    pub tailscale_ip: Option<String>,
    /// Tailscale's node id.
    pub device_id: Option<String>,
    /// Name of the server.
    pub server_name: Option<String>,
}

/// One server found by listing a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRow {
    /// Hetzner's server id.
    pub server_id: String,
    /// The agent named in its labels.
    pub agent_id: String,
    /// The fence in its labels.
    pub fence: String,
    /// RFC 3339 time of creation.
    pub created: String,
}

/// A report, runner to callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "wire::Report", into = "wire::Report")]
pub struct Report {
    /// The job it is about.
    pub job_id: String,
    /// Who sends it.
    pub sender: Sender,
    /// Rises with every new report of an attempt; a repeat keeps it.
    pub seq: i64,
    /// What it says.
    pub said: Said,
    /// The step that just took effect.
    pub step: Option<Step>,
    /// Everything made so far.
    pub facts: ServerFacts,
    /// With `Running`: how it ended.
    pub outcome: Option<Outcome>,
    /// Servers found by listing; only when asked for, or of the own agent.
    pub inventory: Option<Vec<InventoryRow>>,
    /// With `Failed`: one line for people.
    pub error: Option<String>,
    /// With `Failed`: what it means for the next try.
    pub error_class: Option<ErrorClass>,
    /// With `Failed`: where it happened.
    pub failed_step: Option<String>,
}

impl Report {
    /// A report that says `said` and nothing else yet.
    pub fn new(job_id: impl Into<String>, sender: Sender, seq: i64, said: Said) -> Self {
        Self {
            job_id: job_id.into(),
            sender,
            seq,
            said,
            step: None,
            facts: ServerFacts::default(),
            outcome: None,
            inventory: None,
            error: None,
            error_class: None,
            failed_step: None,
        }
    }

    /// Whether this report ends its attempt.
    pub const fn is_final(&self) -> bool {
        match self.said {
            Said::Running | Said::Failed => true,
            Said::Provisioning | Said::Heartbeat => false,
        }
    }

    /// The body to sign and send.
    ///
    /// # Errors
    /// Never for a report made by this crate's types; the serialiser's error otherwise.
    pub fn to_body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}
