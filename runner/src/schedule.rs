//! When to look again: few calls, little time lost.
//! It must not know what is looked at, or the rate budget.

use std::time::Duration;

/// First look at the actions of a new server: they rarely end sooner.
const ACTION_FIRST: Duration = Duration::from_secs(12);
/// Most looks that follow the shown progress; after them the pauses only grow.
const PROGRESS_LOOKS_MAX: u32 = 1;

/// Before this no machine has booted, so the device is looked for rarely.
const BOOT_SHORTEST: Duration = Duration::from_secs(5);
/// The longest pause until then.
const DEVICE_EARLY: Duration = Duration::from_secs(2);
/// Most machines are there by then: so long the pause stays short, so that less time is lost than
/// by the look each second of Hetzner's Python client.
const BOOT_USUAL: Duration = Duration::from_mins(1);
const DEVICE_SHORTEST: Duration = Duration::from_millis(650);
const DEVICE_LONGEST: Duration = Duration::from_secs(5);

/// When to look at actions again, counted from their begin. The device shows the end anyway,
/// looks only show a failure earlier, so they may be rare: at three and a half times the time, or
/// when the shown progress says it ends (it may jump, or stay at 0).
pub(crate) fn next_action_look(elapsed: Duration, progress: u64, looks: u32) -> Duration {
    if looks == 0 {
        return ACTION_FIRST;
    }
    let rarely = elapsed * 7 / 2;
    let percent = u32::try_from(progress.min(100)).unwrap_or(100);
    if percent == 0 || looks > PROGRESS_LOOKS_MAX {
        return rarely;
    }
    let expected = elapsed * 100 / percent;
    expected.clamp(
        elapsed + Duration::from_secs(2),
        rarely.max(elapsed + ACTION_FIRST),
    )
}

/// Pause between two looks for the device: short once a device can be there at all; longer, by a
/// twentieth of what the wait is late, when the machine is slower than most.
pub(crate) fn device_pause(elapsed: Duration) -> Duration {
    if elapsed < BOOT_SHORTEST {
        let until_then = BOOT_SHORTEST.saturating_sub(elapsed).max(DEVICE_SHORTEST);
        return (elapsed + DEVICE_SHORTEST)
            .min(DEVICE_EARLY)
            .min(until_then);
    }
    let late = elapsed.saturating_sub(BOOT_USUAL);
    (DEVICE_SHORTEST + late / 20).min(DEVICE_LONGEST)
}

/// Pause between two looks at something that usually ends within seconds.
pub(crate) fn short_pause(looks: u32) -> Duration {
    Duration::from_millis(500).saturating_mul(1 << looks.min(3))
}

/// Pause after so many refusals of a change between which looks were answered, so that the rate
/// budget has no reason to wait.
pub(crate) fn refusal_pause(refusals: u32) -> Duration {
    Duration::from_secs(2)
        .saturating_mul(1 << refusals.min(8))
        .min(Duration::from_secs(48))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn actions_are_looked_at_rarely() {
        let mut at = next_action_look(Duration::ZERO, 0, 0);
        let mut looks = vec![at.as_secs()];
        for count in 1..4 {
            at = next_action_look(at, 0, count);
            looks.push(at.as_secs());
        }
        assert_eq!(looks, [12, 42, 147, 514]);
    }

    #[test]
    fn progress_brings_a_look_forward() {
        assert_eq!(next_action_look(secs(12), 80, 1), secs(15));
        assert_eq!(next_action_look(secs(12), 50, 1), secs(24));
        assert_eq!(next_action_look(secs(12), 1, 1), secs(42));
        assert_eq!(next_action_look(secs(12), 99, 1), secs(14));
        assert_eq!(next_action_look(secs(16), 99, 2), secs(56));
    }

    #[test]
    fn less_is_lost_than_by_a_look_each_second_whenever_a_usual_machine_comes() {
        let mut at = Duration::ZERO;
        while at < secs(60) {
            let next = at + device_pause(at);
            let lost = next.saturating_sub(at.max(secs(5)));
            assert!(lost <= DEVICE_SHORTEST, "{at:?}: {lost:?}");
            at = next;
        }
        // A machine that is late costs little by its own time.
        while at < secs(600) {
            let pause = device_pause(at);
            assert!(
                pause * 20 <= at && pause >= DEVICE_SHORTEST,
                "{at:?}: {pause:?}"
            );
            at += pause;
        }
    }

    proptest! {
        #[test]
        fn looks_always_move_on(elapsed in 0_u64..600, progress in 0_u64..200, looks in 0_u32..9) {
            let elapsed = secs(elapsed);
            let next = next_action_look(elapsed, progress, looks);
            prop_assert!(looks == 0 || elapsed.is_zero() || next > elapsed);
            let pause = device_pause(elapsed);
            prop_assert!(pause >= DEVICE_SHORTEST && pause <= DEVICE_LONGEST);
            prop_assert!(short_pause(looks) <= secs(4));
        }
    }
}
