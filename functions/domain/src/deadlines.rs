//! How long anything may take before somebody looks, and what they decide then.

use crate::AttemptState;
use std::time::Duration;

/// A claimed attempt without a report for this long is lost.
pub const LEASE: Duration = Duration::from_mins(3);

/// From opening an attempt to its claim.
pub const START_LIMIT: Duration = Duration::from_mins(15);

/// From claim to the end of the work.
pub const WORK_LIMIT: Duration = Duration::from_mins(15);

/// An unclaimed attempt is looked up at GitHub after this long.
pub const INSPECT_AFTER: Duration = Duration::from_mins(5);

/// A runner that was told to stop and undo has this long before its run is cancelled.
pub const DOOM_PATIENCE: Duration = Duration::from_mins(2);

/// A timer is sent for this long after what it watches.
pub const TIMER_SLACK: Duration = Duration::from_secs(2);

/// What GitHub says of an unclaimed attempt's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is over, or can never start.
    Over,
    /// It waits or works.
    Alive,
    /// There is none.
    None,
    /// GitHub could not be asked.
    Unknown,
}

/// What to do about an attempt that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// It is lost: expire it, cancel its run, and try again or give up.
    Expire,
    /// Its agent is to go and nobody claimed it: abort it and cancel its run.
    Abort,
    /// Its agent is to go and its runner does not end: cancel its run, then wait.
    CancelRun,
    /// Leave it until it is due again.
    Wait,
    /// Ask GitHub to start the same attempt again.
    DispatchAgain,
}

/// An attempt that is due.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// Where it is.
    pub state: AttemptState,
    /// How long ago it was opened.
    pub open_for: Duration,
    /// A claimed one's lease or time to work is over.
    pub lease_over: bool,
    /// For how long its agent has been wanted absent while this is no destroy.
    pub doomed_for: Option<Duration>,
    /// What GitHub says; needed for an unclaimed one that still has time and is not doomed.
    pub sight: Sight,
    /// Whether it was dispatched twice already.
    pub dispatched_again: bool,
}

/// Decides about an attempt that is due.
pub fn inspect(watched: Watched) -> Overdue {
    match watched.state {
        AttemptState::Claimed if watched.lease_over => Overdue::Expire,
        AttemptState::Claimed => match watched.doomed_for {
            Some(doomed_for) if doomed_for >= DOOM_PATIENCE => Overdue::CancelRun,
            Some(_) | None => Overdue::Wait,
        },
        AttemptState::Intended | AttemptState::Accepted if watched.doomed_for.is_some() => {
            Overdue::Abort
        }
        AttemptState::Intended | AttemptState::Accepted if watched.open_for >= START_LIMIT => {
            Overdue::Expire
        }
        AttemptState::Intended | AttemptState::Accepted => match watched.sight {
            Sight::Over => Overdue::Expire,
            Sight::None if watched.state == AttemptState::Intended && !watched.dispatched_again => {
                Overdue::DispatchAgain
            }
            Sight::None | Sight::Alive | Sight::Unknown => Overdue::Wait,
        },
        AttemptState::Succeeded
        | AttemptState::Failed
        | AttemptState::Aborted
        | AttemptState::Expired
        | AttemptState::Refused => Overdue::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIGHTS: [Sight; 4] = [Sight::Over, Sight::Alive, Sight::None, Sight::Unknown];

    fn watched(state: usize, sight: usize, seconds: u64) -> Watched {
        Watched {
            state: AttemptState::ALL[state],
            open_for: Duration::from_secs(seconds),
            lease_over: false,
            doomed_for: None,
            sight: SIGHTS[sight],
            dispatched_again: false,
        }
    }

    proptest! {
        #[test]
        fn nothing_unclaimed_outlasts_the_start_limit(
            state in 0..2_usize, sight in 0..4_usize, over in 0..10_000_u64, again: bool,
        ) {
            let late = watched(state, sight, START_LIMIT.as_secs() + over);
            let late = Watched { dispatched_again: again, ..late };
            prop_assert_eq!(inspect(late), Overdue::Expire);
        }

        #[test]
        fn nothing_claimed_outlasts_its_lease(sight in 0..4_usize, doomed in 0..1_000_u64) {
            for doomed_for in [None, Some(Duration::from_secs(doomed))] {
                let lost = Watched { lease_over: true, doomed_for, ..watched(2, sight, 1) };
                prop_assert_eq!(inspect(lost), Overdue::Expire);
                let held = Watched { lease_over: false, ..lost };
                prop_assert!(matches!(inspect(held), Overdue::Wait | Overdue::CancelRun));
            }
        }

        #[test]
        fn an_attempt_is_dispatched_again_at_most_once(
            state in 0..3_usize, sight in 0..4_usize, seconds in 0..900_u64,
        ) {
            let again = Watched { dispatched_again: true, ..watched(state, sight, seconds) };
            prop_assert_ne!(inspect(again), Overdue::DispatchAgain);
        }

        #[test]
        fn a_doomed_attempt_is_aborted_at_once_or_given_time_to_undo(
            sight in 0..4_usize, seconds in 0..900_u64, doomed in 0..300_u64,
        ) {
            for state in 0..3_usize {
                let doomed_for = Some(Duration::from_secs(doomed));
                let wanted = match state {
                    2 if doomed < DOOM_PATIENCE.as_secs() => Overdue::Wait,
                    2 => Overdue::CancelRun,
                    _ => Overdue::Abort,
                };
                let one = Watched { doomed_for, ..watched(state, sight, seconds) };
                prop_assert_eq!(inspect(one), wanted);
            }
        }
    }

    #[test]
    fn a_run_alive_is_waited_for() {
        for state in 0..2 {
            assert_eq!(inspect(watched(state, 1, 300)), Overdue::Wait);
            assert_eq!(inspect(watched(state, 0, 300)), Overdue::Expire);
        }
    }
}
