//! Every pair of writing statements in two connections, the second blocked on the first: what
//! is left must be what is left when the second simply comes later.

use super::world::{World, at};
use crate::{
    ConnectConfig, Expiry, OpenedAttempt, OverdueAttempt, Refusal, ReportRecord, ReportSaid, Store,
};
use domain::{AgentId, AttemptState, ErrorClass, JobId, Payment};
use serde_json::Value;
use std::sync::Arc;
use tokio_postgres::Client;

/// How far the agent is when the two statements meet.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Paid,
    Intended,
    Accepted,
    Claimed,
    Doomed,
    /// A clean-up after a provision that gave up, claimed.
    CleaningUp,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    PayAgain,
    PayOtherSubscription,
    Cancel,
    Open,
    Accept,
    Refuse,
    Claim,
    ClaimByOtherRun,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    DispatchAgain,
    Wait,
    Remember,
    RecordEvent,
}

const ACTS: [Act; 17] = [
    Act::PayAgain,
    Act::PayOtherSubscription,
    Act::Cancel,
    Act::Open,
    Act::Accept,
    Act::Refuse,
    Act::Claim,
    Act::ClaimByOtherRun,
    Act::Step,
    Act::Succeed,
    Act::FailTransient,
    Act::FailPermanent,
    Act::Expire,
    Act::DispatchAgain,
    Act::Wait,
    Act::Remember,
    Act::RecordEvent,
];

struct Pair {
    world: Arc<World>,
    other: Arc<Store>,
    watcher: Client,
    other_pid: i32,
}

impl Pair {
    async fn new() -> Self {
        let world = Arc::new(World::new().await);
        let config = ConnectConfig {
            url: world.url.clone().into(),
            ca_pem: None,
        };
        let other = Arc::new(Store::new(&config).unwrap());
        other
            .batch("SET application_name = 'the other'")
            .await
            .unwrap();
        let watcher = world.client().await;
        let find = "SELECT pid FROM pg_stat_activity
            WHERE application_name = 'the other' AND datname = current_database()";
        let other_pid = watcher.query_one(find, &[]).await.unwrap().get(0);
        Self {
            world,
            other,
            watcher,
            other_pid,
        }
    }

    /// What is left when the second simply comes later.
    async fn one_after_the_other(&self, stage: Stage, first: Act, second: Act) -> Value {
        self.world.clear().await;
        let attempt = reach(&self.world, stage).await;
        act(&self.world, &self.world.store, first, &attempt).await;
        act(&self.world, &self.other, second, &attempt).await;
        self.snapshot().await
    }

    /// What is left when the second waited for the first; none when it had no need to wait.
    async fn blocked(&self, stage: Stage, first: Act, second: Act) -> Option<Value> {
        self.world.clear().await;
        let attempt = reach(&self.world, stage).await;
        self.world.store.batch("BEGIN").await.unwrap();
        act(&self.world, &self.world.store, first, &attempt).await;
        let later = {
            let (world, other, attempt) = (
                Arc::clone(&self.world),
                Arc::clone(&self.other),
                attempt.clone(),
            );
            tokio::spawn(async move { act(&world, &other, second, &attempt).await })
        };
        while !later.is_finished() && !self.is_blocked().await {}
        let waited = !later.is_finished();
        self.world.store.batch("COMMIT").await.unwrap();
        later.await.unwrap();
        let left = self.snapshot().await;
        if second == Act::Open && !waited {
            self.somebody_looks_again(&attempt).await;
        }
        waited.then_some(left)
    }

    /// A dispatcher leaves alone what another statement works on. Then the job is open no more,
    /// or an attempt works on it, or its nudge is sent again.
    async fn somebody_looks_again(&self, attempt: &OpenedAttempt) {
        let nudged = [attempt.job_id];
        let again = self
            .world
            .store
            .jobs_without_timer(&nudged, at(3000), 9)
            .await
            .unwrap();
        let ask = "SELECT live = 'none' AND queued_job_id = $2 FROM agents WHERE agent_id = $1";
        let row = self
            .watcher
            .query_one(ask, &[&attempt.agent_id.0, &attempt.job_id.0])
            .await
            .unwrap();
        let waits: Option<bool> = row.get(0);
        assert!(
            waits != Some(true) || !again.is_empty(),
            "nobody looks at {nudged:?} again"
        );
    }

