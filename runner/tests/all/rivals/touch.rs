//! What a step reads and changes: two steps that do not touch the same come to the same state
//! in either order, so one order is enough.
//! It must not know attempts.

use bytes::Bytes;
use http::{Method, Request};
use sim::Waiting;

/// A set of things.
type Things = u8;

const SERVERS: Things = 1;
/// What runs inside the servers, which no call shows.
const MACHINES: Things = 1 << 1;
const DEVICES: Things = 1 << 2;
const KEYS: Things = 1 << 3;
const FIREWALLS: Things = 1 << 4;
const ADDRESSES: Things = 1 << 5;
/// The newest fence that claimed.
const CLAIMED: Things = 1 << 6;
/// The world's clock. It moves on only by what happens in the world by itself.
const CLOCK: Things = 1 << 7;

/// What a step reads and changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    reads: Things,
    changes: Things,
}

impl Touch {
    /// Of a call.
    pub(super) fn of(call: &Request<Bytes>) -> Self {
        let things = match call.uri().path() {
            "/callback" => return Self::both(CLAIMED),
            path if path.contains("/primary_ips") => ADDRESSES,
            path if path.contains("/firewalls") => FIREWALLS,
            path if path.contains("/keys") => KEYS,
            path if path.contains("/device") => DEVICES,
            _ => SERVERS,
        };
        if call.method() == Method::GET {
            return Self {
                reads: things,
                changes: 0,
            };
        }
        // What is made gets a time, and what is begun ends at one.
        let touch = Self::both(things);
        match things {
            SERVERS => Self {
                reads: touch.reads | CLOCK | FIREWALLS,
                changes: touch.changes | ADDRESSES,
            },
            _ => Self {
                reads: touch.reads | CLOCK,
                ..touch
            },
        }
    }

    /// Of something that happens by itself.
    pub(super) fn of_world(waiting: &Waiting) -> Self {
        let things = match waiting.what {
            "boot" => MACHINES | DEVICES | KEYS,
            _ => SERVERS | MACHINES | DEVICES | ADDRESSES,
        };
        Self::both(things | CLOCK)
    }

    const fn both(things: Things) -> Self {
        Self {
            reads: things,
            changes: things,
        }
    }

    /// Whether neither changes what the other touches.
    pub(super) const fn is_apart_from(self, other: Self) -> bool {
        let meets = self.changes & (other.reads | other.changes) | other.changes & self.reads;
        meets == 0
    }
}
