//! The one place of devstack that reads the wall clock: once, at the start. Later times follow
//! tokio's clock, so that they stand still and jump with it.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall-clock time that advances with tokio's.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start_unix_ms: u64,
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the time is handed in"
    )]
    pub fn system() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let start_unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Self {
            start_unix_ms,
            start: Instant::now(),
        }
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.start_unix_ms.saturating_add(elapsed)
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> i64 {
        i64::try_from(self.unix_ms() / 1000).unwrap_or(i64::MAX)
    }
}
