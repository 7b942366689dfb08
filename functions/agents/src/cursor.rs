//! The place in a list of agents where a page ended, as text that means nothing to others.
//! It must not know who lists them, or how.

use domain::{AgentId, Timestamp};
use std::{fmt, str::FromStr};
use store::{AgentRow, PageMark};
use uuid::Uuid;

/// 7 bytes of microseconds since the epoch and 16 of the agent's id, in hexadecimal. Any such
/// text is a place, and none lies beyond the times that PostgreSQL knows.
const TIME_DIGITS: usize = 14;
const DIGITS: usize = TIME_DIGITS + 32;

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor that a list gave out")]
pub(crate) struct NoCursor;

/// Where a page ended.
#[derive(Debug, Clone)]
pub(crate) struct Cursor(pub(crate) PageMark);

impl Cursor {
    /// A page ended with this agent.
    pub(crate) const fn at(last: &AgentRow) -> Self {
        Self(PageMark {
            created_at: last.created_at,
            agent_id: last.agent_id,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.created_at.micros().max(0);
        write!(f, "{micros:014x}{}", self.0.agent_id.0.simple())
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoCursor);
        }
        let (time, id) = text.split_at_checked(TIME_DIGITS).ok_or(NoCursor)?;
        let micros = i64::from_str_radix(time, 16).or(Err(NoCursor))?;
        let id = Uuid::try_parse(id).or(Err(NoCursor))?;
        Ok(Self(PageMark {
            created_at: Timestamp::from_micros(micros),
            agent_id: AgentId(id),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for (micros, id) in [
            (0, 0),
            (1_800_000_000_123_456, 7),
            ((1 << 56) - 1, u128::MAX),
        ] {
            let cursor = Cursor(PageMark {
                created_at: Timestamp::from_micros(micros),
                agent_id: AgentId(Uuid::from_u128(id)),
            });
            let text = cursor.to_string();
            assert_eq!(text.len(), DIGITS);
            let back: Cursor = text.parse().unwrap();
            assert_eq!(back.0.created_at, cursor.0.created_at);
            assert_eq!(back.0.agent_id, cursor.0.agent_id);
        }
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        let (long, plus) = (
            "0".repeat(DIGITS + 1),
            format!("+{}", "0".repeat(DIGITS - 1)),
        );
        let wide = "é".repeat(DIGITS / 2);
        for wrong in ["", "7", long.as_str(), plus.as_str(), wide.as_str()] {
            assert_eq!(wrong.parse::<Cursor>().err(), Some(NoCursor), "{wrong}");
        }
    }
}
