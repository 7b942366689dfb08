//! Pairs of writing statements in two connections, the second blocked on the first: what is
//! left must be what is left when the second simply comes later.

use super::{
    acts::{Act, Stage, act, reach},
    world::{World, at},
};
use crate::{ConnectConfig, OpenedAttempt, Store};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio_postgres::Client;

/// On a busy machine.
const DECIDED_MAX: Duration = Duration::from_mins(1);

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
        let decided = async { while !later.is_finished() && !self.is_blocked().await {} };
        let decided = tokio::time::timeout(DECIDED_MAX, decided).await;
        assert!(
            decided.is_ok(),
            "{second:?} neither ends nor waits for {first:?}"
        );
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
            'instances', (SELECT jsonb_agg(to_jsonb(i) ORDER BY agent_id, fence)
                       FROM instances i),
            'refs', (SELECT jsonb_agg(to_jsonb(r) ORDER BY ref) FROM payment_refs r),
            'marks', (SELECT jsonb_agg(to_jsonb(m) ORDER BY event_id) FROM payment_marks m),
            'checkouts', (SELECT jsonb_agg(to_jsonb(c) ORDER BY session_id) FROM checkouts c),
            'commands', (SELECT jsonb_agg(to_jsonb(c) ORDER BY key) FROM commands c),
            'run_cancels', (SELECT jsonb_agg(to_jsonb(r) ORDER BY run_id) FROM run_cancels r),
            'turns', (SELECT jsonb_agg(to_jsonb(t)) FROM inventory_turns t),
            'strays', (SELECT jsonb_agg(to_jsonb(s) ORDER BY server_id) FROM strays s))";
        self.watcher.query_one(tables, &[]).await.unwrap().get(0)
    }
}

/// The acts that can meet at a stage, each with each, and those that can follow an opening.
fn meeting(stage: Stage) -> Vec<(Act, Act)> {
    let acts = stage.acts();
    let each = acts
        .iter()
        .flat_map(|first| acts.iter().map(move |second| (*first, *second)));
    let after_opening = Stage::Intended
        .acts()
        .iter()
        .filter(|_| stage == Stage::Paid)
        .filter(|second| !acts.contains(second))
        .map(|second| (Act::Open, *second));
    each.chain(after_opening).collect()
}

async fn every_pair_at(stage: Stage) {
    let pair = Pair::new().await;
    let pairs = meeting(stage);
    let mut waited = 0;
    for (first, second) in &pairs {
        let (first, second) = (*first, *second);
        let Some(found) = pair.blocked(stage, first, second).await else {
            continue;
        };
        waited += 1;
        let expected = pair.one_after_the_other(stage, first, second).await;
        assert_eq!(found, expected, "{stage:?}: {first:?}, then {second:?}");
    }
    assert!(
        waited * 3 > pairs.len(),
        "{stage:?}: only {waited} of {} pairs met",
        pairs.len()
    );
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
async fn every_pair_on_a_stop() {
    every_pair_at(Stage::Stopping).await;
}

#[tokio::test]
async fn every_pair_on_an_agent_whose_machine_is_missing() {
    every_pair_at(Stage::Missing).await;
}

#[tokio::test]
async fn every_pair_on_a_clean_up() {
    every_pair_at(Stage::CleaningUp).await;
}

#[tokio::test]
async fn every_pair_on_an_agent_that_is_gone() {
    every_pair_at(Stage::Deleted).await;
}
