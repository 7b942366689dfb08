//! When a call is made again: a pure table of rule, trouble and tries.
//! It must not know time, randomness or HTTP beyond a status.

use std::time::Duration;

/// Most tries of one call.
const TRIES_MAX: u32 = 6;

/// What may be done when a call did not go well. The caller says what is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Every trouble is the caller's. For whoever keeps its own schedule.
    Never,
    /// The call is not idempotent: repeat only what was surely not processed, that is, no
    /// connection, or 429.
    Unprocessed,
    /// The call is idempotent: repeat also after silence and after 500, 502, 503, 504.
    Idempotent,
}

/// What went wrong with one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No connection: surely not processed.
    NotConnected,
    /// Sent, and no whole answer came.
    Silence,
    /// 429: surely not processed.
    TooMany,
    /// 500, 502, 503 or 504: may have been processed.
    ServerSide,
}

impl Trouble {
    /// The trouble that a status means, if it means one.
    pub const fn of_status(status: u16) -> Option<Self> {
        match status {
            429 => Some(Self::TooMany),
            500 | 502 | 503 | 504 => Some(Self::ServerSide),
            _ => None,
        }
    }
}

/// The longest pause before the next try, or `None` when there is to be none. The pause itself
/// is drawn between zero and this. `tries` counts the tries made so far, from 1.
pub fn pause_max(rule: Repeat, trouble: Trouble, tries: u32) -> Option<Duration> {
    let base_ms: u64 = match (rule, trouble) {
        (Repeat::Never, _) | (Repeat::Unprocessed, Trouble::Silence | Trouble::ServerSide) => {
            return None;
        }
        (Repeat::Unprocessed | Repeat::Idempotent, Trouble::NotConnected) => 250,
        (Repeat::Unprocessed | Repeat::Idempotent, Trouble::TooMany) => 2000,
        (Repeat::Idempotent, Trouble::Silence | Trouble::ServerSide) => 500,
    };
    if tries >= TRIES_MAX {
        return None;
    }
    let doublings = tries.saturating_sub(1);
    Some(Duration::from_millis(
        base_ms.saturating_mul(1 << doublings),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TROUBLES: [Trouble; 4] = [
        Trouble::NotConnected,
        Trouble::Silence,
        Trouble::TooMany,
        Trouble::ServerSide,
    ];

    #[test]
    fn what_may_have_been_processed_is_repeated_only_when_idempotent() {
        for trouble in TROUBLES {
            assert_eq!(pause_max(Repeat::Never, trouble, 1), None);
            assert!(pause_max(Repeat::Idempotent, trouble, 1).is_some());
            let unsure = matches!(trouble, Trouble::Silence | Trouble::ServerSide);
            assert_eq!(pause_max(Repeat::Unprocessed, trouble, 1).is_none(), unsure);
        }
    }

    #[test]
    fn pauses_double_and_end() {
        for trouble in TROUBLES {
            let pauses: Vec<_> = (1..=9)
                .map_while(|n| pause_max(Repeat::Idempotent, trouble, n))
                .collect();
            assert_eq!(pauses.len(), 5);
            assert!(
                pauses.windows(2).all(|pair| pair[1] == pair[0] * 2),
                "{pauses:?}"
            );
        }
    }

    #[test]
    fn statuses_have_their_trouble() {
        for (status, trouble) in [
            (200, None),
            (409, None),
            (429, Some(Trouble::TooMany)),
            (500, Some(Trouble::ServerSide)),
            (501, None),
            (504, Some(Trouble::ServerSide)),
        ] {
            assert_eq!(Trouble::of_status(status), trouble, "{status}");
        }
    }
}
