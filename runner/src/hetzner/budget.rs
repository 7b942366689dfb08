//! The rate budget: one bucket per project, refilled by one call a second, shared by every
//! runner. Deletes go before creates, creates before reads.
//! It must not use the reset time: that is when the bucket is full again (Hetzner's headers).

use outbound::Dice;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Below this many calls left reads slow down.
const READS_SLOW_BELOW: u32 = 60;
/// Below this many calls left creates wait too.
const CREATES_WAIT_BELOW: u32 = 10;
/// Wait of a read when no call is left.
const READ_WAIT_MAX: Duration = Duration::from_secs(20);
/// Wait of a create when no call is left.
const CREATE_WAIT_MAX: Duration = Duration::from_secs(10);
/// Wait after a first refusal: a runner alone has its call back by then.
const REFUSAL_WAIT_FIRST: Duration = Duration::from_secs(2);
/// Wait after a second refusal in a row, which means that many compete; it doubles.
const REFUSAL_WAIT: Duration = Duration::from_secs(24);
/// Most doublings.
const REFUSAL_DOUBLINGS_MAX: u32 = 1;

/// What is known of the bucket.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    remaining: Arc<AtomicU32>,
    /// Refusals (429) in a row.
    refusals: Arc<AtomicU32>,
    dice: Dice,
}

impl Budget {
    pub(super) fn new(dice: Dice) -> Self {
        let remaining = Arc::new(AtomicU32::new(u32::MAX));
        Self {
            remaining,
            refusals: Arc::default(),
            dice,
        }
    }

    /// Reads an answer's status and its count of calls left.
    pub(super) fn learn(&self, status: u16, remaining: Option<&str>) {
        if status == 429 {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.refusals.store(0, Ordering::Relaxed);
        if let Some(remaining) = remaining.and_then(|text| text.parse().ok()) {
            self.remaining.store(remaining, Ordering::Relaxed);
        }
    }

    /// Waits until a read may go.
    pub(super) async fn wait_to_read(&self) {
        self.wait(READS_SLOW_BELOW, READ_WAIT_MAX).await;
    }

    /// Waits until a create may go.
    pub(super) async fn wait_to_create(&self) {
        self.wait(CREATES_WAIT_BELOW, CREATE_WAIT_MAX).await;
    }

    async fn wait(&self, below: u32, longest: Duration) {
        let wait = match self.refusals.load(Ordering::Relaxed) {
            0 => wait_max(self.remaining.load(Ordering::Relaxed), below, longest),
            refusals => refusal_wait(refusals),
        };
        if !wait.is_zero() {
            tokio::time::sleep(self.dice.around(wait)).await;
        }
    }
}

/// Nothing while `below` calls are left, then rising evenly to `longest` at none.
fn wait_max(remaining: u32, below: u32, longest: Duration) -> Duration {
    let missing = below.saturating_sub(remaining);
    longest.mul_f64(f64::from(missing) / f64::from(below))
}

/// Grows with every refusal in a row: a runner alone soon finds its call, many spread out.
fn refusal_wait(refusals: u32) -> Duration {
    match refusals {
        0 => Duration::ZERO,
        1 => REFUSAL_WAIT_FIRST,
        more => REFUSAL_WAIT.saturating_mul(1 << (more - 2).min(REFUSAL_DOUBLINGS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_slow_down_long_before_creates_wait() {
        let read = |left| wait_max(left, READS_SLOW_BELOW, READ_WAIT_MAX);
        let create = |left| wait_max(left, CREATES_WAIT_BELOW, CREATE_WAIT_MAX);
        assert_eq!(read(3600), Duration::ZERO);
        assert_eq!(read(30), READ_WAIT_MAX / 2);
        assert_eq!(create(30), Duration::ZERO);
        assert_eq!((read(0), create(0)), (READ_WAIT_MAX, CREATE_WAIT_MAX));
    }

    #[test]
    fn refusals_in_a_row_lengthen_the_wait() {
        let waits: Vec<u64> = (0..=5).map(|count| refusal_wait(count).as_secs()).collect();
        assert_eq!(waits, [0, 2, 24, 48, 48, 48]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_good_answer_ends_a_row_of_refusals() {
        let budget = Budget::new(Dice::seeded(1));
        budget.learn(429, Some("0"));
        budget.learn(200, Some("3000"));
        let started = tokio::time::Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed().is_zero());
    }
}
