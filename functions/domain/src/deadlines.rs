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
    /// Leave it until it is due again.
    Wait,
    /// Ask GitHub to start the same attempt again.
    DispatchAgain,
}

/// Decides about an attempt that is due, `open_for` after it was opened. `sight` is needed
/// for unclaimed attempts that still have time.
pub fn inspect(
    state: AttemptState,
    open_for: Duration,
    sight: Sight,
    dispatched_again: bool,
) -> Overdue {
    match state {
        AttemptState::Intended | AttemptState::Accepted if open_for < START_LIMIT => match sight {
            Sight::Over => Overdue::Expire,
            Sight::None if state == AttemptState::Intended && !dispatched_again => {
                Overdue::DispatchAgain
            }
            Sight::None | Sight::Alive | Sight::Unknown => Overdue::Wait,
        },
        // A claimed attempt is due only when its lease or its time is over.
        AttemptState::Intended | AttemptState::Accepted | AttemptState::Claimed => Overdue::Expire,
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

    proptest! {
        #[test]
        fn nothing_live_outlasts_the_start_limit(
            state in 0..3_usize, sight in 0..4_usize, again: bool, over in 0..10_000_u64,
        ) {
            let state = AttemptState::ALL[state];
            let open_for = START_LIMIT + Duration::from_secs(over);
            prop_assert_eq!(inspect(state, open_for, SIGHTS[sight], again), Overdue::Expire);
        }

        #[test]
        fn an_attempt_is_dispatched_again_at_most_once(
            state in 0..3_usize, sight in 0..4_usize, seconds in 0..900_u64,
        ) {
            let open_for = Duration::from_secs(seconds);
            let decision = inspect(AttemptState::ALL[state], open_for, SIGHTS[sight], true);
            prop_assert_ne!(decision, Overdue::DispatchAgain);
        }
    }

    #[test]
    fn a_run_alive_is_waited_for() {
        let five_minutes = Duration::from_mins(5);
        for state in [AttemptState::Intended, AttemptState::Accepted] {
            assert_eq!(
                inspect(state, five_minutes, Sight::Alive, false),
                Overdue::Wait
            );
            assert_eq!(
                inspect(state, five_minutes, Sight::Over, false),
                Overdue::Expire
            );
        }
    }
}
