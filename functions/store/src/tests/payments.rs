//! Payments: repeated, at once, in conflict, out of order.

use super::world::{World, at};
use crate::{EventRecord, Store};
use domain::{AgentId, EventId, News, PaymentMark, payment_of};
use futures_util::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[tokio::test]
async fn a_hundred_copies_at_once_make_one_agent_and_one_job() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    let config = crate::ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    };
    let copies = (0..100).map(|_| {
        let payment = world.payment("evt_1", "sub_1", agent);
        let store = Store::new(&config).unwrap();
        async move { store.record_event(&payment, at(0)).await.unwrap() }
    });
    let outcomes = join_all(copies).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| !outcome.duplicate).count(),
        1
    );
    let first = outcomes[0].queued_job_id;
    assert!(first.is_some());
    assert!(
        outcomes
            .iter()
            .all(|o| o.agent_id == Some(agent) && o.queued_job_id == first)
    );
    let counts = world
        .client()
        .await
        .query_one(
            "SELECT (SELECT count(*) FROM agents), (SELECT count(*) FROM jobs),
                    (SELECT count(*) FROM stripe_events)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        [0, 1, 2].map(|column| counts.get::<_, i64>(column)),
        [1, 1, 1]
    );
    world.check().await;
}

#[tokio::test]
async fn an_agent_of_another_subscription_is_not_touched() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    world.pay("evt_1", "sub_1", agent).await;
    let before = world
        .store
        .agent_status(agent, at(0))
        .await
        .unwrap()
        .unwrap();
    let second = world.payment("evt_2", "sub_2", agent);
    let other_agent = second.checkout.as_ref().unwrap().other_agent_id;
    for duplicate in [false, true] {
        let outcome = world.store.record_event(&second, at(5)).await.unwrap();
        assert_eq!(outcome.agent_id, Some(other_agent));
        assert_eq!(outcome.conflict, Some(agent));
        assert_eq!(outcome.duplicate, duplicate);
        assert!(outcome.queued_job_id.is_some());
    }
    let after = world
        .store
        .agent_status(agent, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(before.updated_at, after.updated_at);
    let other = world
        .store
        .agent_status(other_agent, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((other.conflict, after.conflict), (Some(agent), None));
    assert_eq!(before.job.unwrap().job_id, after.job.unwrap().job_id);
    world.check().await;
}

#[tokio::test]
async fn two_subscriptions_racing_for_one_agent_get_one_each() {
    for _ in 0..20 {
        let world = World::new().await;
        let agent = AgentId(world.id());
        let config = crate::ConnectConfig {
            url: world.url.clone().into(),
            ca_pem: None,
        };
        let race = (0..6).map(|number| {
            let payment = world.payment(&format!("evt_{number}"), &format!("sub_{number}"), agent);
            let store = Store::new(&config).unwrap();
            async move { store.record_event(&payment, at(0)).await.unwrap() }
        });
        let outcomes = join_all(race).await;
        let bound: std::collections::HashSet<_> = outcomes.iter().map(|o| o.agent_id).collect();
        assert_eq!(bound.len(), 6);
        assert_eq!(outcomes.iter().filter(|o| o.conflict.is_none()).count(), 1);
        world.check().await;
    }
}

#[tokio::test]
async fn a_payment_for_a_canceled_subscription_builds_nothing() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    let canceled = EventRecord {
        news: Some(News::Canceled),
        ..world.payment("evt_1", "sub_1", agent)
    };
    world.store.record_event(&canceled, at(0)).await.unwrap();
    let mut late = world.payment("evt_2", "sub_1", agent);
    late.created = 500;
    let outcome = world.store.record_event(&late, at(1)).await.unwrap();
    assert_eq!(outcome.queued_job_id, None);
    assert_eq!(world.state(agent).await, "deleted: none");
    world.check().await;
}

