//! The facts about an agent that decide everything else, and how each change moves them.

use crate::{JobKind, Payment, may_remake, reconcile, words::words};

words! {
    /// What the owner wishes. Delete absorbs.
    Wish {
        /// The agent shall run.
        Run => "run",
        /// The agent shall rest, its data kept.
        Stop => "stop",
        /// The agent shall go.
        Delete => "delete",
    }
}

words! {
    /// What is known to exist of an agent, from the runner.
    Existing {
        /// Nothing.
        Nothing => "nothing",
        /// A server is being made.
        Making => "making",
        /// A machine that waits for the agent's credentials.
        Unconfigured => "unconfigured",
        /// A running instance.
        Running => "running",
        /// A stopped instance, its data kept.
        Stopped => "stopped",
        /// A machine with its data, left by a change of its power that failed: whether it runs or
        /// rests is not known.
        Unsettled => "unsettled",
        /// A server may exist; nobody knows.
        Doubt => "doubt",
    }
}

words! {
    /// What payment and wish together ask for.
    Wanted {
        /// No server, device, key or address.
        Absent => "absent",
        /// A stopped instance with its data.
        Stopped => "stopped",
        /// A running agent.
        Running => "running",
    }
}

words! {
    /// How the work of an attempt changes what exists.
    Ending {
        /// The attempt was opened.
        Opened => "opened",
        /// It succeeded, the agent works.
        Ready => "ready",
        /// It succeeded, the agent waits for its credentials.
        AwaitingCredentials => "awaiting_credentials",
        /// It failed, was aborted or expired.
        Failed => "failed",
        /// GitHub surely did not start it, so nothing was touched.
        Refused => "refused",
        /// A runner of the first version said `running` and named no server.
        Unreported => "unreported",
    }
}

/// The facts. `reconcile` and the agent's state depend on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// From Stripe.
    pub payment: Payment,
    /// From the owner.
    pub wish: Wish,
    /// From the runner.
    pub existing: Existing,
    /// The kind of job whose retries are used up, until the owner or a payment re-arms it.
    pub gave_up: Option<JobKind>,
    /// The kind of job that has a live attempt.
    pub live: Option<JobKind>,
    /// New configuration waits to be brought to the machine.
    pub config_pending: bool,
}

/// What can happen to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Stripe says something new.
    Payment(Payment),
    /// Another payment while it is paid, or another cancel of what is canceled: what was given up
    /// is tried again.
    Confirmed,
    /// The owner commands, or asks for another try with the same wish.
    Wish(Wish),
    /// New configuration was stored.
    Configuration,
    /// The queued job got an attempt.
    Opened,
    /// The live attempt ended and its job is over or will be tried again.
    Ended(Ending),
    /// The live attempt failed and its job has no tries left.
    GaveUp(Ending),
    /// A server of an agent that is over was seen.
    Found,
    /// Its machine was found missing, and the operator has it made anew.
    Remade,
}

/// What payment and wish together ask for.
pub const fn wanted(payment: Payment, wish: Wish) -> Wanted {
    match (payment, wish) {
        (_, Wish::Delete) | (Payment::None | Payment::Canceled, _) => Wanted::Absent,
        (Payment::PastDue, Wish::Run | Wish::Stop) | (Payment::Active, Wish::Stop) => {
            Wanted::Stopped
        }
        (Payment::Active, Wish::Run) => Wanted::Running,
    }
}

impl JobKind {
    /// Whether an attempt of this kind can end so.
    pub const fn may_end(self, ending: Ending) -> bool {
        match ending {
            Ending::Opened => false,
            Ending::Ready | Ending::Failed | Ending::Refused => true,
            Ending::AwaitingCredentials => {
                matches!(self, Self::Provision | Self::Configure | Self::Start)
            }
            Ending::Unreported => matches!(self, Self::Provision),
        }
    }

    /// Whether the success of this kind leaves nothing of what gave up: the same was done after
    /// all, or the power is as it is wanted since, and the other way is no matter any more.
    pub const fn makes_good(self, gave_up: Self) -> bool {
        matches!(
            (self, gave_up),
            (Self::Provision, Self::Provision)
                | (Self::Configure, Self::Configure)
                | (Self::Stop | Self::Start, Self::Stop | Self::Start)
                | (Self::Destroy, Self::Destroy)
        )
    }
}

