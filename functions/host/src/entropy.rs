//! Randomness and new ids, handed in, so that a run can be repeated from its seed.
//! It knows nothing of what an id is for.

use domain::Timestamp;
use rand::{
    Rng, RngExt, SeedableRng,
    rand_core::UnwrapErr,
    rngs::{StdRng, SysRng},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use uuid::{Builder, Uuid};

/// Draws ids and numbers. Cheap to clone; clones of a seeded one share its sequence.
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    /// Asked anew each time: state kept from before a snapshot of the process would repeat.
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Entropy(system)",
            Source::Seeded(_) => "Entropy(seeded)",
        })
    }
}

impl Entropy {
    /// The system's randomness.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A sequence that `seed` determines. For tests and simulation.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(
            seed,
        )))))
    }

    /// A UUID of version 7, made of `now` and random bits, so that rows sort by age.
    pub fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.micros().div_euclid(1000)).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&self) -> f64 {
        match &self.0 {
            Source::System => UnwrapErr(SysRng).random(),
            Source::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).random(),
        }
    }

    /// Fills `bytes`.
    ///
    /// # Panics
    /// When the system has no randomness to give: no id would be safe then.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::System => UnwrapErr(SysRng).fill_bytes(bytes),
            Source::Seeded(rng) => {
                rng.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .fill_bytes(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_again_and_the_system_never() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let draw = |entropy: &Entropy| (entropy.uuid_v7(now), entropy.uuid_v7(now));
        assert_eq!(draw(&Entropy::seeded(1)), draw(&Entropy::seeded(1)));
        assert_ne!(draw(&Entropy::seeded(1)), draw(&Entropy::seeded(2)));
        assert_ne!(draw(&Entropy::system()), draw(&Entropy::system()));
    }

    #[test]
    fn versions_are_right_and_age_sorts() {
        let entropy = Entropy::seeded(3);
        let early = entropy.uuid_v7(Timestamp::from_unix_seconds(1_800_000_000));
        let late = entropy.uuid_v7(Timestamp::from_unix_seconds(1_800_000_001));
        assert!(early < late);
        assert_eq!(early.get_version_num(), 7);
        assert!((0.0..1.0).contains(&entropy.unit()));
        assert!((0.0..1.0).contains(&Entropy::system().unit()));
    }
}
