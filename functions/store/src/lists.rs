//! Reads what an operator looks at: lists of agents, an agent's timeline, the overview.

use crate::{
    Missing, Store, StoreError, Stray,
    row::{get, time, timestamp, word},
    statement::{self, Statement},
};
use domain::{
    AgentId, AgentState, Fence, JobId, JobKind, JobState, Payment, SubscriptionId, Timestamp, Wish,
};
use serde_json::Value;
use std::time::SystemTime;
use tokio_postgres::Row;

/// Which agents are listed.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those of this state.
    pub state: Option<AgentState>,
    /// Only those whose name, reference, id or subscription holds this text.
    pub text: Option<String>,
    /// Only those after this place.
    pub after: Option<PageMark>,
    /// At most so many.
    pub limit: i64,
}

/// A place in the list of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageMark {
    /// When the last agent seen was made.
    pub created_at: Timestamp,
    /// That agent.
    pub agent_id: AgentId,
}

/// An agent in a list.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// The agent.
    pub agent_id: AgentId,
    /// Its name for people.
    pub name: String,
    /// Where the customer wants the machine.
    pub region: String,
    /// The operator's or checkout's own word for it.
    pub reference: Option<String>,
    /// Its state.
    pub state: AgentState,
    /// Why it is so, when something went wrong.
    pub reason: Option<String>,
    /// What Stripe says about the money.
    pub payment: Payment,
    /// What the owner wishes.
    pub wish: Wish,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The job at work, or next.
    pub job: Option<(JobKind, JobState)>,
    /// When somebody looks at that job again.
    pub due: Option<Timestamp>,
}

/// Something that happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Place in the timeline.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What changed: agent, job, attempt, step; or a fact: payment, wish, existing, `gave_up`.
    pub machine: String,
    /// From; empty at a beginning.
    pub old: String,
    /// To.
    pub new: String,
    /// One line for people.
    pub detail: Option<String>,
    /// The job it is about.
    pub job_id: Option<JobId>,
    /// Fence of the attempt it is about.
    pub fence: Option<Fence>,
    /// Who or what moved it.
    pub cause: Option<String>,
}

/// A job whose due time is past.
#[derive(Debug, Clone)]
pub struct OverdueJob {
    /// The job.
    pub job_id: JobId,
    /// Its agent.
    pub agent_id: AgentId,
    /// What it is for.
    pub kind: JobKind,
    /// When somebody should have looked.
    pub due: Timestamp,
    /// Why it waits.
    pub reason: Option<String>,
}

/// Money that belongs to no agent.
#[derive(Debug, Clone)]
pub struct Unjoined {
    /// The subscription, or the id of charge, payment intent or invoice.
    pub what: String,
    /// What is said of it.
    pub says: String,
    /// Since when.
    pub since: Timestamp,
}

/// A checkout that named an agent of another live subscription.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// What was paid.
    pub subscription: SubscriptionId,
    /// The agent that was named.
    pub named: AgentId,
    /// The agent that was made instead.
    pub got: AgentId,
}

/// What an operator looks at first.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How many agents are in each state.
    pub by_state: Vec<(AgentState, i64)>,
    /// Jobs whose due time is past, oldest first.
    pub overdue: Vec<OverdueJob>,
    /// How many agents failed, by the class of their last failure.
    pub failures: Vec<(String, i64)>,
    /// Servers that belong to nobody, or are an agent's second.
    pub strays: Vec<Stray>,
    /// Machines that agents should have and that are not there, newest first.
    pub missing: Vec<Missing>,
    /// Money that belongs to no agent.
    pub unjoined: Vec<Unjoined>,
    /// Checkouts that named an agent of another subscription.
    pub conflicts: Vec<Conflict>,
    /// Something's due time is past: nudge dispatch.
    pub any_due: bool,
}

/// Longest list of an overview.
const LISTED: i64 = 20;

