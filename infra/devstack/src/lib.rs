//! The whole product on one machine: real functions behind a Runtime API, a queue, an HTTP
//! front, the real runner, and fakes of everything outside.
//!
//! Stands where AWS and GitHub's runner stand; knows the product only by its binaries, their
//! settings and its public paths.

mod ageing;
mod agent_view;
mod build;
mod clock;
mod customer;
mod entropy;
mod environment;
mod function;
#[cfg(test)]
mod function_tests;
mod gate;
mod gateway;
#[cfg(test)]
mod gateway_tests;
mod http_event;
mod logs;
mod mapping;
mod mischief;
mod nursery;
mod process;
mod purchase;
mod queue;
#[cfg(test)]
mod queue_tests;
mod runner_host;
mod runtime_api;
mod secrets;
mod sqs_server;
mod sqs_wire;
mod stack;
mod tap;
mod taps;

pub use ageing::Ageing;
pub use agent_view::{AgentView, PassedView};
pub use build::Binaries;
pub use clock::Clock;
pub use customer::{Customer, Order};
pub use function::{Function, FunctionConfig, InvokeError};
pub use mapping::MappingConfig;
pub use mischief::{Mischief, Mishaps};
pub use process::{Program, Signal, Value};
pub use purchase::{News, Payment};
pub use queue::{Queue, QueueConfig};
pub use runtime_api::FunctionError;
pub use secrets::Secrets;
pub use stack::{Functions, Stack, StackConfig};
pub use tap::{KillPoint, Side, Turn};
pub use taps::{Held, ProcessRecord, Taps};
