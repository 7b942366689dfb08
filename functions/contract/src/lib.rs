//! The words that runner and callback exchange: workflow inputs, report, reply, spec, and
//! how a report is signed. Both sides use this crate, so neither can drift alone.
//! It must not know HTTP, clocks, databases or any provider.

mod inputs;
mod reply;
mod report;
mod signature;
mod wire;

pub use inputs::{Inputs, Operation};
pub use reply::{ErrorBody, ErrorDetail, Reply, Spec};
pub use report::{
    ErrorClass, InventoryRow, Outcome, Report, RunPair, Said, Sender, ServerFacts, Step,
};
pub use signature::{MIN_SECRET_BYTES, Rejection, SIGNATURE_HEADER, Verifier, sign};

/// Largest report body that is read, in bytes.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;

/// How far `sent_at` may lie from the receiver's clock, in seconds, in either direction.
pub const FRESHNESS_SECONDS: i64 = 300;

/// How long a lease lasts after each acknowledged report, in seconds.
pub const LEASE_SECONDS: u32 = 180;

/// Most rows an inventory carries.
pub const INVENTORY_ROWS_MAX: usize = 300;