fn marks() -> impl Strategy<Value = Vec<PaymentMark>> {
    let mark = (0..4_i64, 0..8_usize, 0..3_u8, 0..2_u8);
    let mark = mark.prop_map(|(created, news, event, dispute)| {
        let news = News::ALL[news];
        let about = matches!(news, News::Disputed | News::DisputeWon | News::DisputeLost);
        PaymentMark {
            created,
            event: format!("evt_{event}_{created}_{news}_{dispute}")
                .parse::<EventId>()
                .unwrap(),
            news,
            dispute: about.then(|| format!("dp_{dispute}")),
        }
    });
    prop::collection::vec(mark, 1..7)
}

#[test]
fn events_in_any_order_leave_what_the_domain_says_is_paid() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = TestRunner::new(Config {
        cases: 150,
        ..Config::default()
    });
    let cases = (marks(), any::<bool>(), 0..7_usize);
    runner
        .run(&cases, |(marks, one_off, checkout_at)| {
            runtime.block_on(world.clear());
            let agent = AgentId(world.id());
            let subscription = if one_off { "cs_1" } else { "sub_1" };
            let checkout = EventRecord {
                news: None,
                ..world.payment("evt_checkout", subscription, agent)
            };
            let mut events: Vec<EventRecord> = marks
                .iter()
                .map(|mark| EventRecord {
                    dispute: mark.dispute.clone(),
                    ..world.news(mark.event.as_str(), subscription, mark.created, mark.news)
                })
                .collect();
            events.insert(checkout_at.min(events.len()), checkout);
            for event in events {
                runtime
                    .block_on(world.store.record_event(&event, at(0)))
                    .unwrap();
            }
            let status = runtime
                .block_on(world.store.agent_status(agent, at(0)))
                .unwrap()
                .unwrap();
            prop_assert_eq!(status.payment, payment_of(one_off, &marks));
            runtime.block_on(world.check());
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn what_code_before_marks_has_merged_counts_as_well() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    world.pay("evt_1", "sub_1", agent).await;
    // As it is left by code that knows no marks, while it still runs beside this.
    world
        .store
        .batch("DELETE FROM payment_marks")
        .await
        .unwrap();
    let late = world.news("evt_0", "sub_1", 50, News::None);
    world.store.record_event(&late, at(1)).await.unwrap();
    assert_eq!(
        world.state(agent).await,
        "provisioning: provision queued none"
    );
    world.check().await;
    // Even when nothing at all is left of what was paid, no machine is taken away.
    let forget = "DELETE FROM payment_marks; UPDATE subscriptions SET payment = 'none'";
    world.store.batch(forget).await.unwrap();
    let later = world.news("evt_2", "sub_1", 60, News::None);
    world.store.record_event(&later, at(2)).await.unwrap();
    assert_eq!(
        world.state(agent).await,
        "provisioning: provision queued none"
    );
}

#[tokio::test]
async fn only_a_new_cancel_has_what_was_left_removed_again() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    world.pay("evt_1", "sub_1", agent).await;
    let cancel = world.news("evt_2", "sub_1", 200, News::Canceled);
    let opened = world
        .store
        .open_due_attempts(at(1), 9, world.id())
        .await
        .unwrap();
    world.accepted(&world.success(&opened[0]), at(2)).await;
    world.store.record_event(&cancel, at(3)).await.unwrap();
    let opened = world
        .store
        .open_due_attempts(at(4), 9, world.id())
        .await
        .unwrap();
    let failed = world.failure(&opened[0], domain::ErrorClass::Permanent);
    world.accepted(&failed, at(5)).await;
    assert_eq!(
        world.state(agent).await,
        "delete_failed: destroy failed failed"
    );
    let late = world.news("evt_3", "sub_1", 150, News::PastDue);
    world.store.record_event(&late, at(6)).await.unwrap();
    assert_eq!(
        world.state(agent).await,
        "delete_failed: destroy failed failed"
    );
    let status = world
        .store
        .agent_status(agent, at(7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.reason.as_deref(), Some("it broke"));
    let again = world.news("evt_4", "sub_1", 210, News::Canceled);
    world.store.record_event(&again, at(8)).await.unwrap();
    assert_eq!(world.state(agent).await, "deleting: destroy queued none");
    world.check().await;
}
