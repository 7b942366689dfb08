//! The two functions that decide everything about an agent: which job comes next, and which
//! state the agent shows. Both depend on the facts alone.

use crate::{AgentState, Existing, Facts, JobKind, Payment, Wanted, Wish, wanted};

/// The next job for an agent with these facts; `None` when there is nothing to do now.
/// While an attempt is live the answer is only ever destroy.
pub fn reconcile(facts: Facts) -> Option<JobKind> {
    let wanted = wanted(facts.payment, facts.wish);
    if let Some(live) = facts.live {
        let doomed = wanted == Wanted::Absent && live != JobKind::Destroy;
        return doomed.then_some(JobKind::Destroy);
    }
    let unless_given_up = |kind| (facts.gave_up != Some(kind)).then_some(kind);
    match (wanted, facts.existing) {
        (Wanted::Absent | Wanted::Stopped, Existing::Nothing)
        | (Wanted::Stopped, Existing::Stopped) => None,
        (Wanted::Absent, _) | (Wanted::Stopped, Existing::Making | Existing::Doubt) => {
            unless_given_up(JobKind::Destroy)
        }
        (Wanted::Stopped, Existing::Unconfigured | Existing::Running | Existing::Unsettled) => {
            unless_given_up(JobKind::Stop)
        }
        (Wanted::Running, Existing::Nothing) => {
            facts.gave_up.is_none().then_some(JobKind::Provision)
        }
        (Wanted::Running, Existing::Making | Existing::Doubt) => match facts.gave_up {
            None => Some(JobKind::Provision),
            Some(JobKind::Destroy) => None,
            // What a provision that gave up may have left is cleaned.
            Some(JobKind::Provision | JobKind::Configure | JobKind::Stop | JobKind::Start) => {
                Some(JobKind::Destroy)
            }
        },
        (Wanted::Running, Existing::Unconfigured | Existing::Running) => {
            unless_given_up(JobKind::Configure).filter(|_| facts.config_pending)
        }
        (Wanted::Running, Existing::Stopped | Existing::Unsettled) => {
            unless_given_up(JobKind::Start)
        }
    }
}

/// The state that an agent with these facts shows.
pub fn agent_state(facts: Facts) -> AgentState {
    let wanted = wanted(facts.payment, facts.wish);
    if wanted == Wanted::Absent {
        return absent_state(facts);
    }
    let rest = if facts.payment == Payment::PastDue {
        AgentState::Suspended
    } else {
        AgentState::Paused
    };
    match facts.live.or_else(|| reconcile(facts)) {
        Some(JobKind::Provision) => AgentState::Provisioning,
        Some(JobKind::Stop) => AgentState::Stopping,
        Some(JobKind::Start) => AgentState::Starting,
        Some(JobKind::Destroy) if facts.gave_up.is_some() => AgentState::Failed,
        // A clean-up is under way and the owner asked again meanwhile.
        Some(JobKind::Destroy) if wanted == Wanted::Running => AgentState::Provisioning,
        Some(JobKind::Destroy) => rest,
        Some(JobKind::Configure) | None => match facts.existing {
            Existing::Unconfigured => AgentState::AwaitingCredentials,
            Existing::Running => AgentState::Active,
            // It shows what it was before the change that was given up.
            Existing::Unsettled if facts.gave_up == Some(JobKind::Stop) => AgentState::Active,
            Existing::Stopped | Existing::Unsettled => rest,
            Existing::Nothing | Existing::Making | Existing::Doubt => {
                if facts.gave_up.is_some() {
                    AgentState::Failed
                } else {
                    rest
                }
            }
        },
    }
}

fn absent_state(facts: Facts) -> AgentState {
    if facts.live.is_some() {
        return AgentState::Deleting;
    }
    match facts.existing {
        Existing::Nothing if facts.payment == Payment::None && facts.wish != Wish::Delete => {
            AgentState::Draft
        }
        Existing::Nothing => AgentState::Deleted,
        Existing::Making
        | Existing::Unconfigured
        | Existing::Running
        | Existing::Stopped
        | Existing::Unsettled
        | Existing::Doubt => {
            if facts.gave_up == Some(JobKind::Destroy) {
                AgentState::DeleteFailed
            } else {
                AgentState::Deleting
            }
        }
    }
}

/// Every combination of facts with its decision. The store keeps it beside the agents, so
/// that a statement can decide on the row it has just locked.
pub fn decisions() -> impl Iterator<Item = (Facts, Option<JobKind>, AgentState)> {
    let kinds = || std::iter::once(None).chain(JobKind::ALL.iter().copied().map(Some));
    Payment::ALL.iter().flat_map(move |&payment| {
        Wish::ALL.iter().flat_map(move |&wish| {
            Existing::ALL.iter().flat_map(move |&existing| {
                kinds().flat_map(move |gave_up| {
                    kinds().flat_map(move |live| {
                        [false, true].into_iter().map(move |config_pending| {
                            let facts = Facts {
                                payment,
                                wish,
                                existing,
                                gave_up,
                                live,
                                config_pending,
                            };
                            (facts, reconcile(facts), agent_state(facts))
                        })
                    })
                })
            })
        })
    })
}
