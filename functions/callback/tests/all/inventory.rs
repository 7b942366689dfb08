//! What a run saw of the installation's servers: leftovers are removed, strays are only kept.

use crate::world::{AGENT, INSTALLATION, NOW, World, facts, report};
use contract::{InventoryRow, Report, Said};
use domain::{AgentState, JobKind, News, Timestamp};
use serde_json::Value;
use std::{sync::atomic::Ordering, time::Duration};
use store::EventRecord;

fn row(server: &str, agent: &str) -> InventoryRow {
    InventoryRow {
        server_id: server.to_owned(),
        agent_id: agent.to_owned(),
        fence: "1".to_owned(),
        created: "2027-01-15T08:00:00+00:00".to_owned(),
    }
}

impl World {
    /// Active, and at rest for long.
    async fn active(&self, seen: Vec<InventoryRow>) {
        self.report(&report(1, Said::Provisioning)).await;
        let done = Report {
            facts: facts(),
            inventory: Some(seen),
            ..report(2, Said::Running)
        };
        self.report(&done).await;
        assert_eq!(self.status().await.state, AgentState::Active);
    }

    async fn strays(&self) -> Vec<(String, String)> {
        let overview = self.store.overview(NOW).await.unwrap();
        let strays = overview.strays.into_iter();
        let mut strays: Vec<_> = strays.map(|stray| (stray.server_id, stray.why)).collect();
        strays.sort();
        strays
    }

    fn later(&self, seconds: u64) -> Timestamp {
        self.seconds.store(seconds, Ordering::Relaxed);
        NOW.plus(Duration::from_secs(seconds))
    }
}

#[tokio::test]
async fn servers_of_unknown_agents_are_kept_for_people_and_never_removed() {
    let world = World::new().await;
    let unknown = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5";
    let mine = AGENT.to_string();
    world
        .active(vec![
            row("7", &mine),
            row("8", unknown),
            row("9", "'; DROP TABLE agents"),
        ])
        .await;
    let strays = world.strays().await;
    let expected = ["8", "9"].map(|id| (id.to_owned(), "no agent of this id is known".to_owned()));
    assert_eq!(strays, expected);
    let jobs = world.queue.take();
    assert!(jobs.iter().all(|sent| sent.delay_seconds > 0), "{jobs:?}");
}

#[tokio::test]
async fn a_machine_that_a_whole_list_lacks_is_kept_for_people() {
    let world = World::new().await;
    world.active(Vec::new()).await;
    let missing = || async { world.store.overview(NOW).await.unwrap().missing };
    assert_eq!(missing().await, [], "it was made just now");
    let now = world.later(700);
    let mut paid = crate::world::payment();
    paid.event_id = "evt_2".parse().unwrap();
    paid.subscription_id = Some("sub_2".parse().unwrap());
    paid.fresh_job_id = domain::JobId(uuid::Uuid::from_u128(20));
    let checkout = paid.checkout.as_mut().unwrap();
    checkout.session_id = "cs_2".to_owned();
    checkout.agent_id = domain::AgentId(uuid::Uuid::from_u128(21));
    world.store.record_event(&paid, now).await.unwrap();
    let call = uuid::Uuid::from_u128(22);
    let opened = world.store.open_due_attempts(now, 1, call).await.unwrap();
    let said = |seq, said| Report {
        job_id: opened[0].job_id.to_string(),
        sender: world.sender("44", 1),
        ..report(seq, said)
    };
    let (_, reply) = world.report(&said(1, Said::Provisioning)).await;
    assert_eq!(reply["inventory"], true);
    let mut done = said(2, Said::Running);
    done.facts = facts();
    done.facts.server_id = Some("8".to_owned());
    done.inventory = Some(vec![row("8", &opened[0].agent_id.to_string())]);
    assert_eq!(world.report(&done).await.0, 200);
    let missing = missing().await;
    assert_eq!(missing.len(), 1);
    assert_eq!((missing[0].agent_id, &*missing[0].server_id), (AGENT, "7"));
    assert_eq!(world.status().await.state, AgentState::Active);
}

#[tokio::test]
async fn only_one_runner_in_ten_minutes_is_asked_for_everything() {
    let world = World::new().await;
    let claim = || async { world.report(&report(1, Said::Provisioning)).await.1 };
    let asked = |reply: &Value| reply.get("inventory") == Some(&Value::Bool(true));
    assert!(asked(&claim().await));
    world.later(60);
    assert!(asked(&claim().await), "the same pair gets the same reply");
}

#[tokio::test]
async fn what_is_left_of_an_agent_that_is_over_is_removed_by_a_job() {
    let world = World::new().await;
    world.active(Vec::new()).await;
    let cancel = EventRecord {
        event_id: "evt_2".parse().unwrap(),
        news: Some(News::Canceled),
        checkout: None,
        fresh_job_id: domain::JobId(uuid::Uuid::from_u128(4)),
        ..crate::world::payment()
    };
    world
        .store
        .record_event(&cancel, world.later(10))
        .await
        .unwrap();
    let opened = world
        .store
        .open_due_attempts(world.later(11), 1, uuid::Uuid::from_u128(9))
        .await
        .unwrap()
        .remove(0);
    assert_eq!(opened.kind, JobKind::Destroy);
    let mut destroyed = report(1, Said::Provisioning);
    destroyed.job_id = opened.job_id.to_string();
    destroyed.sender = crate::world::sender("43", 2);
    let (_, reply) = world.report(&destroyed).await;
    let told = ["agent_id", "operation", "installation"].map(|field| &reply["spec"][field]);
    assert_eq!(told, [&AGENT.to_string(), "destroy", INSTALLATION]);
    destroyed.said = Said::Running;
    destroyed.seq = 2;
    assert_eq!(world.report(&destroyed).await.0, 200);
    assert_eq!(world.status().await.state, AgentState::Deleted);
    world.queue.take();
    let swept = |now| {
        let seen = store::SeenServer {
            server_id: "7".to_owned(),
            agent_id: AGENT.to_string(),
            fence: "1".to_owned(),
        };
        let store = &world.store;
        async move {
            let record = store::InventoryRecord {
                job_id: opened.job_id,
                fence: opened.fence,
                installation: INSTALLATION,
                seen: &[seen],
                fresh_job_ids: &[domain::JobId(uuid::Uuid::from_u128(5))],
            };
            store.take_inventory(&record, now).await.unwrap()
        }
    };
    let at_once = swept(world.later(60)).await;
    assert_eq!(at_once.queued, [], "it may have been listed before it went");
    let later = swept(world.later(600)).await;
    assert_eq!(later.queued.len(), 1);
    assert_eq!(world.status().await.state, AgentState::Deleting);
    assert_eq!(world.strays().await, []);
}
