//! Ids as types, so that one cannot be handed in for another.

use std::{fmt, str::FromStr};
use uuid::Uuid;

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    kind: &'static str,
    why: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}: {}", self.kind, self.why)
    }
}

impl std::error::Error for IdError {}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Takes the hyphenated form only, in either case.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                const WRONG: IdError = IdError { kind: $kind, why: "a hyphenated UUID is needed" };
                if text.len() != 36 {
                    return Err(WRONG);
                }
                Uuid::try_parse(text).map(Self).or(Err(WRONG))
            }
        }
    };
}

uuid_id!(
    /// The thing sold.
    AgentId,
    "an agent id"
);
uuid_id!(
    /// One durable intention about an agent.
    JobId,
    "a job id"
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Opaque, 1 to 255 printable ASCII characters (Stripe: ids are at most 255 long).
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let fits = (1..=255).contains(&text.len());
                if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { kind: $kind, why: "1 to 255 visible ASCII characters needed" })
                }
            }
        }
    };
}

text_id!(
    /// What is paid: `sub_…`, or `cs_…` for a one-off payment.
    SubscriptionId,
    "a subscription id"
);
text_id!(
    /// Stripe's event id, `evt_…`.
    EventId,
    "an event id"
);

/// A counter per agent, one more for every attempt of any of its jobs. Counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Fence(pub i64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_are_hyphenated_uuids() {
        let text = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5";
        assert_eq!(text.parse::<AgentId>().unwrap().to_string(), text);
        assert_eq!(
            text.to_uppercase().parse::<AgentId>().unwrap().to_string(),
            text
        );
        for wrong in [
            "",
            "agent_1",
            &text.replace('-', ""),
            "{0192f0c1-2a3b-7c4d-8e5f-60718293a4}",
        ] {
            assert!(wrong.parse::<AgentId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_ids_hold_visible_ascii() {
        assert_eq!("sub_1".parse::<SubscriptionId>().unwrap().as_str(), "sub_1");
        for wrong in ["", "a b", "ä", &"x".repeat(256)] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
