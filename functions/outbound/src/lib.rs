//! The one door to other people's HTTP: deadlines, repeats by a pure table, a cap on bodies,
//! redaction of secrets. Every call ends in one of three ways: an [`Answer`], or a [`Failure`]
//! that says whether the call was surely not processed or may have been.
//! It must not know any provider, any status code's meaning for a caller, or where settings are.

mod answer;
mod client;
mod dice;
mod redact;
mod repeat;
mod request;
mod transport;

pub use answer::{Answer, Complaint, Failure, Lost};
pub use client::Client;
pub use dice::Dice;
pub use redact::Secrets;
pub use repeat::{Repeat, Trouble, pause_max};
pub use request::Request;
pub use transport::{BoxError, NetworkSettings, NotSent, Transport};

use std::time::Duration;

/// Longest a call may take, repeats and pauses included.
pub const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// Longest answer body that is read, in bytes: a list that has no pages, as Tailscale's of devices,
/// takes about 1,000 a row.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
