//! The statements move an agent's facts exactly as the domain says, whatever happens to it.

use super::world::{World, at};
use crate::{Expiry, OpenedAttempt, Refusal};
use domain::{Change, Ending, ErrorClass, Facts, JobId, JobKind, Payment, Timestamp};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::str::FromStr;
use tokio_postgres::Client;

#[derive(Debug, Clone, Copy)]
enum Act {
    Pay(Payment),
    Open,
    Refuse,
    Succeed,
    Fail(ErrorClass),
    Expire,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        1 => (1..4_usize).prop_map(|payment| Act::Pay(Payment::ALL[payment])),
        4 => Just(Act::Open),
        1 => Just(Act::Refuse),
        2 => Just(Act::Succeed),
        3 => (0..3_usize).prop_map(|class| Act::Fail(ErrorClass::ALL[class])),
        1 => Just(Act::Expire),
    ];
    prop::collection::vec(act, 1..24)
}

struct Walk<'world> {
    world: &'world World,
    client: &'world Client,
    live: Option<OpenedAttempt>,
    now: u64,
}

impl Walk<'_> {
    async fn facts(&self) -> Facts {
        let columns = "SELECT payment, wish, existing, gave_up, live, config_pending FROM agents";
        let Some(row) = self.client.query_opt(columns, &[]).await.unwrap() else {
            return Facts::NEW;
        };
        let kind = |column: &str| JobKind::from_str(row.get(column)).ok();
        Facts {
            payment: row.get::<_, &str>("payment").parse().unwrap(),
            wish: row.get::<_, &str>("wish").parse().unwrap(),
            existing: row.get::<_, &str>("existing").parse().unwrap(),
            gave_up: kind("gave_up"),
            live: kind("live"),
            config_pending: row.get("config_pending"),
        }
    }

    /// Does it, and tells which changes it may have made.
    async fn act(&mut self, act: Act) -> Vec<Change> {
        self.now += 2000;
        let (world, now) = (self.world, at(self.now));
        match (act, self.live.clone()) {
            (Act::Pay(payment), _) => {
                let agent = domain::AgentId(uuid::Uuid::from_u128(7));
                let mut record = world.payment(&format!("evt_{}", self.now), "sub_1", agent);
                record.event.created = i64::try_from(self.now).unwrap();
                record.payment = payment;
                world.store.record_payment(&record, now).await.unwrap();
                vec![Change::Payment(payment)]
            }
            (Act::Open, _) => {
                let opened = world
                    .store
                    .open_due_attempts(now, 9, world.id())
                    .await
                    .unwrap();
                self.live = opened.into_iter().next().or(self.live.take());
                vec![Change::Opened]
            }
            (_, Some(attempt)) => {
                self.live = None;
                self.end(act, &attempt, now).await
            }
            (_, None) => Vec::new(),
        }
    }

    /// Ends the live attempt.
    async fn end(&self, act: Act, attempt: &OpenedAttempt, now: Timestamp) -> Vec<Change> {
        let world = self.world;
        match act {
            Act::Refuse => {
                let refusal = Refusal {
                    reason: "no",
                    not_before: now,
                    fresh_job_id: JobId(world.id()),
                };
                let (agent, fence) = (attempt.agent_id, attempt.fence);
                world
                    .store
                    .refuse_attempt(agent, fence, refusal, now)
                    .await
                    .unwrap();
                vec![Change::Ended(Ending::Refused)]
            }
            Act::Succeed => {
                let mut done = world.success(attempt);
                done.facts.server_id = Some(self.now.to_string());
                world.accepted(&done, now).await;
                vec![Change::Ended(Ending::Ready)]
            }
            Act::Fail(class) => {
                world.accepted(&world.failure(attempt, class), now).await;
                vec![
                    Change::Ended(Ending::Failed),
                    Change::GaveUp(Ending::Failed),
                ]
            }
            Act::Expire => {
                let overdue = world
                    .store
                    .overdue_attempts(now, 9)
                    .await
                    .unwrap()
                    .remove(0);
                let expiry = Expiry {
                    reason: "lost",
                    retry_delays: &domain::retry_delays(ErrorClass::Transient, || 1.0),
                    fresh_job_id: JobId(world.id()),
                };
                world
                    .store
                    .expire_attempt(&overdue, expiry, now)
                    .await
                    .unwrap()
                    .unwrap();
                vec![
                    Change::Ended(Ending::Failed),
                    Change::GaveUp(Ending::Failed),
                ]
            }
            Act::Pay(_) | Act::Open => Vec::new(),
        }
    }
}

#[test]
fn every_statement_moves_the_facts_as_the_domain_says() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    let client = runtime.block_on(world.client());
    let mut runner = TestRunner::new(Config {
        cases: 120,
        ..Config::default()
    });
    runner
        .run(&acts(), |acts| {
            runtime.block_on(async {
                world.clear().await;
                let mut walk = Walk {
                    world: &world,
                    client: &client,
                    live: None,
                    now: 0,
                };
                for act in acts {
                    let before = walk.facts().await;
                    let changes = walk.act(act).await;
                    let after = walk.facts().await;
                    let may: Vec<Facts> = changes
                        .iter()
                        .filter_map(|change| before.after(*change))
                        .chain(
                            changes
                                .iter()
                                .all(|c| before.after(*c).is_none())
                                .then_some(before),
                        )
                        .collect();
                    prop_assert!(may.contains(&after), "{act:?}: {before:?} became {after:?}");
                    world.check().await;
                }
                Ok(())
            })
        })
        .unwrap();
}
