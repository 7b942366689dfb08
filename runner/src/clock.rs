//! The wall clock, handed in. Only what others count by it uses it: the time stamp of a report, how
//! old a job or an action is. Everything else counts on the monotonic clock.

use std::{fmt, sync::Arc};

/// Tells unix seconds.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Clock {
    /// A clock that asks `unix_seconds`.
    pub fn new(unix_seconds: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(unix_seconds))
    }

    pub(crate) fn unix_seconds(&self) -> i64 {
        (self.0)()
    }
}