/// What exists after an attempt of `kind` came to `ending`.
pub const fn effect(kind: JobKind, ending: Ending, before: Existing) -> Existing {
    match (ending, kind) {
        (Ending::Opened, JobKind::Provision) => Existing::Making,
        (Ending::Opened | Ending::Failed, JobKind::Destroy)
        | (Ending::Failed, JobKind::Provision) => Existing::Doubt,
        (Ending::Opened, JobKind::Configure | JobKind::Stop | JobKind::Start)
        | (Ending::Failed, JobKind::Configure) => before,
        // It may have failed before the power changed, or after.
        (Ending::Failed, JobKind::Stop | JobKind::Start) => Existing::Unsettled,
        // Making says that an attempt is at work; a refused one never was, but an older
        // attempt of the same job may have left something.
        (Ending::Refused, _) => match before {
            Existing::Making => Existing::Doubt,
            Existing::Nothing
            | Existing::Unconfigured
            | Existing::Running
            | Existing::Stopped
            | Existing::Unsettled
            | Existing::Doubt => before,
        },
        (Ending::Unreported, _) | (_, JobKind::Destroy) => Existing::Nothing,
        (Ending::Ready | Ending::AwaitingCredentials, JobKind::Stop) => Existing::Stopped,
        (Ending::Ready, JobKind::Provision | JobKind::Configure | JobKind::Start) => {
            Existing::Running
        }
        (Ending::AwaitingCredentials, JobKind::Provision | JobKind::Configure | JobKind::Start) => {
            Existing::Unconfigured
        }
    }
}

impl Facts {
    /// An agent nobody has paid for.
    pub const NEW: Self = Self {
        payment: Payment::None,
        wish: Wish::Run,
        existing: Existing::Nothing,
        gave_up: None,
        live: None,
        config_pending: false,
    };

    /// The facts after a change; `None` when the change cannot happen here.
    pub fn after(self, change: Change) -> Option<Self> {
        match change {
            Change::Payment(payment) => {
                let news = payment != self.payment && payment.age() >= self.payment.age();
                news.then_some(Self {
                    payment,
                    gave_up: None,
                    ..self
                })
            }
            Change::Confirmed => {
                let again = match self.payment {
                    Payment::Active => self.gave_up.is_some(),
                    Payment::Canceled => self.gave_up == Some(JobKind::Destroy),
                    Payment::None | Payment::PastDue => false,
                };
                again.then_some(Self {
                    gave_up: None,
                    ..self
                })
            }
            Change::Wish(wish) => {
                (self.wish != Wish::Delete || wish == Wish::Delete).then_some(Self {
                    wish,
                    gave_up: None,
                    ..self
                })
            }
            Change::Configuration => Some(Self {
                config_pending: true,
                ..self
            }),
            Change::Opened => {
                let kind = reconcile(self).filter(|_| self.live.is_none())?;
                Some(Self {
                    live: Some(kind),
                    existing: effect(kind, Ending::Opened, self.existing),
                    config_pending: self.config_pending && kind != JobKind::Configure,
                    ..self
                })
            }
            Change::Ended(ending) => self.ended(ending, false),
            Change::Found => {
                let over = self.wish == Wish::Delete || self.payment == Payment::Canceled;
                let leftover = over && self.existing == Existing::Nothing && self.live.is_none();
                leftover.then_some(Self {
                    existing: Existing::Doubt,
                    ..self
                })
            }
            Change::Remade => may_remake(self).then_some(Self {
                existing: Existing::Doubt,
                ..self
            }),
            Change::GaveUp(ending) => self.ended(ending, true),
        }
    }

    /// The facts after the live attempt, and whether its kind of job was given up with it.
    fn ended(self, ending: Ending, gives_up: bool) -> Option<Self> {
        let kind = self.live.filter(|kind| kind.may_end(ending))?;
        let well = matches!(ending, Ending::Ready | Ending::AwaitingCredentials);
        let still = self.gave_up.filter(|it| !well || !kind.makes_good(*it));
        Some(Self {
            live: None,
            existing: effect(kind, ending, self.existing),
            gave_up: if gives_up { Some(kind) } else { still },
            ..self
        })
    }
}
