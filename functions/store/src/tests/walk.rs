//! One agent and whatever can happen to it, act by act, with the changes that the domain allows.

use super::world::{World, at};
use crate::{
    CommandOutcome, CommandRecord, DraftAgent, EventRecord, Expiry, InventoryRecord, OpenedAttempt,
    Refusal, SeenServer, Swept, TimelineEntry,
};
use domain::{
    AgentId, AgentState, AttemptState, Change, Command, Ending, ErrorClass, Facts, JobId, JobKind,
    News, Payment, PaymentMark, Permission, Timestamp, Wish, payment_of, permit,
};
use std::{collections::HashMap, str::FromStr};
use tokio_postgres::Client;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Act {
    Draft,
    News(News),
    Command(Command),
    Open,
    Claim,
    Refuse,
    Succeed,
    SucceedWithoutCredentials,
    /// A runner of the first version names no server.
    Unreported,
    Fail(ErrorClass),
    Expire,
    Abort,
    /// A server of it is seen.
    Found,
    /// Its machine is in none of two whole lists.
    Miss,
}

pub(super) struct Walk<'world> {
    world: &'world World,
    client: &'world Client,
    agent: AgentId,
    live: Option<OpenedAttempt>,
    claimed: bool,
    marks: Vec<PaymentMark>,
    told: Vec<EventRecord>,
    now: u64,
}

impl<'world> Walk<'world> {
    pub(super) fn new(world: &'world World, client: &'world Client) -> Self {
        Self {
            world,
            client,
            agent: AgentId(Uuid::from_u128(7_000_000)),
            live: None,
            claimed: false,
            marks: Vec::new(),
            told: Vec::new(),
            now: 0,
        }
    }

    /// The facts on the agent's row, its state and the job that is queued.
    pub(super) async fn row(&self) -> (Facts, AgentState, Option<JobKind>) {
        let columns = "SELECT payment, wish, existing, gave_up, live, config_pending, state,
            queued_kind FROM agents";
        let Some(row) = self.client.query_opt(columns, &[]).await.unwrap() else {
            return (Facts::NEW, AgentState::Draft, None);
        };
        let kind = |column: &str| JobKind::from_str(row.get(column)).ok();
        let facts = Facts {
            payment: row.get::<_, &str>("payment").parse().unwrap(),
            wish: row.get::<_, &str>("wish").parse().unwrap(),
            existing: row.get::<_, &str>("existing").parse().unwrap(),
            gave_up: kind("gave_up"),
            live: kind("live"),
            config_pending: row.get("config_pending"),
        };
        let state = row.get::<_, &str>("state").parse().unwrap();
        (facts, state, kind("queued_kind"))
    }

    /// Does it, and tells which changes it may have made; none when it cannot change anything.
    pub(super) async fn act(&mut self, act: Act) -> Vec<Change> {
        self.now += 2000;
        let now = at(self.now);
        match (act, self.live.clone()) {
            (Act::Draft, _) => {
                let draft = DraftAgent {
                    agent_id: self.agent,
                    name: "agent".to_owned(),
                    region: "us-east".to_owned(),
                    reference: None,
                };
                let fresh = JobId(self.world.id());
                let made = self.world.store.create_agent(&draft, None, fresh, now);
                made.await.unwrap();
                Vec::new()
            }
            (Act::News(news), _) => self.hear(news, now).await,
            (Act::Command(command), _) => self.command(command, now).await,
            (Act::Found, _) => self.find(now).await,
            (Act::Miss, _) => {
                self.miss().await;
                Vec::new()
            }
            (Act::Open, _) => {
                let opened = self
                    .world
                    .store
                    .open_due_attempts(now, 9, self.world.id())
                    .await;
                if let Some(attempt) = opened.unwrap().into_iter().next() {
                    self.live = Some(attempt);
                    self.claimed = false;
                }
                vec![Change::Opened]
            }
            (Act::Claim, Some(attempt)) => {
                let claim = self.world.report(&attempt, 1, crate::ReportSaid::Progress);
                self.world.accepted(&claim, now).await;
                self.claimed = true;
                Vec::new()
            }
            (_, Some(attempt)) => self.end(act, &attempt, now).await,
            (_, None) => Vec::new(),
        }
    }

