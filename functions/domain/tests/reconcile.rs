//! Walks every state an agent can come to by legal changes, and checks what is decided there.

use domain::{
    AgentState, Change, Ending, Existing, Facts, JobKind, Machine, Payment, Wanted, Wish,
    agent_state, decisions, reconcile, wanted,
};
use std::collections::{BTreeSet, HashSet, VecDeque};

fn changes() -> Vec<Change> {
    let mut changes = vec![
        Change::Configuration,
        Change::Opened,
        Change::Found,
        Change::Remade,
        Change::Confirmed,
    ];
    changes.extend(Payment::ALL.iter().copied().map(Change::Payment));
    changes.extend(Wish::ALL.iter().copied().map(Change::Wish));
    changes.extend(
        Ending::ALL
            .iter()
            .copied()
            .filter(|e| *e != Ending::Opened)
            .flat_map(|ending| {
                // No retry follows a report without a server, and no refusal is the last word.
                match ending {
                    Ending::Unreported => vec![Change::GaveUp(ending)],
                    Ending::Failed => vec![Change::Ended(ending), Change::GaveUp(ending)],
                    Ending::Opened
                    | Ending::Ready
                    | Ending::AwaitingCredentials
                    | Ending::Refused => {
                        vec![Change::Ended(ending)]
                    }
                }
            }),
    );
    changes
}

fn reachable() -> Vec<(Facts, Change, Facts)> {
    let mut seen = HashSet::from([Facts::NEW]);
    let mut queue = VecDeque::from([Facts::NEW]);
    let mut edges = Vec::new();
    while let Some(facts) = queue.pop_front() {
        for change in changes() {
            if let Some(next) = facts.after(change) {
                edges.push((facts, change, next));
                if seen.insert(next) {
                    queue.push_back(next);
                }
            }
        }
    }
    edges
}

#[test]
fn legal_agent_states_are_exactly_those_that_changes_lead_to() {
    let walked: BTreeSet<(AgentState, AgentState)> = reachable()
        .into_iter()
        .map(|(from, _, to)| (agent_state(from), agent_state(to)))
        .filter(|(from, to)| from != to)
        .collect();
    let table: BTreeSet<(AgentState, AgentState)> = AgentState::LEGAL
        .iter()
        .flat_map(|(from, to)| to.iter().map(|to| (*from, *to)))
        .collect();
    assert_eq!(table, walked);
}

#[test]
fn a_destroyed_agent_stays_destroyed_unless_something_of_it_turns_up() {
    for (from, change, to) in reachable() {
        if agent_state(from) == AgentState::Deleted {
            let next = (change == Change::Found).then_some(JobKind::Destroy);
            assert_eq!(reconcile(to), next, "{from:?} {change:?}");
        }
    }
}

#[test]
fn a_live_attempt_is_followed_by_nothing_but_destroy() {
    for (facts, next, _) in decisions() {
        if facts.live.is_some() {
            assert!(matches!(next, None | Some(JobKind::Destroy)), "{facts:?}");
        }
    }
}

#[test]
fn an_instance_is_never_destroyed_while_it_is_wanted() {
    for (facts, next, _) in decisions() {
        let has_data = matches!(
            facts.existing,
            Existing::Unconfigured | Existing::Running | Existing::Stopped | Existing::Unsettled
        );
        if has_data && wanted(facts.payment, facts.wish) != Wanted::Absent {
            assert_ne!(next, Some(JobKind::Destroy), "{facts:?}");
        }
    }
}

#[test]
fn what_is_wanted_absent_is_destroyed_or_said_to_be_left() {
    for (facts, next, state) in decisions() {
        let gone = facts.existing == Existing::Nothing && facts.live.is_none();
        if wanted(facts.payment, facts.wish) == Wanted::Absent && !gone {
            let seen_to = next == Some(JobKind::Destroy) || facts.live == Some(JobKind::Destroy);
            assert!(seen_to || state == AgentState::DeleteFailed, "{facts:?}");
        }
    }
}

#[test]
fn what_is_paid_and_wished_gets_a_job_or_a_verdict() {
    for (_, _, facts) in reachable() {
        if wanted(facts.payment, facts.wish) == Wanted::Running {
            let working = facts.live.is_some() || reconcile(facts).is_some();
            let settled = matches!(
                agent_state(facts),
                AgentState::Active
                    | AgentState::AwaitingCredentials
                    | AgentState::Failed
                    | AgentState::Paused
            );
            assert!(working || settled, "{facts:?}");
        }
    }
}

#[test]
fn attempts_that_keep_succeeding_settle_every_agent() {
    for (_, _, start) in reachable() {
        let mut facts = start;
        for _ in 0..6 {
            facts = facts
                .after(Change::Ended(Ending::Ready))
                .or_else(|| facts.after(Change::Opened))
                .unwrap_or(facts);
        }
        assert_eq!(
            (facts.live, reconcile(facts)),
            (None, None),
            "from {start:?}"
        );
    }
}