impl Store {
    /// A page of agents, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agents_page(&self, filter: &AgentFilter) -> Result<Vec<AgentRow>, StoreError> {
        let rows = self
            .query(
                &statement::AGENTS_PAGE,
                &[
                    &filter.state.map(AgentState::as_str),
                    &filter.text,
                    &filter.after.map(|mark| time(mark.created_at)),
                    &filter.after.map(|mark| mark.agent_id.0),
                    &filter.limit,
                ],
            )
            .await?;
        rows.iter().map(agent_row).collect()
    }

    /// An agent's timeline, oldest first, from after the place `after`; none when there is no
    /// such agent.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agent_events(
        &self,
        agent_id: AgentId,
        after: i64,
        limit: i64,
    ) -> Result<Option<Vec<TimelineEntry>>, StoreError> {
        let from = &statement::AGENT_EVENTS;
        let rows = self.query(from, &[&agent_id.0, &after, &limit]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let entries = rows.iter().filter_map(|row| entry(row).transpose());
        entries.collect::<Result<_, _>>().map(Some)
    }

    /// What an operator looks at first; lists hold at most 20.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn overview(&self, now: Timestamp) -> Result<Overview, StoreError> {
        let from = &statement::OVERVIEW;
        let row = self.query_one(from, &[&time(now), &LISTED]).await?;
        let list = |column| -> Result<List, StoreError> { List::of(from, &row, column) };
        Ok(Overview {
            by_state: list("by_state")?
                .map(|one| Ok((one.parsed("state")?, one.number("agents")?)))?,
            overdue: list("overdue")?.map(|one| {
                Ok(OverdueJob {
                    job_id: one.parsed("job_id")?,
                    agent_id: one.parsed("agent_id")?,
                    kind: one.parsed("kind")?,
                    due: one.time("due")?,
                    reason: one.maybe("reason"),
                })
            })?,
            failures: list("failures")?
                .map(|one| Ok((one.text("class")?, one.number("agents")?)))?,
            strays: list("strays")?.map(|one| {
                Ok(Stray {
                    server_id: one.text("server_id")?,
                    agent_id: one.text("agent_id")?,
                    why: one.text("why")?,
                    first_seen: one.time("first_seen")?,
                    last_seen: one.time("last_seen")?,
                })
            })?,
            missing: list("missing")?.map(|one| {
                Ok(Missing {
                    agent_id: one.parsed("agent_id")?,
                    server_id: one.text("server_id")?,
                    since: one.time("since")?,
                })
            })?,
            unjoined: list("unjoined")?.map(|one| {
                Ok(Unjoined {
                    what: one.text("what")?,
                    says: one.text("says")?,
                    since: one.time("since")?,
                })
            })?,
            conflicts: list("conflicts")?.map(|one| {
                Ok(Conflict {
                    subscription: one.parsed("subscription")?,
                    named: one.parsed("named")?,
                    got: one.parsed("got")?,
                })
            })?,
            any_due: get(from, &row, "any_due")?,
        })
    }
}

fn agent_row(row: &Row) -> Result<AgentRow, StoreError> {
    let from = &statement::AGENTS_PAGE;
    let kind: Option<&str> = get(from, row, "kind")?;
    let state: Option<&str> = get(from, row, "job_state")?;
    let job = kind
        .zip(state)
        .map(|(kind, state)| Ok::<_, StoreError>((word(from, kind)?, word(from, state)?)));
    Ok(AgentRow {
        agent_id: AgentId(get(from, row, "agent_id")?),
        name: get(from, row, "name")?,
        region: get(from, row, "region")?,
        reference: get(from, row, "reference")?,
        state: word(from, get(from, row, "state")?)?,
        reason: get(from, row, "reason")?,
        payment: word(from, get(from, row, "payment")?)?,
        wish: word(from, get(from, row, "wish")?)?,
        created_at: timestamp(get(from, row, "created_at")?),
        updated_at: timestamp(get(from, row, "updated_at")?),
        job: job.transpose()?,
        due: get::<Option<SystemTime>>(from, row, "due_at")?.map(timestamp),
    })
}

fn entry(row: &Row) -> Result<Option<TimelineEntry>, StoreError> {
    let from = &statement::AGENT_EVENTS;
    let Some(id) = get(from, row, "id")? else {
        return Ok(None);
    };
    Ok(Some(TimelineEntry {
        id,
        at: timestamp(get(from, row, "at")?),
        machine: get(from, row, "machine")?,
        old: get(from, row, "old")?,
        new: get(from, row, "new")?,
        detail: get(from, row, "detail")?,
        job_id: get::<Option<_>>(from, row, "job_id")?.map(JobId),
        fence: get::<Option<_>>(from, row, "fence")?.map(Fence),
        cause: get(from, row, "cause")?,
    }))
}

/// A column that holds a list of objects.
struct List {
    from: &'static Statement,
    column: &'static str,
    rows: Vec<Value>,
}

/// One object of such a list.
struct Item<'list> {
    list: &'list List,
    value: &'list Value,
}

impl List {
    fn of(from: &'static Statement, row: &Row, column: &'static str) -> Result<Self, StoreError> {
        let value: Value = get(from, row, column)?;
        match value {
            Value::Array(rows) => Ok(Self { from, column, rows }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => Err(StoreError::Row {
                statement: from.name,
                why: format!("{column} is no list"),
            }),
        }
    }

    fn map<T>(
        &self,
        read: impl Fn(&Item<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let items = self.rows.iter().map(|value| Item { list: self, value });
        items.map(|item| read(&item)).collect()
    }
}

impl Item<'_> {
    fn wrong(&self, field: &str) -> StoreError {
        StoreError::Row {
            statement: self.list.from.name,
            why: format!("{}.{field} is not what it should be", self.list.column),
        }
    }

    fn maybe(&self, field: &str) -> Option<String> {
        let text = self.value.get(field).and_then(Value::as_str);
        text.map(str::to_owned)
    }

    fn text(&self, field: &str) -> Result<String, StoreError> {
        self.maybe(field).ok_or_else(|| self.wrong(field))
    }

    fn number(&self, field: &str) -> Result<i64, StoreError> {
        let number = self.value.get(field).and_then(Value::as_i64);
        number.ok_or_else(|| self.wrong(field))
    }

    fn time(&self, field: &str) -> Result<Timestamp, StoreError> {
        self.number(field).map(Timestamp::from_micros)
    }

    fn parsed<T: std::str::FromStr>(&self, field: &str) -> Result<T, StoreError> {
        let text = self.text(field)?;
        text.parse().ok().ok_or_else(|| self.wrong(field))
    }
}
