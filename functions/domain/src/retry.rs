//! When a failed or refused attempt is followed by another.

use crate::words::words;
use std::time::Duration;

/// Attempts a job may have: the first and three retries. Refused ones do not count.
pub const ATTEMPTS_MAX: i16 = 4;

words! {
    /// What a failure means for the next try.
    ErrorClass {
        /// May work when tried again.
        Transient => "transient",
        /// Nothing to be had just now.
        Capacity => "capacity",
        /// Will not work until somebody changes something.
        Permanent => "permanent",
    }
}

const FIRST_RETRY: Duration = Duration::from_secs(30);
const FIRST_REFUSAL: Duration = Duration::from_secs(30);
const REFUSAL_MAX: Duration = Duration::from_mins(15);

/// The wait after the first, second and third counted attempt: up to 30 s, 2 min, 8 min with
/// full jitter. Empty when the class is not worth a retry. After the last entry a job gives up.
/// `jitter` draws from 0 to 1.
pub fn retry_delays(class: ErrorClass, mut jitter: impl FnMut() -> f64) -> Vec<Duration> {
    match class {
        ErrorClass::Permanent => Vec::new(),
        ErrorClass::Transient | ErrorClass::Capacity => (1..ATTEMPTS_MAX)
            .scan(FIRST_RETRY, |longest, _| {
                let delay = longest.mul_f64(jitter().clamp(0.0, 1.0));
                *longest *= 4;
                Some(delay)
            })
            .collect(),
    }
}

/// The wait after the first, second, … refusal in a row: 30 s, doubled, at most 900 s.
/// The last entry holds for every further one.
pub fn refusal_delays() -> Vec<Duration> {
    std::iter::successors(Some(FIRST_REFUSAL), |delay| {
        (*delay < REFUSAL_MAX).then(|| REFUSAL_MAX.min(*delay * 2))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_double_up_to_the_limit() {
        let seconds: Vec<u64> = refusal_delays().iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 900]);
    }

    #[test]
    fn permanent_failures_are_not_retried() {
        assert!(retry_delays(ErrorClass::Permanent, || 0.5).is_empty());
    }

    proptest! {
        #[test]
        fn every_retry_stays_under_its_limit(jitter in 0.0..=1.0_f64) {
            let delays = retry_delays(ErrorClass::Transient, || jitter);
            prop_assert_eq!(delays.len(), 3);
            for (delay, limit) in delays.iter().zip([30, 120, 480]) {
                prop_assert!(*delay <= Duration::from_secs(limit));
            }
        }
    }
}
