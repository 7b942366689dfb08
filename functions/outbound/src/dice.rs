//! Randomness that is handed in: from the system for real use, from a seed for replay.
//! It must not know what the numbers are for.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A shared source of random numbers. Clones draw from the same source.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dice")
    }
}

impl Dice {
    /// Numbers that nobody can guess.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A span between zero and `span`, even over the whole.
    pub fn up_to(&self, span: Duration) -> Duration {
        let share: f64 = self.with(RngExt::random);
        span.mul_f64(share)
    }

    /// A span between half of `span` and one and a half times `span`.
    pub fn around(&self, span: Duration) -> Duration {
        span / 2 + self.up_to(span)
    }

    /// 128 random bits as 32 hexadecimal digits.
    pub fn word(&self) -> String {
        let (high, low) = self.with(|rng| (rng.next_u64(), rng.next_u64()));
        format!("{high:016x}{low:016x}")
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let (one, two) = (Dice::seeded(7), Dice::seeded(7));
        assert_eq!(one.word(), two.word());
        assert_ne!(one.word(), one.word());
        assert_ne!(Dice::system().word(), Dice::system().word());
    }

    #[test]
    fn spans_stay_inside_their_bounds() {
        let dice = Dice::seeded(1);
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            assert!(dice.up_to(second) <= second);
            let around = dice.around(second);
            assert!(
                around >= second / 2 && around <= second * 3 / 2,
                "{around:?}"
            );
        }
    }
}
