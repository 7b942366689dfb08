//! Pure decisions about agents: what is wanted, which job comes next, which change of state
//! is legal, when to try again and when something is overdue.
//! It must not know async, clocks, SQL, HTTP or the environment: everything is an argument.

mod words;

mod command;
mod deadlines;
mod facts;
mod ids;
mod payment;
mod reconcile;
mod retry;
mod states;
mod timestamp;

pub use command::{Command, Permission, may_remake, permit};
pub use deadlines::{
    DOOM_PATIENCE, INSPECT_AFTER, LEASE, Overdue, START_LIMIT, Sight, TIMER_SLACK, WORK_LIMIT,
    Watched, inspect,
};
pub use facts::{Change, Ending, Existing, Facts, Wanted, Wish, effect, wanted};
pub use ids::{AgentId, EventId, Fence, IdError, JobId, SubscriptionId};
pub use payment::{News, Payment, PaymentMark, payment_of};
pub use reconcile::{agent_state, decisions, reconcile};
pub use retry::{ATTEMPTS_MAX, ErrorClass, refusal_delays, retry_delays};
pub use states::{AgentState, AttemptState, JobKind, JobState, Machine};
pub use timestamp::Timestamp;
pub use words::UnknownWord;