    async fn hear(&mut self, news: News, now: Timestamp) -> Vec<Change> {
        let (before, ..) = self.row().await;
        if self.marks.is_empty() && before.wish == Wish::Delete {
            // What is paid for a draft that was deleted makes another agent.
            return Vec::new();
        }
        let event = format!("evt_{}", self.now);
        let about_a_dispute = matches!(news, News::Disputed | News::DisputeWon | News::DisputeLost);
        let record = EventRecord {
            created: i64::try_from(self.now).unwrap(),
            news: Some(news),
            dispute: about_a_dispute.then(|| "dp_1".to_owned()),
            ..self.world.payment(&event, "sub_1", self.agent)
        };
        self.marks.push(PaymentMark {
            created: record.created,
            event: record.event_id.clone(),
            news,
            dispute: record.dispute.clone(),
        });
        let heard = self.world.store.record_event(&record, now).await.unwrap();
        assert_eq!((heard.agent_id, heard.duplicate), (Some(self.agent), false));
        self.told.push(record);
        let payment = payment_of(false, &self.marks);
        let confirms = matches!(
            (payment, news),
            (Payment::Active, News::Active) | (Payment::Canceled, News::Canceled)
        );
        if payment == before.payment && confirms {
            return vec![Change::Confirmed];
        }
        vec![Change::Payment(payment)]
    }

    /// Tells every event again; answers how many there were.
    pub(super) async fn hear_all_again(&mut self) -> usize {
        self.now += 2000;
        for event in &self.told {
            let heard = self.world.store.record_event(event, at(self.now)).await;
            assert!(heard.unwrap().duplicate);
        }
        self.told.len()
    }

    async fn command(&self, command: Command, now: Timestamp) -> Vec<Change> {
        let (before, ..) = self.row().await;
        let status = self
            .world
            .store
            .agent_status(self.agent, now)
            .await
            .unwrap();
        let record = CommandRecord {
            agent_id: self.agent,
            command,
            by: "operator",
            key: None,
            fresh_job_id: JobId(self.world.id()),
        };
        let outcome = self.world.store.command_agent(&record, now).await.unwrap();
        let met = match outcome {
            CommandOutcome::Applied { .. } => Permission::Allowed,
            CommandOutcome::Unchanged { .. } => Permission::Done,
            CommandOutcome::Refused { why, running, .. } => {
                let works = before.live.or_else(|| domain::reconcile(before));
                assert_eq!(running, works, "{command} of {before:?}");
                why
            }
            CommandOutcome::NoSuchAgent => {
                assert!(status.is_none());
                return Vec::new();
            }
            CommandOutcome::KeyReused => panic!("no key was used"),
        };
        if command == Command::Retry && status.is_some_and(|status| status.may_remake()) {
            assert_eq!(met, Permission::Allowed, "of {before:?}");
            return vec![Change::Remade];
        }
        assert_eq!(met, permit(before, command), "{command} of {before:?}");
        if met == Permission::Allowed {
            vec![Change::Wish(command.wish(before.wish))]
        } else {
            Vec::new()
        }
    }

    async fn find(&self, now: Timestamp) -> Vec<Change> {
        let seen = [SeenServer {
            server_id: format!("found {}", self.now),
            agent_id: self.agent.to_string(),
            fence: "1".to_owned(),
        }];
        let inventory = InventoryRecord {
            job_id: JobId(self.world.id()),
            fence: domain::Fence(1),
            installation: "default",
            seen: &seen,
            fresh_job_ids: &[JobId(self.world.id())],
        };
        let swept = self.world.store.take_inventory(&inventory, now).await;
        let (after, ..) = self.row().await;
        let queued = !swept.unwrap().queued.is_empty();
        assert!(!queued || domain::reconcile(after) == Some(JobKind::Destroy));
        vec![Change::Found]
    }

    async fn miss(&self) {
        // Whichever run lists the whole project.
        let ask = "UPDATE attempts SET inventory_asked = true";
        self.client.batch_execute(ask).await.unwrap();
        let any = "SELECT job_id, fence FROM attempts LIMIT 1";
        let Some(by) = self.client.query_opt(any, &[]).await.unwrap() else {
            return;
        };
        let inventory = InventoryRecord {
            job_id: JobId(by.get("job_id")),
            fence: domain::Fence(by.get("fence")),
            installation: "default",
            seen: &[],
            fresh_job_ids: &[],
        };
        let [first, second] = [self.now - 300, self.now].map(at);
        let swept = self.world.store.take_inventory(&inventory, first).await;
        assert_eq!(swept.unwrap(), Swept::default(), "one list is no proof");
        let swept = self.world.store.take_inventory(&inventory, second).await;
        assert_eq!(swept.unwrap().queued, []);
    }

