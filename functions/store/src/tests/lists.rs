//! What people look at: pages of agents, timelines, the overview, and what past runs took.

use super::world::{World, at};
use crate::{
    AgentFilter, EventRecord, Expected, OpenedAttempt, PageMark, ReportRecord, ReportSaid,
};
use domain::{AgentId, AgentState, ErrorClass, JobId, News};
use std::time::Duration;

async fn named(world: &World, names: &[&str]) -> Vec<AgentId> {
    let mut agents = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let draft = crate::DraftAgent {
            agent_id: AgentId(world.id()),
            name: (*name).to_owned(),
            region: "us-east".to_owned(),
            reference: Some(format!("Order {place}")),
        };
        // Two at a time are made in one moment.
        let now = at(u64::try_from(place / 2).unwrap());
        let made = world
            .store
            .create_agent(&draft, None, JobId(world.id()), now);
        made.await.unwrap();
        agents.push(draft.agent_id);
    }
    agents
}

async fn found(world: &World, text: &str) -> Vec<String> {
    let filter = AgentFilter {
        text: Some(text.to_owned()),
        limit: 50,
        ..AgentFilter::default()
    };
    let rows = world.store.agents_page(&filter).await.unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

#[tokio::test]
async fn pages_show_every_agent_once_newest_first() {
    let world = World::new().await;
    let agents = named(&world, &["a"; 11]).await;
    for limit in [1, 2, 3, 11, 50] {
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let filter = AgentFilter {
                after,
                limit,
                ..AgentFilter::default()
            };
            let page = world.store.agents_page(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(PageMark {
                created_at: last.created_at,
                agent_id: last.agent_id,
            });
            seen.extend(page.iter().map(|row| row.agent_id));
        }
        let newest_first: Vec<AgentId> = agents.iter().rev().copied().collect();
        assert_eq!(seen, newest_first, "{limit} at a time");
    }
}

#[tokio::test]
async fn a_search_takes_any_text_as_it_is() {
    let world = World::new().await;
    let names = [
        "100% sure",
        "Zoë's \"bot\"",
        "under_score",
        "back\\slash",
        "日本 🤖",
        "plain",
    ];
    let agents = named(&world, &names).await;
    for (text, hits) in [
        ("%", vec!["100% sure"]),
        ("_", vec!["under_score"]),
        ("\\", vec!["back\\slash"]),
        ("'", vec!["Zoë's \"bot\""]),
        ("ZOë", vec!["Zoë's \"bot\""]),
        ("🤖", vec!["日本 🤖"]),
        ("PLAIN", vec!["plain"]),
        ("order 3", vec!["back\\slash"]),
        ("'; DROP TABLE agents; --", vec![]),
        (".*", vec![]),
    ] {
        assert_eq!(found(&world, text).await, hits, "{text}");
    }
    assert_eq!(found(&world, &agents[4].to_string()).await, ["日本 🤖"]);
    assert_eq!(found(&world, "").await.len(), names.len());
    world.pay("evt_1", "sub_Abc", agents[5]).await;
    assert_eq!(found(&world, "sub_Ab").await, ["plain"]);
    let paid = AgentFilter {
        state: Some(AgentState::Provisioning),
        limit: 50,
        ..AgentFilter::default()
    };
    let rows = world.store.agents_page(&paid).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|row| (row.agent_id, row.due)).collect();
    assert_eq!(shown, [(agents[5], Some(at(0)))]);
}

#[tokio::test]
async fn a_timeline_is_read_in_pages_and_tells_who_did_it() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let agent = attempt.agent_id;
    world
        .accepted(&world.report(&attempt, 1, ReportSaid::Progress), at(5))
        .await;
    world.accepted(&world.success(&attempt), at(9)).await;
    let whole = world
        .store
        .agent_events(agent, 0, 100)
        .await
        .unwrap()
        .unwrap();
    let mut paged = Vec::new();
    while let Some(page) = world
        .store
        .agent_events(
            agent,
            paged.last().map_or(0, |e: &crate::TimelineEntry| e.id),
            3,
        )
        .await
        .unwrap()
        .filter(|page| !page.is_empty())
    {
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    let cause = |machine: &str, new: &str| {
        let entry = whole.iter().find(|e| e.machine == machine && e.new == new);
        entry.unwrap().cause.clone().unwrap()
    };
    assert_eq!(cause("payment", "active"), format!("stripe evt_{agent}"));
    assert_eq!(cause("attempt", "intended"), "dispatch");
    assert_eq!(cause("attempt", "claimed"), "runner 7001/1");
    assert_eq!(cause("agent", "active"), "runner 7001/1");
    let fences: Vec<_> = whole.iter().filter(|e| e.machine == "attempt").collect();
    assert!(
        fences
            .iter()
            .all(|entry| entry.fence == Some(attempt.fence))
    );
    let nobody = world
        .store
        .agent_events(AgentId(world.id()), 0, 9)
        .await
        .unwrap();
    assert_eq!(nobody, None);
}

