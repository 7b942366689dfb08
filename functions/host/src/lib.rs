//! What AWS gives a process: settings, JSON logs, clock, randomness, errors as responses,
//! nudges over SQS, and the way a function is run. The one place that reads the environment,
//! the system's clock and its randomness.
//! It must not know SQL, any provider, or what a function does.

mod clock;
mod entropy;
mod error;
mod logs;
mod nudge;
mod queue;
mod secret;
mod serve;
mod settings;

pub use clock::Clock;
pub use entropy::Entropy;
pub use error::ApiError;
pub use nudge::{DELAY_MAX, Nudge};
pub use queue::{NudgeError, Nudges};
pub use secret::same_secret;
pub use serve::{StartError, main, read_body, router, serve};
pub use settings::{AwsKeys, DatabaseSettings, QueueSettings, Reader, SettingsError};
