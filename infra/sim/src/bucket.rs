//! A bucket of calls that refills evenly, as vendors count them. It must not know whose it is.

use std::time::Duration;

/// The bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) size: u32,
    pub(crate) left: u32,
    /// After so long a call comes back.
    every: Duration,
    refilled: Duration,
}

impl Bucket {
    pub(crate) fn new(size: u32, left: u32, every: Duration, now: Duration) -> Self {
        Self {
            size,
            left,
            every,
            refilled: now,
        }
    }

    /// Sets what is left.
    pub(crate) fn set(&mut self, left: u32, now: Duration) {
        self.left = left;
        self.refilled = now;
    }

    /// Takes one call out; false when there is none.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.refilled).as_nanos();
        let back = passed.checked_div(self.every.as_nanos());
        let back = u32::try_from(back.unwrap_or(u128::MAX)).unwrap_or(u32::MAX);
        self.refilled += self.every.saturating_mul(back);
        self.left = self.left.saturating_add(back).min(self.size);
        crate::knob::take_one(&mut self.left)
    }
}
