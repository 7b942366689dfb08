//! Time of the world: tokio's clock counted from the start, and how each vendor writes it.
//!
//! Must not read the wall clock: a paused tokio clock has to stop everything here too.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// How much time has passed in the world, in tokio's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// What had passed before it was started the last time.
    before: Duration,
    /// `None`: it stands still.
    started: Option<Instant>,
}

impl Clock {
    /// A clock that goes on now, after `before`.
    pub(crate) fn start(before: Duration) -> Self {
        Self {
            before,
            started: Some(Instant::now()),
        }
    }

    /// A clock that stands still, after `before`.
    pub(crate) fn still(before: Duration) -> Self {
        Self {
            before,
            started: None,
        }
    }

    /// Whether it stands still.
    pub(crate) fn is_still(self) -> bool {
        self.started.is_none()
    }

    /// Time since the start of the world.
    pub(crate) fn elapsed(self) -> Duration {
        let since = self.started.map(|started| started.elapsed());
        self.before + since.unwrap_or_default()
    }

    /// The tokio instant that lies `offset` after the start of the world.
    pub(crate) fn at(self, offset: Duration) -> Option<Instant> {
        let after = offset.saturating_sub(self.before);
        self.started.map(|started| started + after)
    }
}

/// Whole unix seconds at `offset` after a start at `epoch`.
pub(crate) fn unix_seconds(epoch: i64, offset: Duration) -> i64 {
    epoch.saturating_add(i64::try_from(offset.as_secs()).unwrap_or(i64::MAX))
}

/// RFC 3339 with `Z`, whole seconds; the year-1 time when `unix` is out of range.
pub(crate) fn zulu(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| YEAR_ONE.to_owned())
}

/// RFC 3339 with `+00:00` in place of `Z`, as Hetzner writes it.
pub(crate) fn offset_form(unix: i64) -> String {
    let text = zulu(unix);
    match text.strip_suffix('Z') {
        Some(bare) => format!("{bare}+00:00"),
        None => text,
    }
}

/// Unix seconds of an RFC 3339 time or of a bare date, `None` when it is neither.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let full = if text.len() == 10 {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    OffsetDateTime::parse(&full, &Rfc3339)
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

/// How Tailscale writes "never" (Go's zero time).
pub(crate) const YEAR_ONE: &str = "0001-01-01T00:00:00Z";
