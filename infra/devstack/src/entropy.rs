//! The one place of devstack that draws random numbers: ids of messages and invocations, and
//! the secrets of a stack.

use rand::RngExt as _;
use uuid::{Builder, Uuid};

/// A random UUID (version 4).
pub(crate) fn uuid() -> Uuid {
    Builder::from_random_bytes(rand::rng().random()).into_uuid()
}

/// 256 random bits in lower-case hex.
pub(crate) fn secret() -> String {
    hex::encode(rand::rng().random::<[u8; 32]>())
}
