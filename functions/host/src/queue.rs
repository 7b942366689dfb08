//! Sends nudges over SQS. The client is built at the first nudge, because reading the
//! platform's certificates costs more than a whole invocation.
//! It knows nothing of who reads them.

use crate::{AwsKeys, DELAY_MAX, Nudge, QueueSettings};
use aws_sdk_sqs::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use domain::Timestamp;
use secrecy::ExposeSecret;
use std::{
    error::Error,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Bounds of a send: a webhook has 10 s in all, and Stripe wants its answer well before. A debug
/// build, as tests run, bears a machine that stands still.
const ATTEMPT_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });
const SEND_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 3 });
const ATTEMPTS: u32 = 3;

/// At most one empty nudge per process in this time, whoever asks.
const REMINDER_EVERY: Duration = Duration::from_secs(5);

/// A nudge that could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("the nudge could not be sent to the queue: {0}")]
pub struct NudgeError(String);

/// Sends nudges. Cheap to clone; clones share connection and limiter.
#[derive(Clone)]
pub struct Nudges(Arc<Inner>);

struct Inner {
    settings: QueueSettings,
    client: OnceLock<Client>,
    reminder: Limiter,
}

impl fmt::Debug for Nudges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nudges").field(&self.0.settings.url).finish()
    }
}

impl Nudges {
    /// A sender for one queue. Does nothing yet.
    pub fn new(settings: QueueSettings) -> Self {
        let reminder = Limiter::new(REMINDER_EVERY);
        Self(Arc::new(Inner {
            settings,
            client: OnceLock::new(),
            reminder,
        }))
    }

    /// Sends a nudge that is delivered after `delay`, at most [`DELAY_MAX`]: whoever needs more
    /// puts the time into the nudge, and its reader sends it on.
    ///
    /// # Errors
    /// When the queue did not take it.
    pub async fn send(&self, nudge: &Nudge, delay: Duration) -> Result<(), NudgeError> {
        let client = self.0.client.get_or_init(|| connect(&self.0.settings));
        let seconds = i32::try_from(whole_seconds(delay.min(DELAY_MAX))).unwrap_or(0);
        client
            .send_message()
            .queue_url(&self.0.settings.url)
            .message_body(nudge.body())
            .delay_seconds(seconds)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| NudgeError(chain(&error)))
    }

    /// Sends an empty nudge when something is overdue, at most once per 5 s and process. That
    /// it cannot be sent is only logged: it is nobody's own nudge, and the next one repeats it.
    pub async fn remind(&self, any_due: bool, now: Timestamp) {
        if any_due
            && self.0.reminder.allows(now)
            && let Err(error) = self.send(&Nudge::EMPTY, Duration::ZERO).await
        {
            tracing::warn!(%error, "jobs are overdue and dispatch could not be told");
        }
    }
}

/// All causes in one line: the outermost alone says only that something failed.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

/// SQS counts whole seconds; a timer must not come early, so parts count as one more.
fn whole_seconds(delay: Duration) -> u64 {
    delay
        .as_secs()
        .saturating_add(u64::from(delay.subsec_nanos() > 0))
}

/// Keys and region are those of the environment, where Lambda puts them: a chain that looks
/// elsewhere could make the first nudge wait for a metadata service.
fn connect(settings: &QueueSettings) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(ATTEMPT_MAX)
        .operation_attempt_timeout(ATTEMPT_MAX)
        .operation_timeout(SEND_MAX)
        .build();
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials(&settings.keys))
        .region(Region::new(settings.region.clone()))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

fn credentials(keys: &AwsKeys) -> Credentials {
    let session = keys
        .session
        .as_ref()
        .map(|session| session.expose_secret().to_owned());
    let (id, secret) = (keys.id.expose_secret(), keys.secret.expose_secret());
    Credentials::new(id, secret, session, None, "environment")
}

/// Says yes at most once in a while.
#[derive(Debug)]
struct Limiter {
    every: Duration,
    /// Microseconds since the epoch.
    last: AtomicI64,
}

impl Limiter {
    const fn new(every: Duration) -> Self {
        Self {
            every,
            last: AtomicI64::new(i64::MIN),
        }
    }

    fn allows(&self, now: Timestamp) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let next = Timestamp::from_micros(last).plus(self.every);
        // A clock set back must not silence it for ever.
        let set_back = now < Timestamp::from_micros(last);
        (now >= next || set_back)
            && self
                .last
                .compare_exchange(last, now.micros(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiter_says_yes_once_in_five_seconds() {
        let limiter = Limiter::new(REMINDER_EVERY);
        let start = Timestamp::from_unix_seconds(1_800_000_000);
        let after = |millis| start.plus(Duration::from_millis(millis));
        for (now, allowed) in [
            (start, true),
            (start, false),
            (after(4_999), false),
            (after(5_000), true),
            (after(5_001), false),
            (start, true),
        ] {
            assert_eq!(limiter.allows(now), allowed, "{now:?}");
        }
    }

    #[test]
    fn delays_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (1_000, 1), (899_001, 900)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
