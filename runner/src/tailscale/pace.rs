//! How often Tailscale is looked at once it has refused. Its limits are not published, so its
//! refusals alone tell them, and what others take of them is not seen: the pause that they make
//! stays until the end of the run, which is near. It must not know what is looked at.

use outbound::{Answer, Dice};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The pause after a first refusal; it doubles with each.
const REFUSED: Duration = Duration::from_secs(5);
/// Most doublings.
const DOUBLINGS_MAX: u32 = 2;
/// Most that is waited because Tailscale says so.
const ASKED_MAX: Duration = Duration::from_mins(1);

/// When the next look may be.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: Instant,
    /// Refusals so far.
    refusals: u32,
}

/// What the looks so far told.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    next: Arc<Mutex<Next>>,
    dice: Dice,
}

impl Pace {
    /// Nothing was refused yet.
    pub(super) fn new(dice: Dice) -> Self {
        let next = Next {
            at: Instant::now(),
            refusals: 0,
        };
        Self {
            next: Arc::new(Mutex::new(next)),
            dice,
        }
    }

    /// Reads an answer.
    pub(super) fn learn(&self, answer: &Answer) {
        let asked = answer.header("retry-after");
        let asked = asked.and_then(|text| text.trim().parse().ok());
        self.learn_of(answer.status(), Duration::from_secs(asked.unwrap_or(0)));
    }

    fn learn_of(&self, status: u16, asked: Duration) {
        // 501 is about a device of another tailnet.
        let refused = matches!(status, 429 | 500 | 502..=504);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.refusals = next.refusals.saturating_add(u32::from(refused));
        if next.refusals == 0 {
            return;
        }
        // Drawn anew each time, so that those who were refused together come apart.
        let span = self.dice.around(span(next.refusals));
        next.at = Instant::now() + asked.min(ASKED_MAX) + span;
    }

    /// How long a look had to wait if it were made now; no time while nothing was refused.
    pub(super) fn until_look(&self) -> Duration {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.at.saturating_duration_since(Instant::now())
    }
}

fn span(refusals: u32) -> Duration {
    match refusals {
        0 => Duration::ZERO,
        more => REFUSED.saturating_mul(1 << (more - 1).min(DOUBLINGS_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_ASKED: Duration = Duration::ZERO;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn looks_wait_once_one_was_refused_and_longer_when_more_are() {
        let pace = Pace::new(Dice::seeded(1));
        assert_eq!(pace.until_look(), NOT_ASKED);
        for status in [200, 401, 404, 501] {
            pace.learn_of(status, NOT_ASKED);
        }
        assert_eq!(pace.until_look(), NOT_ASKED, "nothing was refused");
        for (status, around) in [(429, 5), (429, 10), (503, 20), (429, 20), (200, 20)] {
            pace.learn_of(status, NOT_ASKED);
            let rest = pace.until_look();
            let (least, most) = (secs(around) / 2, secs(around) * 3 / 2);
            assert!(rest >= least && rest <= most, "{status}: {rest:?}");
        }
        tokio::time::sleep(secs(30)).await;
        assert_eq!(pace.until_look(), NOT_ASKED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_tailscale_asks_for_is_waited_and_no_more_than_a_run_can_bear() {
        let pace = Pace::new(Dice::seeded(1));
        pace.learn_of(429, secs(40));
        let rest = pace.until_look();
        assert!(rest > secs(42) && rest < secs(48), "{rest:?}");
        pace.learn_of(429, secs(86_400));
        assert!(pace.until_look() < ASKED_MAX + secs(16));
    }
}
