//! Checkouts whose money comes late or never.

use crate::{
    story::{SHAPES, Story},
    world::{NOW, World},
};
use domain::{AgentId, AgentState, JobId, JobKind, Payment};
use serde_json::Value;
use sim::stripe::{
    CheckoutSession, EventHead, PaymentStatus, events::checkout_session_setup_completed,
};
use store::{CreateOutcome, DraftAgent};

const DRAFT: (AgentState, Payment, Option<JobKind>) = (AgentState::Draft, Payment::None, None);

async fn reason(world: &World, story: Story) -> Option<String> {
    world.status(&story.agent()).await.unwrap().reason
}

#[tokio::test]
async fn a_delayed_payment_is_awaited_and_then_builds() {
    for story in SHAPES.map(|shape| Story::one_off(1, shape)) {
        let world = World::new().await;
        world.hear(&[story.unpaid_checkout(1)]).await;
        assert_eq!(world.stand(&story.agent()).await, DRAFT);
        let told = reason(&world, story).await.unwrap();
        assert!(told.contains("on its way"), "{told}");
        assert_eq!(world.queue.take(), []);
        world.hear(&[story.delayed(2, true)]).await;
        let (state, payment, job) = world.stand(&story.agent()).await;
        assert_eq!(
            (state, payment),
            (AgentState::Provisioning, Payment::Active)
        );
        assert_eq!(job, Some(JobKind::Provision));
        assert_eq!(reason(&world, story).await, None);
        assert_eq!(world.queue.take().len(), 1);
    }
}

#[tokio::test]
async fn a_delayed_payment_that_fails_says_so_and_ends_a_one_off() {
    for shape in SHAPES {
        let ends = (AgentState::Deleted, Payment::Canceled, None);
        for (story, stand) in [
            (Story::one_off(1, shape), ends),
            (Story::subscribed(1, shape), DRAFT),
        ] {
            let (unpaid, failed) = (story.unpaid_checkout(1), story.delayed(2, false));
            for order in [[&unpaid, &failed], [&failed, &unpaid]] {
                let world = World::new().await;
                world.hear(order).await;
                assert_eq!(world.stand(&story.agent()).await, stand);
                assert_eq!(world.queue.take(), []);
            }
            let world = World::new().await;
            world.hear([&unpaid, &failed]).await;
            if stand == DRAFT {
                let told = reason(&world, story).await.unwrap();
                assert!(told.contains("failed"), "{told}");
            }
        }
    }
}

async fn draft(world: &World, story: Story) {
    let agent_id: AgentId = story.agent().parse().unwrap();
    let draft = DraftAgent {
        agent_id,
        name: "Ada's agent".to_owned(),
        region: "eu-west".to_owned(),
        reference: None,
    };
    let job = JobId(agent_id.0);
    let made = world
        .store
        .create_agent(&draft, None, job, NOW)
        .await
        .unwrap();
    assert_eq!(made, CreateOutcome::Created(agent_id));
}

#[tokio::test]
async fn an_expired_checkout_says_so_on_its_draft_and_binds_nothing() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let world = World::new().await;
        let expired = story.expired(5);
        world.hear([&expired]).await;
        assert!(world.status(&story.agent()).await.is_none());
        draft(&world, story).await;
        world.hear([&story.expired(6)]).await;
        assert_eq!(world.stand(&story.agent()).await, DRAFT);
        let told = reason(&world, story).await.unwrap();
        assert!(told.contains("expired"), "{told}");
        assert!(
            world
                .store
                .checkout(&story.id("cs"), NOW)
                .await
                .unwrap()
                .0
                .is_none()
        );
        // A second checkout of the same agent is paid; the first expires again, late.
        world
            .hear([&story.checkout(7), &expired, &story.expired(8)])
            .await;
        assert_eq!(
            world.stand(&story.agent()).await.0,
            AgentState::Provisioning
        );
        assert_eq!(reason(&world, story).await, None);
        let checkout = world.store.checkout(&story.id("cs"), NOW).await.unwrap().0;
        assert_eq!(checkout.unwrap().agent_id.to_string(), story.agent());
    }
}

#[tokio::test]
async fn saving_a_card_buys_nothing() {
    for story in SHAPES.map(|shape| Story::one_off(1, shape)) {
        let world = World::new().await;
        let session = CheckoutSession {
            client_reference_id: Some(story.agent()),
            payment_status: PaymentStatus::NoPaymentRequired,
            ..CheckoutSession::payment("cs_1", "pi_1", 1)
        };
        let saved = checkout_session_setup_completed(&EventHead::new("evt_1", 1), &session);
        world.hear([&saved]).await;
        assert!(world.status(&story.agent()).await.is_none());
    }
}

#[tokio::test]
async fn what_was_heard_before_the_checkout_counts_as_soon_as_it_binds() {
    for story in SHAPES.map(|shape| Story::subscribed(1, shape)) {
        let early = [
            story.subscription(0, "created", "incomplete"),
            story.invoice(1, "paid", "subscription_create"),
        ];
        for (last, payment) in [
            ("past_due", Payment::PastDue),
            ("canceled", Payment::Canceled),
        ] {
            let world = World::new().await;
            let early = early.iter().chain([]);
            let told: Value = story.subscription(10, "updated", last);
            world.hear(early).await;
            world.hear([&told]).await;
            assert!(world.status(&story.agent()).await.is_none());
            world.hear([&story.checkout(1)]).await;
            let (state, paid, job) = world.stand(&story.agent()).await;
            let state_then = if payment == Payment::Canceled {
                AgentState::Deleted
            } else {
                AgentState::Suspended
            };
            assert_eq!((state, paid, job), (state_then, payment, None), "{last}");
            assert_eq!(world.queue.take(), []);
        }
    }
}