    async fn is_blocked(&self) -> bool {
        let ask = "SELECT cardinality(pg_blocking_pids($1)) > 0";
        self.watcher
            .query_one(ask, &[&self.other_pid])
            .await
            .unwrap()
            .get(0)
    }

    async fn snapshot(&self) -> Value {
        self.world.check().await;
        let tables = "SELECT jsonb_build_object(
            'agents', (SELECT jsonb_agg(to_jsonb(a) - 'fresh_job_id' ORDER BY agent_id)
                       FROM agents a),
            'subscriptions', (SELECT jsonb_agg(to_jsonb(s) ORDER BY subscription_id)
                       FROM subscriptions s),
            'events', (SELECT jsonb_agg(to_jsonb(e) ORDER BY event_id) FROM stripe_events e),
            'jobs', (SELECT jsonb_agg(to_jsonb(j) ORDER BY job_id) FROM jobs j),
            'attempts', (SELECT jsonb_agg(to_jsonb(t) ORDER BY agent_id, fence) FROM attempts t),
            'instances', (SELECT jsonb_agg(to_jsonb(i) ORDER BY agent_id) FROM instances i))";
        self.watcher.query_one(tables, &[]).await.unwrap().get(0)
    }
}

async fn reach(world: &World, stage: Stage) -> OpenedAttempt {
    let agent = AgentId(world.id());
    let paid = world.pay("evt_1", "sub_1", agent).await;
    if matches!(stage, Stage::Paid) {
        return OpenedAttempt {
            job_id: paid.queued_job_id.unwrap(),
            agent_id: agent,
            fence: domain::Fence(1),
            number: 1,
            kind: domain::JobKind::Provision,
            region: "us-east".to_owned(),
            due: at(301),
        };
    }
    let attempt = world
        .store
        .open_due_attempts(at(1), 10, world.id())
        .await
        .unwrap()
        .remove(0);
    if matches!(stage, Stage::Accepted | Stage::Claimed | Stage::Doomed) {
        act(world, &world.store, Act::Accept, &attempt).await;
    }
    if matches!(stage, Stage::Claimed | Stage::Doomed) {
        act(world, &world.store, Act::Claim, &attempt).await;
    }
    if matches!(stage, Stage::Doomed) {
        act(world, &world.store, Act::Cancel, &attempt).await;
    }
    if matches!(stage, Stage::CleaningUp) {
        act(world, &world.store, Act::FailPermanent, &attempt).await;
        let opened = world
            .store
            .open_due_attempts(at(6), 10, world.id())
            .await
            .unwrap();
        let clean_up = opened.into_iter().next().unwrap();
        act(world, &world.store, Act::Claim, &clean_up).await;
        return clean_up;
    }
    attempt
}

async fn act(world: &World, store: &Store, act: Act, attempt: &OpenedAttempt) {
    match act {
        Act::PayAgain | Act::PayOtherSubscription | Act::Cancel => {
            pay(world, store, act, attempt).await;
        }
        Act::Claim
        | Act::ClaimByOtherRun
        | Act::Step
        | Act::Succeed
        | Act::FailTransient
        | Act::FailPermanent => report(world, store, act, attempt).await,
        Act::Open => drop(
            store
                .open_due_attempts(at(4), 10, world.id())
                .await
                .unwrap(),
        ),
        Act::Accept => store
            .accept_attempt(attempt.agent_id, attempt.fence, Some(7001), at(4))
            .await
            .unwrap(),
        Act::Refuse => {
            let refusal = Refusal {
                reason: "GITHUB_TOKEN was refused",
                not_before: at(4),
                fresh_job_id: JobId(world.id()),
            };
            store
                .refuse_attempt(attempt.agent_id, attempt.fence, refusal, at(4))
                .await
                .unwrap();
        }
        Act::Expire => {
            let expiry = Expiry {
                reason: "no report came",
                retry_delays: &domain::retry_delays(ErrorClass::Transient, || 1.0),
                fresh_job_id: JobId(world.id()),
            };
            store
                .expire_attempt(&overdue(attempt), expiry, at(2000))
                .await
                .unwrap();
        }
        Act::DispatchAgain => {
            store
                .postpone_attempt(&overdue(attempt), true, at(901), at(301))
                .await
                .unwrap();
        }
        Act::Wait => {
            store
                .postpone_attempt(&overdue(attempt), false, at(601), at(301))
                .await
                .unwrap();
        }
        Act::Remember => store.remember_timer(attempt.job_id, at(400)).await.unwrap(),
        Act::RecordEvent => {
            let event = world.payment("evt_1", "sub_1", attempt.agent_id).event;
            store.record_event(&event, at(3)).await.unwrap();
        }
    }
}

