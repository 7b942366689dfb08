//! What may befall messages on their way into the queue: lost, doubled, delayed. Drawn by a
//! seed. Knows no queue and no message.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// How often a message is lost, doubled or delayed: shares from 0 to 1 that add up to at most 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mischief {
    /// Never put in, although its sender is told so.
    pub lose: f64,
    /// Put in twice.
    pub double: f64,
    /// Put in with a further delay.
    pub delay: f64,
    /// The longest further delay.
    pub delay_max: Duration,
}

/// How many messages suffered what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// Lost.
    pub lost: u32,
    /// Doubled.
    pub doubled: u32,
    /// Delayed.
    pub delayed: u32,
}

/// Draws what happens to each message.
#[derive(Debug)]
pub(crate) struct Trickster {
    mischief: Mischief,
    random: StdRng,
}

impl Trickster {
    pub(crate) fn new(mischief: Mischief, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { mischief, random }
    }

    /// The delays with which a message is put in: none when it is lost.
    pub(crate) fn delays(&mut self, delay: Duration, mishaps: &mut Mishaps) -> Vec<Duration> {
        let Mischief {
            lose,
            double,
            delay: late,
            delay_max,
        } = self.mischief;
        let drawn: f64 = self.random.random();
        if drawn < lose {
            mishaps.lost += 1;
            Vec::new()
        } else if drawn < lose + double {
            mishaps.doubled += 1;
            vec![delay; 2]
        } else if drawn < lose + double + late {
            mishaps.delayed += 1;
            vec![delay + delay_max.mul_f64(self.random.random())]
        } else {
            vec![delay]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_counted() {
        let mischief = Mischief {
            lose: 0.1,
            double: 0.2,
            delay: 0.3,
            delay_max: Duration::from_secs(10),
        };
        let mut trickster = Trickster::new(mischief, 7);
        let mut mishaps = Mishaps::default();
        let base = Duration::from_secs(1);
        let drawn: Vec<_> = (0..1000)
            .map(|_| trickster.delays(base, &mut mishaps))
            .collect();
        let late = |delays: &Vec<Duration>| delays.len() == 1 && delays[0] > base;
        let counted = [
            drawn.iter().filter(|delays| delays.is_empty()).count(),
            drawn.iter().filter(|delays| delays.len() == 2).count(),
            drawn.iter().filter(|delays| late(delays)).count(),
        ];
        let said = [mishaps.lost, mishaps.doubled, mishaps.delayed];
        assert_eq!(said.map(|said| usize::try_from(said).unwrap()), counted);
        for (count, share) in counted.iter().zip([100, 200, 300]) {
            assert!(count.abs_diff(share) < 50, "{counted:?}");
        }
        let longest = drawn.iter().flatten().max().unwrap();
        assert!(*longest <= Duration::from_secs(11), "{longest:?}");
    }
}
