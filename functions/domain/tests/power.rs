//! A change of power that failed may have had its effect all the same: what is wanted then is done
//! again, whichever way it is, and what was given up is only said.

use domain::{
    AgentState, Change, Command, Ending, Existing, Facts, JobKind, Payment, Permission, Wanted,
    Wish, agent_state, permit, reconcile, wanted,
};

const ACTIVE: Facts = Facts {
    payment: Payment::Active,
    existing: Existing::Running,
    ..Facts::NEW
};
const PAUSED: Facts = Facts {
    wish: Wish::Stop,
    existing: Existing::Stopped,
    ..ACTIVE
};

/// After one change after another, each of which can happen.
fn after(facts: Facts, changes: &[Change]) -> Facts {
    changes.iter().fold(facts, |facts, change| {
        let next = facts.after(*change);
        assert!(next.is_some(), "{change:?} of {facts:?}");
        next.unwrap_or(facts)
    })
}

fn shows(facts: Facts) -> (AgentState, Option<JobKind>) {
    (agent_state(facts), reconcile(facts))
}

/// The ways in which it comes to be wanted at rest, and then running, and back.
const TO_REST: [Change; 2] = [Change::Payment(Payment::PastDue), Change::Wish(Wish::Stop)];
const TO_RUN: [Change; 2] = [Change::Payment(Payment::Active), Change::Wish(Wish::Run)];
const FAILED: [Change; 2] = [
    Change::Ended(Ending::Failed),
    Change::GaveUp(Ending::Failed),
];

#[test]
fn a_stop_that_failed_is_followed_by_a_start_when_running_is_wanted_again() {
    for (rest, run) in TO_REST.into_iter().zip(TO_RUN) {
        for failed in FAILED {
            // The change of mind comes while the stop is at work, or after it.
            let during = after(ACTIVE, &[rest, Change::Opened, run, failed]);
            let later = after(ACTIVE, &[rest, Change::Opened, failed, run]);
            for facts in [during, later] {
                let start = (AgentState::Starting, Some(JobKind::Start));
                assert_eq!(shows(facts), start, "{rest:?} {failed:?}");
                let done = after(facts, &[Change::Opened, Change::Ended(Ending::Ready)]);
                assert_eq!(done, ACTIVE, "nothing of the stop is left");
            }
        }
    }
}

#[test]
fn a_start_that_failed_is_followed_by_a_stop_when_rest_is_wanted_again() {
    for failed in FAILED {
        for rest in TO_REST {
            let run = Change::Wish(Wish::Run);
            let during = after(PAUSED, &[run, Change::Opened, rest, failed]);
            let later = after(PAUSED, &[run, Change::Opened, failed, rest]);
            for facts in [during, later] {
                let stop = (AgentState::Stopping, Some(JobKind::Stop));
                assert_eq!(shows(facts), stop, "{rest:?} {failed:?}");
                let done = after(facts, &[Change::Opened, Change::Ended(Ending::Ready)]);
                assert_eq!((done.existing, done.gave_up), (Existing::Stopped, None));
            }
        }
    }
}

#[test]
fn what_was_given_up_shows_as_before_and_is_tried_again_only_when_asked() {
    let gave_up = Change::GaveUp(Ending::Failed);
    let stop = after(ACTIVE, &[Change::Wish(Wish::Stop), Change::Opened, gave_up]);
    assert_eq!(shows(stop), (AgentState::Active, None));
    let start = after(PAUSED, &[Change::Wish(Wish::Run), Change::Opened, gave_up]);
    assert_eq!(shows(start), (AgentState::Paused, None));
    for (facts, kind) in [(stop, JobKind::Stop), (start, JobKind::Start)] {
        assert_eq!(facts.gave_up, Some(kind));
        assert_eq!(permit(facts, Command::Retry), Permission::Allowed);
        let again = after(facts, &[Change::Wish(facts.wish)]);
        assert_eq!(reconcile(again), Some(kind));
    }
    let paid = after(start, &[Change::Confirmed]);
    assert_eq!(reconcile(paid), Some(JobKind::Start));
}

#[test]
fn a_refused_attempt_touched_nothing() {
    let refused = [Change::Opened, Change::Ended(Ending::Refused)];
    let stop = after(after(ACTIVE, &[Change::Wish(Wish::Stop)]), &refused);
    assert_eq!(after(stop, &[Change::Wish(Wish::Run)]), ACTIVE);
    let start = after(after(PAUSED, &[Change::Wish(Wish::Run)]), &refused);
    assert_eq!(after(start, &[Change::Wish(Wish::Stop)]), PAUSED);
}

#[test]
fn an_unsettled_machine_is_gone_only_when_it_is_to_go() {
    for (facts, next, state) in domain::decisions() {
        if facts.existing != Existing::Unsettled || facts.live.is_some() {
            continue;
        }
        let kind = match wanted(facts.payment, facts.wish) {
            Wanted::Absent => JobKind::Destroy,
            Wanted::Stopped => JobKind::Stop,
            Wanted::Running => JobKind::Start,
        };
        assert_eq!(next, (facts.gave_up != Some(kind)).then_some(kind));
        assert_ne!(state, AgentState::Failed, "{facts:?}");
    }
}
