//! The states of agent, job and attempt, and which change of state is legal: one table each.
//! The store loads these tables, and a trigger refuses every other change.

use crate::words::words;

words! {
    /// What a job is for.
    JobKind {
        /// Make the machine and bring the agent up.
        Provision => "provision",
        /// Bring new configuration to the machine.
        Configure => "configure",
        /// Power the machine off, data kept.
        Stop => "stop",
        /// Power the machine on again.
        Start => "start",
        /// Remove everything.
        Destroy => "destroy",
    }
}

words! {
    /// What people see of an agent.
    AgentState {
        /// Not paid yet.
        Draft => "draft",
        /// Being made.
        Provisioning => "provisioning",
        /// Working.
        Active => "active",
        /// Its machine works, its credentials are missing.
        AwaitingCredentials => "awaiting_credentials",
        /// Being stopped.
        Stopping => "stopping",
        /// Stopped by its owner.
        Paused => "paused",
        /// Stopped for want of payment.
        Suspended => "suspended",
        /// Being started.
        Starting => "starting",
        /// Being removed.
        Deleting => "deleting",
        /// Gone.
        Deleted => "deleted",
        /// Could not be made; the reason is told.
        Failed => "failed",
        /// Could not be removed wholly; what is left is told.
        DeleteFailed => "delete_failed",
    }
}

words! {
    /// Where a job is.
    JobState {
        /// Waits for an attempt, or for GitHub's word about it.
        Queued => "queued",
        /// GitHub accepted the run.
        Dispatched => "dispatched",
        /// A runner claimed it.
        Running => "running",
        /// Done.
        Succeeded => "succeeded",
        /// Given up.
        Failed => "failed",
        /// No longer wanted.
        Canceled => "canceled",
    }
}

words! {
    /// Where an attempt is.
    AttemptState {
        /// GitHub is about to be asked, or its answer is unknown.
        Intended => "intended",
        /// GitHub accepted the run.
        Accepted => "accepted",
        /// A runner holds the lease.
        Claimed => "claimed",
        /// The operation succeeded.
        Succeeded => "succeeded",
        /// The operation failed.
        Failed => "failed",
        /// It was called off.
        Aborted => "aborted",
        /// It was not heard of in time.
        Expired => "expired",
        /// GitHub surely did not start it.
        Refused => "refused",
    }
}

impl AttemptState {
    /// Whether an attempt in this state may still act.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Intended | Self::Accepted | Self::Claimed => true,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Expired | Self::Refused => false,
        }
    }
}

impl JobState {
    /// Whether a job in this state is still to be worked on.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Queued | Self::Dispatched | Self::Running => true,
            Self::Succeeded | Self::Failed | Self::Canceled => false,
        }
    }
}

/// Something with states and a table of legal changes.
pub trait Machine: Copy + Eq + Sized + 'static {
    /// The machine's name in the store.
    const NAME: &'static str;
    /// The states in which one may begin.
    const FIRST: &'static [Self];
    /// From each state, the states that may follow it. Staying is always legal.
    const LEGAL: &'static [(Self, &'static [Self])];

    /// Whether `next` may follow this state.
    fn may_become(self, next: Self) -> bool {
        self == next
            || Self::LEGAL
                .iter()
                .any(|(from, to)| *from == self && to.contains(&next))
    }
}

impl Machine for JobState {
    const NAME: &'static str = "job";
    const FIRST: &'static [Self] = &[Self::Queued];
    const LEGAL: &'static [(Self, &'static [Self])] = &[
        // Straight to an end: the first report heard of an attempt may be its last.
        (
            Self::Queued,
            &[
                Self::Dispatched,
                Self::Running,
                Self::Succeeded,
                Self::Failed,
                Self::Canceled,
            ],
        ),
        (
            Self::Dispatched,
            &[
                Self::Queued,
                Self::Running,
                Self::Succeeded,
                Self::Failed,
                Self::Canceled,
            ],
        ),
        (
            Self::Running,
            &[Self::Queued, Self::Succeeded, Self::Failed, Self::Canceled],
        ),
        (Self::Succeeded, &[]),
        (Self::Failed, &[]),
        (Self::Canceled, &[]),
    ];
}

