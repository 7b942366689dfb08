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

    /// The run of another agent lists the whole project, and sees those alone that did so.
    async fn another_looks(&self, number: u64) {
        let now = self.later(number * 700);
        let id = |of: u64| uuid::Uuid::from_u128(u128::from(number * 10 + of));
        let agent_id = domain::AgentId(id(0));
        let mut paid = crate::world::payment();
        paid.event_id = format!("evt_{number}").parse().unwrap();
        paid.subscription_id = Some(format!("sub_{number}").parse().unwrap());
        paid.fresh_job_id = domain::JobId(id(1));
        let checkout = paid.checkout.as_mut().unwrap();
        checkout.session_id = format!("cs_{number}");
        checkout.agent_id = agent_id;
        self.store.record_event(&paid, now).await.unwrap();
        let opened = self.store.open_due_attempts(now, 1, id(2)).await.unwrap();
        let said = |seq, said| Report {
            job_id: opened[0].job_id.to_string(),
            sender: self.sender(&format!("4{number}"), 1),
            ..report(seq, said)
        };
        let (_, reply) = self.report(&said(1, Said::Provisioning)).await;
        assert_eq!(reply["inventory"], true);
        let mut done = said(2, Said::Running);
        done.facts = facts();
        done.facts.server_id = Some(format!("8{number}"));
        let seen = (2..=number).map(|other| {
            let agent = uuid::Uuid::from_u128(u128::from(other * 10));
            row(&format!("8{other}"), &agent.to_string())
        });
        done.inventory = Some(seen.collect());
        assert_eq!(self.report(&done).await.0, 200);
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
async fn a_machine_that_two_whole_lists_lack_is_kept_for_people() {
    let world = World::new().await;
    world.active(Vec::new()).await;
    let missing = || async { world.store.overview(NOW).await.unwrap().missing };
    assert_eq!(missing().await, [], "it was made just now");
    world.another_looks(2).await;
    assert_eq!(missing().await, [], "one list is no proof");
    world.another_looks(3).await;
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
