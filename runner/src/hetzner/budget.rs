//! The rate budget: one bucket per project, refilled by one call a second, shared by runners
//! that do not see each other. What each of them sees is the count in its last answer. The fewer
//! calls are left, the later each comes again, by a drawn share, so that together they settle
//! at a pace below the refill. Deletes never wait, creates little, reads long.
//! It must not use the reset time: that is when the bucket is full again (Hetzner's headers).

use crate::lease::Lease;
use outbound::Dice;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Below this many calls left reads slow down.
const READS_SLOW_BELOW: u32 = 60;
/// Below this many calls left creates wait too.
const CREATES_WAIT_BELOW: u32 = 15;
/// Time between an answer and the next read when no call is left: 120 runners may share a call
/// a second.
const READ_WAIT_MAX: Duration = Duration::from_mins(2);
/// Time between an answer and the next create when no call is left.
const CREATE_WAIT_MAX: Duration = Duration::from_secs(20);
/// Wait after a first refusal: a runner alone has its call back by then.
const REFUSAL_WAIT_FIRST: Duration = Duration::from_secs(2);
/// Wait after a second refusal in a row, which means that many compete; it doubles.
const REFUSAL_WAIT: Duration = Duration::from_secs(24);
/// Most doublings.
const REFUSAL_DOUBLINGS_MAX: u32 = 1;

/// What the last answer told.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    remaining: u32,
    /// Refusals (429) in a row.
    refusals: u32,
}

/// What is known of the bucket.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    seen: Arc<Mutex<Seen>>,
    dice: Dice,
    lease: Option<Lease>,
}

impl Budget {
    /// A bucket of which nothing is known.
    pub(super) fn new(dice: Dice) -> Self {
        let seen = Seen {
            at: Instant::now(),
            remaining: u32::MAX,
            refusals: 0,
        };
        Self {
            seen: Arc::new(Mutex::new(seen)),
            dice,
            lease: None,
        }
    }

    /// Ends waits early when the lease says that work must stop: then what is left to do is
    /// undo, and that must not wait.
    pub(super) fn while_held(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads an answer's status and its count of calls left.
    pub(super) fn learn(&self, status: u16, remaining: Option<&str>) {
        self.seen(|seen| {
            seen.at = Instant::now();
            if status == 429 {
                seen.refusals = seen.refusals.saturating_add(1);
                return;
            }
            seen.refusals = 0;
            if let Some(remaining) = remaining.and_then(|text| text.parse().ok()) {
                seen.remaining = remaining;
            }
        });
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
        let seen = self.seen(|seen| *seen);
        let span = match seen.refusals {
            0 => wait_max(seen.remaining, below, longest),
            refusals => refusal_wait(refusals),
        };
        // Counted from the answer: whoever waited for something else has waited enough.
        let wait = self.dice.around(span).saturating_sub(seen.at.elapsed());
        match &self.lease {
            _ if wait.is_zero() => {}
            Some(lease) => drop(lease.pause(wait).await),
            None => sleep(wait).await,
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
    use crate::lease::Halt;

    fn budget(status: u16, remaining: &str) -> (Budget, Lease) {
        let lease = Lease::new(Instant::now(), Duration::from_mins(5));
        let budget = Budget::new(Dice::seeded(1)).while_held(lease.clone());
        budget.learn(status, Some(remaining));
        (budget, lease)
    }

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
        let (budget, _) = budget(429, "0");
        budget.learn(200, Some("3000"));
        let started = Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_on_other_things_counts() {
        let (budget, _) = budget(200, "0");
        sleep(READ_WAIT_MAX * 2).await;
        let started = Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_work_must_stop() {
        let (budget, lease) = budget(200, "0");
        let started = Instant::now();
        let stop = async {
            sleep(Duration::from_secs(3)).await;
            lease.halt(Halt::Stopped);
        };
        tokio::join!(budget.wait_to_read(), stop);
        assert_eq!(started.elapsed(), Duration::from_secs(3));
        budget.wait_to_read().await;
        assert_eq!(
            started.elapsed(),
            Duration::from_secs(3),
            "undo does not wait"
        );
    }
}