impl Machine for AttemptState {
    const NAME: &'static str = "attempt";
    const FIRST: &'static [Self] = &[Self::Intended];
    const LEGAL: &'static [(Self, &'static [Self])] = &[
        (
            Self::Intended,
            &[
                Self::Accepted,
                Self::Claimed,
                Self::Succeeded,
                Self::Failed,
                Self::Aborted,
                Self::Expired,
                Self::Refused,
            ],
        ),
        (
            Self::Accepted,
            &[
                Self::Claimed,
                Self::Succeeded,
                Self::Failed,
                Self::Aborted,
                Self::Expired,
            ],
        ),
        (
            Self::Claimed,
            &[Self::Succeeded, Self::Failed, Self::Aborted, Self::Expired],
        ),
        (Self::Succeeded, &[]),
        (Self::Failed, &[]),
        (Self::Aborted, &[]),
        (Self::Expired, &[]),
        (Self::Refused, &[]),
    ];
}

impl Machine for AgentState {
    const NAME: &'static str = "agent";
    // A subscription may have run its whole course before its agent is known.
    const FIRST: &'static [Self] = &[
        Self::Draft,
        Self::Provisioning,
        Self::Suspended,
        Self::Deleted,
    ];
    const LEGAL: &'static [(Self, &'static [Self])] = &[
        (
            Self::Draft,
            &[
                Self::Provisioning,
                Self::Paused,
                Self::Suspended,
                Self::Deleted,
            ],
        ),
        (
            Self::Provisioning,
            &[
                Self::Active,
                Self::AwaitingCredentials,
                Self::Stopping,
                Self::Paused,
                Self::Suspended,
                Self::Deleting,
                Self::Deleted,
                Self::Failed,
            ],
        ),
        (
            Self::Active,
            &[
                // Its machine was found missing.
                Self::Provisioning,
                Self::AwaitingCredentials,
                Self::Stopping,
                // A stop was given up, and then running was wanted: it may have had its effect.
                Self::Starting,
                Self::Deleting,
            ],
        ),
        (
            Self::AwaitingCredentials,
            &[
                Self::Provisioning,
                Self::Active,
                Self::Stopping,
                Self::Deleting,
            ],
        ),
        (
            Self::Stopping,
            &[
                Self::Active,
                Self::AwaitingCredentials,
                Self::Paused,
                Self::Suspended,
                Self::Starting,
                Self::Deleting,
            ],
        ),
        (
            Self::Paused,
            &[
                Self::Provisioning,
                // A start was given up, and then rest was wanted: it may have had its effect.
                Self::Stopping,
                Self::Suspended,
                Self::Starting,
                Self::Deleting,
                Self::Deleted,
                Self::Failed,
            ],
        ),
        (
            Self::Suspended,
            &[
                Self::Provisioning,
                Self::Paused,
                Self::Starting,
                Self::Deleting,
                Self::Deleted,
                Self::Failed,
            ],
        ),
        (
            Self::Starting,
            &[
                Self::Active,
                Self::AwaitingCredentials,
                Self::Stopping,
                Self::Paused,
                Self::Suspended,
                Self::Deleting,
            ],
        ),
        (Self::Deleting, &[Self::Deleted, Self::DeleteFailed]),
        // Something of it turned up after all.
        (Self::Deleted, &[Self::Deleting]),
        (
            Self::Failed,
            &[
                Self::Provisioning,
                Self::Paused,
                Self::Suspended,
                Self::Deleting,
                Self::Deleted,
            ],
        ),
        (Self::DeleteFailed, &[Self::Deleting]),
    ];
}
