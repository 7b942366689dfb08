//! The clock, handed in, so that a whole product can run in virtual time.
//! It knows nothing of what the time is for.

use domain::Timestamp;
use std::{fmt, sync::Arc, time::SystemTime};

type Now = dyn Fn() -> Timestamp + Send + Sync;

/// Says what time it is. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Now>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::from_fn(system_now)
    }

    /// A clock that asks `now`.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
fn system_now() -> Timestamp {
    let micros = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()),
        Err(before) => i64::try_from(before.duration().as_micros()).map(i64::wrapping_neg),
    };
    Timestamp::from_micros(micros.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_that_2026_has_begun_and_a_fixed_clock_stands() {
        assert!(Clock::system().now() > Timestamp::from_unix_seconds(1_767_225_600));
        let fixed = Clock::from_fn(|| Timestamp::from_unix_seconds(7));
        assert_eq!(fixed.now().unix_seconds(), 7);
    }
}