/// Provisions an agent: opened at `now`, claimed and done so many seconds later.
async fn took(world: &World, number: u64, claimed: u64, step: u64, done: u64) {
    let now = 1000 * (number + 1);
    let agent = AgentId(world.id());
    let paid = world.payment(&format!("evt_{number}"), &format!("sub_{number}"), agent);
    world.store.record_event(&paid, at(now)).await.unwrap();
    let attempt = open(world, now).await;
    world
        .accepted(
            &world.report(&attempt, 1, ReportSaid::Progress),
            at(now + claimed),
        )
        .await;
    for (seq, seconds) in [(2, step), (3, step + 1)] {
        let made = ReportRecord {
            step: Some("vm_created".to_owned()),
            ..world.report(&attempt, seq, ReportSaid::Progress)
        };
        world.accepted(&made, at(now + seconds)).await;
    }
    let mut success = world.success(&attempt);
    success.facts.server_id = Some(number.to_string());
    world.accepted(&success, at(now + done)).await;
}

async fn open(world: &World, now: u64) -> OpenedAttempt {
    let opened = world.store.open_due_attempts(at(now), 9, world.id());
    opened.await.unwrap().remove(0)
}

async fn expected(world: &World, agent: AgentId) -> Vec<(String, u64)> {
    let status = world
        .store
        .agent_status(agent, at(0))
        .await
        .unwrap()
        .unwrap();
    let one = |Expected { step, after }| (step, u64::try_from(after.as_millis()).unwrap());
    status.expected.into_iter().map(one).collect()
}

#[tokio::test]
async fn what_is_expected_is_the_median_of_the_last_twenty_of_its_kind() {
    let world = World::new().await;
    let first = AgentId(world.id());
    world.pay("evt_first", "sub_first", first).await;
    assert_eq!(expected(&world, first).await, [], "nothing is known yet");
    let attempt = open(&world, 1).await;
    // Failures teach nothing.
    world
        .accepted(&world.failure(&attempt, ErrorClass::Permanent), at(400))
        .await;
    let clean_up = open(&world, 400).await;
    world.accepted(&world.success(&clean_up), at(401)).await;
    // These are older than the last twenty.
    for number in 0..3 {
        took(&world, number, 100, 200, 900).await;
    }
    for number in 3..23 {
        took(&world, number, number, 2 * number, 3 * number).await;
    }
    let next = AgentId(world.id());
    let paid = world.payment("evt_next", "sub_next", next);
    world.store.record_event(&paid, at(90_000)).await.unwrap();
    let medians = [
        ("claimed", 12_500),
        ("vm_created", 25_000),
        ("done", 37_500),
    ];
    let medians = medians.map(|(step, millis)| (step.to_owned(), millis));
    assert_eq!(expected(&world, next).await, medians);
    let attempt = open(&world, 90_000).await;
    assert_eq!(expected(&world, next).await, medians);
    let mut success = world.success(&attempt);
    success.facts.server_id = Some("the last".to_owned());
    world.accepted(&success, at(90_009)).await;
    assert_eq!(
        expected(&world, next).await,
        [],
        "nothing is awaited any more"
    );
}