    /// Ends the live attempt.
    async fn end(&mut self, act: Act, attempt: &OpenedAttempt, now: Timestamp) -> Vec<Change> {
        let world = self.world;
        let failed = vec![
            Change::Ended(Ending::Failed),
            Change::GaveUp(Ending::Failed),
        ];
        let provision = attempt.kind == JobKind::Provision;
        let changes = match act {
            Act::Refuse => {
                let refusal = Refusal {
                    reason: "no",
                    not_before: now,
                    fresh_job_id: JobId(world.id()),
                };
                let (agent, fence) = (attempt.agent_id, attempt.fence);
                let refused = world.store.refuse_attempt(agent, fence, refusal, now);
                let waits = refused.await.unwrap();
                // Nothing waits either when the job is no longer wanted.
                if waits.is_none() && self.row().await.0.live.is_some() {
                    assert!(self.claimed, "an unclaimed attempt can be refused");
                    return Vec::new();
                }
                vec![Change::Ended(Ending::Refused)]
            }
            Act::Unreported if provision => {
                let mut done = world.success(attempt);
                done.facts = crate::MachineFacts::default();
                world.accepted(&done, now).await;
                vec![Change::GaveUp(Ending::Unreported)]
            }
            Act::Succeed | Act::SucceedWithoutCredentials | Act::Unreported => {
                let awaiting_credentials = act == Act::SucceedWithoutCredentials
                    && attempt.kind.may_end(Ending::AwaitingCredentials);
                let mut done = world.success(attempt);
                done.said = crate::ReportSaid::Succeeded {
                    awaiting_credentials,
                };
                done.facts.server_id = Some(self.now.to_string());
                world.accepted(&done, now).await;
                vec![Change::Ended(if awaiting_credentials {
                    Ending::AwaitingCredentials
                } else {
                    Ending::Ready
                })]
            }
            Act::Fail(class) => {
                world.accepted(&world.failure(attempt, class), now).await;
                failed
            }
            Act::Expire | Act::Abort => {
                if !self.expire(act == Act::Abort, now).await {
                    assert!(act == Act::Abort && self.claimed);
                    return Vec::new();
                }
                failed
            }
            other => panic!("{other:?} ends no attempt"),
        };
        self.live = None;
        changes
    }

    async fn expire(&self, abort: bool, now: Timestamp) -> bool {
        let overdue = self.world.store.overdue_attempts(now, 9).await.unwrap();
        let delays = domain::retry_delays(ErrorClass::Transient, || 1.0);
        let expiry = Expiry {
            abort,
            runs: &[],
            reason: "lost",
            retry_delays: &delays,
            fresh_job_id: JobId(self.world.id()),
        };
        let expired = self.world.store.expire_attempt(&overdue[0], expiry, now);
        expired.await.unwrap().is_some()
    }

    /// The whole timeline, read a page at a time.
    pub(super) async fn timeline(&self) -> Vec<TimelineEntry> {
        let mut all: Vec<TimelineEntry> = Vec::new();
        loop {
            let after = all.last().map_or(0, |entry| entry.id);
            let page = self.world.store.agent_events(self.agent, after, 7).await;
            match page.unwrap() {
                Some(page) if !page.is_empty() => all.extend(page),
                Some(_) | None => return all,
            }
        }
    }
}

/// Rebuilds facts and state from the timeline alone. Each change goes on from where the last of
/// its kind ended.
pub(super) fn replay(timeline: &[TimelineEntry]) -> (Facts, AgentState) {
    let mut facts = Facts::NEW;
    let mut state = AgentState::Draft;
    let mut kinds: HashMap<JobId, JobKind> = HashMap::new();
    let mut last: HashMap<String, String> = HashMap::new();
    for entry in timeline {
        let new = entry.new.as_str();
        let of = match entry.machine.as_str() {
            "job" => entry.job_id.unwrap().to_string(),
            "attempt" | "step" => format!("{} {}", entry.machine, entry.fence.unwrap().0),
            fact => fact.to_owned(),
        };
        let before = last.insert(of, entry.new.clone());
        assert_eq!(before.unwrap_or_default(), entry.old, "{entry:?}");
        let kind = || (new != "none").then(|| new.parse().unwrap());
        match entry.machine.as_str() {
            "payment" => facts.payment = new.parse().unwrap(),
            "wish" => facts.wish = new.parse().unwrap(),
            "existing" => facts.existing = new.parse().unwrap(),
            "gave_up" => facts.gave_up = kind(),
            "agent" => state = new.parse().unwrap(),
            "job" if entry.old.is_empty() => {
                let kind = entry.detail.as_ref().unwrap().parse().unwrap();
                kinds.insert(entry.job_id.unwrap(), kind);
            }
            "attempt" => {
                let live = new.parse::<AttemptState>().unwrap().is_live();
                facts.live = live.then(|| kinds[&entry.job_id.unwrap()]);
            }
            _ => {}
        }
    }
    (facts, state)
}
