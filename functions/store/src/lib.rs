//! All of PostgreSQL: the schema, every statement in a named file, and rows as domain types.
//! Each change of state is one statement and one round trip; time and fresh ids are handed in.
//! It must not know HTTP, AWS, Stripe, GitHub or the wire between runner and callback.

mod attempts;
mod connect;
mod error;
mod events;
mod migrate;
mod reports;
mod statement;
mod status;

#[cfg(test)]
mod tests;

pub use attempts::{ExpiredAttempt, Expiry, OpenedAttempt, OverdueAttempt, Refusal, Waiting};
pub use connect::{ConnectConfig, Store};
pub use error::StoreError;
pub use events::{EventOutcome, EventRecord, PaymentOutcome, PaymentRecord};
pub use migrate::migrate;
pub use reports::{
    AcceptedReport, AppliedReport, MachineFacts, ReportOutcome, ReportRecord, ReportSaid,
};
pub use status::{AgentStatus, AttemptStatus, InstanceStatus, JobStatus, Passed};