#[tokio::test]
async fn the_overview_lists_what_needs_somebody() {
    let world = World::new().await;
    let empty = world.store.overview(at(0)).await.unwrap();
    assert!(empty.by_state.is_empty() && empty.unjoined.is_empty() && !empty.any_due);
    let attempt = world.opened().await;
    let broken = world.failure(&attempt, ErrorClass::Permanent);
    world.accepted(&broken, at(5)).await;
    named(&world, &["a", "b", "c"]).await;
    let nobodys =
        |event: &str, subscription: Option<&str>, refs: &[&str], created, news| EventRecord {
            subscription_id: subscription.map(|id| id.parse().unwrap()),
            references: refs.iter().map(|id| (*id).to_owned()).collect(),
            ..world.news(event, "sub_any", created, news)
        };
    for event in [
        nobodys("evt_1", Some("sub_lost"), &["in_1"], 50, News::Active),
        nobodys("evt_2", Some("sub_unpaid"), &[], 51, News::None),
        nobodys("evt_3", None, &["ch_9", "pi_9"], 40, News::Refunded),
        nobodys("evt_4", None, &["in_1", "ch_1"], 60, News::Refunded),
    ] {
        world.store.record_event(&event, at(70)).await.unwrap();
    }
    let overview = world.store.overview(at(100)).await.unwrap();
    let states = [(AgentState::Draft, 3), (AgentState::Failed, 1)];
    assert_eq!(overview.by_state, states);
    assert_eq!(overview.failures, [("permanent".to_owned(), 1)]);
    assert_eq!(overview.overdue.len(), 1);
    assert_eq!((overview.overdue[0].due, overview.any_due), (at(5), true));
    let mut unjoined: Vec<(&str, &str)> = overview
        .unjoined
        .iter()
        .map(|one| (one.what.as_str(), one.says.as_str()))
        .collect();
    unjoined.sort_unstable();
    let lost = [
        ("ch_9", "refunded"),
        ("in_1", "refunded"),
        ("sub_lost", "past_due"),
    ];
    assert_eq!(unjoined, lost);
    // Its checkout comes late, and takes all of it along.
    let agent = AgentId(world.id());
    world.pay("evt_5", "sub_lost", agent).await;
    let overview = world.store.overview(at(100)).await.unwrap();
    let unjoined: Vec<&str> = overview
        .unjoined
        .iter()
        .map(|one| one.what.as_str())
        .collect();
    assert_eq!(unjoined, ["ch_9"]);
}

#[tokio::test]
async fn a_session_leads_to_its_agent_as_soon_as_it_was_heard_of() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    for session in ["cs_sub_1", "", "cs_'; --"] {
        assert_eq!(world.store.checkout(session, at(0)).await.unwrap().0, None);
    }
    world.pay("evt_1", "sub_1", agent).await;
    let checkout = world
        .store
        .checkout("cs_sub_1", at(0))
        .await
        .unwrap()
        .0
        .unwrap();
    let made = domain::Timestamp::from_unix_seconds(90);
    assert_eq!((checkout.agent_id, checkout.made_at), (agent, made));
    let again = crate::CheckoutRecord {
        made_at: 95,
        ..world.payment("evt_2", "sub_1", agent).checkout.unwrap()
    };
    let again = EventRecord {
        checkout: Some(again),
        ..world.payment("evt_2", "sub_1", agent)
    };
    world.store.record_event(&again, at(9)).await.unwrap();
    let checkout = world
        .store
        .checkout("cs_sub_1", at(0))
        .await
        .unwrap()
        .0
        .unwrap();
    assert_eq!(checkout.made_at.plus(Duration::ZERO), made);
}

#[tokio::test]
async fn what_came_to_nothing_is_told_once_on_the_draft_that_waits() {
    let world = World::new().await;
    let draft = named(&world, &["a"]).await[0];
    let expired = |event: &str, why: &str| {
        let mut record = world.payment(event, "sub_none", draft);
        record.checkout.as_mut().unwrap().binds = false;
        EventRecord {
            subscription_id: None,
            news: None,
            reason: Some(why.to_owned()),
            ..record
        }
    };
    let reason = async || {
        let status = world.store.agent_status(draft, at(0)).await.unwrap();
        status.unwrap().reason.unwrap_or_default()
    };
    let first = expired("evt_1", "the checkout expired");
    world.store.record_event(&first, at(5)).await.unwrap();
    let second = expired("evt_2", "so did the next");
    world.store.record_event(&second, at(6)).await.unwrap();
    assert!(
        world
            .store
            .record_event(&first, at(7))
            .await
            .unwrap()
            .duplicate
    );
    assert_eq!(reason().await, "so did the next");
    world.pay("evt_3", "sub_1", draft).await;
    assert_eq!(reason().await, "");
    let late = expired("evt_4", "an old one expired");
    world.store.record_event(&late, at(9)).await.unwrap();
    assert_eq!(reason().await, "");
    world.check().await;
}