async fn pay(world: &World, store: &Store, act: Act, attempt: &OpenedAttempt) {
    let (event, subscription) = match act {
        Act::PayOtherSubscription => ("evt_2", "sub_2"),
        Act::Cancel => ("evt_3", "sub_1"),
        _ => ("evt_1", "sub_1"),
    };
    let mut payment = world.payment(event, subscription, attempt.agent_id);
    if act == Act::Cancel {
        payment.payment = Payment::Canceled;
    }
    store.record_payment(&payment, at(3)).await.unwrap();
}

async fn report(world: &World, store: &Store, act: Act, attempt: &OpenedAttempt) {
    let claim = world.report(attempt, 1, ReportSaid::Progress);
    let report = match act {
        Act::ClaimByOtherRun => ReportRecord {
            workflow_run_id: "7002".to_owned(),
            ..claim
        },
        Act::Step => ReportRecord {
            seq: 2,
            step: Some("vm_created".to_owned()),
            ..claim
        },
        Act::Succeed => world.success(attempt),
        Act::FailTransient => world.failure(attempt, ErrorClass::Transient),
        Act::FailPermanent => world.failure(attempt, ErrorClass::Permanent),
        _ => claim,
    };
    store.apply_report(&report, at(5)).await.unwrap();
}

fn overdue(attempt: &OpenedAttempt) -> OverdueAttempt {
    OverdueAttempt {
        job_id: attempt.job_id,
        kind: attempt.kind,
        agent_id: attempt.agent_id,
        region: attempt.region.clone(),
        fence: attempt.fence,
        state: AttemptState::Intended,
        opened_at: at(1),
        run_id: None,
        dispatched_again: false,
    }
}

async fn every_pair_at(stage: Stage) {
    let pair = Pair::new().await;
    let mut waited = 0;
    for first in ACTS {
        for second in ACTS {
            let Some(found) = pair.blocked(stage, first, second).await else {
                continue;
            };
            waited += 1;
            let expected = pair.one_after_the_other(stage, first, second).await;
            assert_eq!(found, expected, "{stage:?}: {first:?}, then {second:?}");
        }
    }
    assert!(waited > 40, "{stage:?}: only {waited} of the pairs met");
}

#[tokio::test]
async fn every_pair_on_a_paid_agent() {
    every_pair_at(Stage::Paid).await;
}

#[tokio::test]
async fn every_pair_on_an_intended_attempt() {
    every_pair_at(Stage::Intended).await;
}

#[tokio::test]
async fn every_pair_on_an_accepted_attempt() {
    every_pair_at(Stage::Accepted).await;
}

#[tokio::test]
async fn every_pair_on_a_claimed_attempt() {
    every_pair_at(Stage::Claimed).await;
}

#[tokio::test]
async fn every_pair_on_a_claimed_attempt_whose_agent_is_not_wanted_any_more() {
    every_pair_at(Stage::Doomed).await;
}

#[tokio::test]
async fn every_pair_on_a_clean_up() {
    every_pair_at(Stage::CleaningUp).await;
}
