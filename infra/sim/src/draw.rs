//! Everything random in the world, derived from the seed: the same seed and the same names give
//! the same delays and key texts, whatever the order of the calls.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::DelayRange;

/// 32 bytes that depend on the seed and on every part.
fn digest(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

/// A number drawn for these parts.
pub(crate) fn number(seed: u64, parts: &[&str]) -> u64 {
    digest(seed, parts)
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Lower-case hex text of `length` characters (at most 64).
pub(crate) fn text(seed: u64, parts: &[&str], length: usize) -> String {
    let mut text = hex::encode(digest(seed, parts));
    text.truncate(length);
    text
}

/// A delay inside the range, to the millisecond.
pub(crate) fn delay(seed: u64, parts: &[&str], range: DelayRange) -> Duration {
    let span = range.max.saturating_sub(range.min).as_millis();
    let span = u64::try_from(span).unwrap_or(u64::MAX);
    if span == 0 {
        return range.min;
    }
    range.min + Duration::from_millis(number(seed, parts) % span.saturating_add(1))
}
