//! All of PostgreSQL: the schema, every statement in a named file, and rows as domain types.
//! Each change of state is one statement and one round trip; time and fresh ids are handed in.
//! It must not know HTTP, AWS, Stripe, GitHub or the wire between runner and callback.

mod attempts;
mod cancels;
mod commands;
mod connect;
mod error;
mod events;
mod inventory;
mod lists;
mod migrate;
mod reports;
mod row;
mod statement;
mod status;

#[cfg(test)]
mod tests;

pub use attempts::{ExpiredAttempt, Expiry, OpenedAttempt, OverdueAttempt, Refusal, Waiting};
pub use cancels::RunCancel;
pub use commands::{
    CommandKey, CommandOutcome, CommandRecord, CreateOutcome, DraftAgent, OPERATOR,
};
pub use connect::{ConnectConfig, Store};
pub use error::StoreError;
pub use events::{Checkout, CheckoutRecord, EventOutcome, EventRecord};
pub use inventory::{InventoryRecord, Missing, SeenServer, Stray, Swept};
pub use lists::{
    AgentFilter, AgentRow, Conflict, OverdueJob, Overview, PageMark, TimelineEntry, Unjoined,
};
pub use migrate::migrate;
pub use reports::{
    AcceptedReport, AppliedReport, MachineFacts, ReportOutcome, ReportRecord, ReportSaid,
};
pub use status::{
    AgentStatus, AttemptStatus, Expected, Failure, InstanceStatus, JobStatus, Passed,
};
