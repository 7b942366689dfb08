//! JSON logs, one object per line on standard output, where Lambda picks them up.
//! Callers never hand it a secret or a body; it cannot know either.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// Starts logging at `filter` (the syntax of `RUST_LOG`). A filter that cannot be read, and a
/// second start, change nothing.
pub(crate) fn start(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false);
    let started = registry().with(filter).with(lines).try_init();
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
}
