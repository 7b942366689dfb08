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
/// Time between an answer and the next read when no call is left: 150 runners may share a call
/// a second.
const READ_WAIT_MAX: Duration = Duration::from_secs(150);
/// The same for a look that something else makes up for.
const POLL_WAIT_MAX: Duration = Duration::from_mins(5);
/// Time between an answer and the next create when no call is left.
const CREATE_WAIT_MAX: Duration = Duration::from_secs(20);
/// Time between an answer and the closing list when no call is left.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(80);
/// Wait after a first refusal: a runner alone has its call back by then.
const REFUSAL_WAIT_FIRST: Duration = Duration::from_secs(2);
/// Wait after a second refusal in a row, which means that many compete; it doubles.
const REFUSAL_WAIT: Duration = Duration::from_secs(24);
/// Most doublings.
const REFUSAL_DOUBLINGS_MAX: u32 = 1;

/// Wait after a first refusal once work must stop; it doubles. A run at its end has minutes, and
/// what it has left to do are deletes.
const LAST_WAIT_FIRST: Duration = Duration::from_secs(2);
/// The longest such wait.
const LAST_WAIT_MAX: Duration = Duration::from_secs(8);

/// How a run uses the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It polls: its reads come the later the fewer calls are left.
    Polling,
    /// It closes with one list, which may wait a little.
    Closing,
    /// It takes back what it made: nothing waits, but for a short while after a refusal.
    Undo,
}

/// What the last answer told.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    remaining: u32,
    /// Refusals in a row, for want of room or for another reason that passes.
    refusals: u32,
    pace: Pace,
    /// Which share of a wait is this runner's, drawn anew with each answer.
    share: f64,
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
            pace: Pace::Polling,
            share: 1.0,
        };
        Self {
            seen: Arc::new(Mutex::new(seen)),
            dice,
            lease: None,
        }
    }

    /// Ends waits early when the lease says that work must stop: then all goes as in undo.
    pub(super) fn while_held(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on calls are made at this pace.
    pub(super) fn set_pace(&self, pace: Pace) {
        self.seen(|seen| seen.pace = pace);
    }

    /// Reads whether an answer refused the call for now, and its count of calls left.
    pub(super) fn learn(&self, refused: bool, remaining: Option<&str>) {
        let share = self.dice.around(Duration::from_secs(1)).as_secs_f64();
        self.seen(|seen| {
            seen.at = Instant::now();
            seen.share = share;
            if refused {
                seen.refusals = seen.refusals.saturating_add(1);
                return;
            }
            seen.refusals = 0;
            if let Some(remaining) = remaining.and_then(|text| text.parse().ok()) {
                seen.remaining = remaining;
            }
        });
    }

    /// Whether a refused read may be made again. Undo goes on whatever the lease, and the list a
    /// run closes with has its own bound.
    pub(super) fn may_go_on(&self) -> bool {
        let polls = self.seen(|seen| seen.pace == Pace::Polling);
        !polls
            || self
                .lease
                .as_ref()
                .is_none_or(|lease| lease.check().is_ok())
    }

    /// How long a poll had to wait if it were made now: whoever has something else to watch
    /// meanwhile makes it later.
    pub(super) fn until_poll(&self) -> Duration {
        let seen = self.seen(|seen| *seen);
        Self::rest(seen, Self::span(seen, READS_SLOW_BELOW, POLL_WAIT_MAX))
    }

    /// Waits until a read may go.
    pub(super) async fn wait_to_read(&self) {
        match self.seen(|seen| seen.pace) {
            Pace::Polling => self.wait(READS_SLOW_BELOW, READ_WAIT_MAX).await,
            Pace::Closing | Pace::Undo => self.wait(READS_SLOW_BELOW, CLOSING_WAIT_MAX).await,
        }
    }

    /// Waits until a create may go.
    pub(super) async fn wait_to_create(&self) {
        self.wait(CREATES_WAIT_BELOW, CREATE_WAIT_MAX).await;
    }

    async fn wait(&self, below: u32, longest: Duration) {
        let seen = self.seen(|seen| *seen);
        let held = self
            .lease
            .as_ref()
            .filter(|lease| seen.pace != Pace::Undo && lease.check().is_ok());
        if let Some(lease) = held {
            let rest = Self::rest(seen, Self::span(seen, below, longest));
            if lease.pause(rest).await.is_ok() {
                return;
            }
        }
        // Work must stop or is being taken back: only a refusal is waited out, whoever halted.
        sleep(Self::rest(seen, last_wait(seen.refusals))).await;
    }

    fn span(seen: Seen, below: u32, longest: Duration) -> Duration {
        match seen.refusals {
            0 => wait_max(seen.remaining, below, longest),
            refusals => refusal_wait(refusals),
        }
    }

    /// What is left of a drawn wait. It counts from the answer: whoever waited for something
    /// else has waited enough.
    fn rest(seen: Seen, span: Duration) -> Duration {
        span.mul_f64(seen.share).saturating_sub(seen.at.elapsed())
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

/// Grows with every refusal in a row, and stays short.
fn last_wait(refusals: u32) -> Duration {
    match refusals {
        0 => Duration::ZERO,
        more => LAST_WAIT_FIRST
            .saturating_mul(1 << (more - 1).min(8))
            .min(LAST_WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Halt, RUN_MAX};

    fn budget(refused: bool, remaining: &str) -> (Budget, Lease) {
        let lease = Lease::new(Instant::now(), Duration::from_mins(5), RUN_MAX);
        let budget = Budget::new(Dice::seeded(1)).while_held(lease.clone());
        budget.learn(refused, Some(remaining));
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
    async fn in_undo_only_refusals_are_waited_out_and_not_for_long() {
        for halted in [false, true] {
            let (budget, lease) = budget(false, "0");
            budget.set_pace(Pace::Undo);
            if halted {
                lease.halt(Halt::Stopped);
            }
            let started = Instant::now();
            budget.wait_to_read().await;
            assert!(started.elapsed().is_zero());
            for longest in [3, 6, 12, 12] {
                budget.learn(true, Some("0"));
                let refused = Instant::now();
                budget.wait_to_read().await;
                let waited = refused.elapsed();
                assert!(waited >= LAST_WAIT_FIRST / 2, "{waited:?}");
                assert!(waited <= Duration::from_secs(longest), "{waited:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_out_when_the_lease_halts_without_undo() {
        let (budget, lease) = budget(true, "0");
        lease.halt(Halt::Stopped);
        let started = Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed() >= LAST_WAIT_FIRST / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_good_answer_ends_a_row_of_refusals() {
        let (budget, _) = budget(true, "0");
        budget.learn(false, Some("3000"));
        let started = Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn time_spent_on_other_things_counts() {
        let (budget, _) = budget(false, "0");
        sleep(READ_WAIT_MAX * 2).await;
        let started = Instant::now();
        budget.wait_to_read().await;
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_work_must_stop() {
        let (budget, lease) = budget(false, "0");
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
