//! Lists, timelines and links.

use crate::world::{AGENT, LINK_KEY, World, at, command, done, send};
use agents::link;
use axum::http::Method;
use domain::{AgentId, News};
use serde_json::Value;
use store::DraftAgent;
use uuid::Uuid;

async fn draft(world: &World, number: u128, name: &str) {
    let agent = DraftAgent {
        agent_id: AgentId(Uuid::from_u128(number)),
        name: name.to_owned(),
        region: "eu-west".to_owned(),
        reference: Some(format!("order {number}")),
    };
    // Two of each second, so that the id decides too.
    let made = at(u64::try_from(number / 2).unwrap());
    let job = domain::JobId(Uuid::from_u128(number + 0x100));
    world
        .store
        .create_agent(&agent, None, job, made)
        .await
        .unwrap();
}

fn names(page: &Value) -> Vec<&str> {
    let agents = page["agents"].as_array().unwrap().iter();
    agents
        .map(|agent| agent["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn agents_are_listed_page_by_page_newest_first() {
    let world = World::new().await;
    assert_eq!(world.get("/agents").await.expect(200)["next"], Value::Null);
    for number in 10..17 {
        draft(&world, number, &format!("agent {number}")).await;
    }
    let first = world.get("/agents?limit=3").await.expect(200);
    assert_eq!(names(&first), ["agent 16", "agent 15", "agent 14"]);
    // A newer one does not shift the pages.
    draft(&world, 17, "agent 17").await;
    let after = |page: &Value| format!("/agents?limit=3&after={}", page["next"].as_str().unwrap());
    let second = world.get(&after(&first)).await.expect(200);
    assert_eq!(names(&second), ["agent 13", "agent 12", "agent 11"]);
    let third = world.get(&after(&second)).await.expect(200);
    assert_eq!(names(&third), ["agent 10"]);
    assert_eq!(third["next"], Value::Null);
    let whole = world.get("/agents?limit=8").await.expect(200);
    assert_eq!(names(&whole).len(), 8);
    assert_eq!(whole["next"], Value::Null);
}

#[tokio::test]
async fn a_list_shows_what_was_asked_for() {
    let world = World::new().await;
    draft(&world, 0x10, "Grace 100%").await;
    draft(&world, 0x11, "Mary").await;
    world.pay(at(9)).await;
    for (query, expected) in [
        ("state=draft", ["Mary", "Grace 100%"].as_slice()),
        ("state=provisioning", &["Ada's agent"]),
        ("state=deleted", &[]),
        ("q=gRaCe", &["Grace 100%"]),
        ("q=%25", &["Grace 100%"]),
        ("q=order+17", &["Mary"]),
        ("q=sub_1", &["Ada's agent"]),
        ("q=0000-000000000001", &["Ada's agent"]),
        ("q=Ada&state=draft", &[]),
        ("q=+&state=draft&limit=1", &["Mary"]),
    ] {
        let page = world.get(&format!("/agents?{query}")).await.expect(200);
        assert_eq!(names(&page), expected, "{query}");
    }
    let paid = world.get("/agents?q=Ada").await.expect(200)["agents"][0].take();
    assert_eq!(paid["job"]["kind"], "provision");
    assert_eq!(paid["job"]["due"], "2027-01-15T08:00:09Z");
    assert_eq!(paid["payment"], "active");
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let world = World::new().await;
    world.pay(at(9)).await;
    let long = format!("q={}", "x".repeat(201));
    let far = format!("after={}", "f".repeat(47));
    for (query, told) in [
        ("state=", "state: is none of draft, "),
        ("state=running", "state: is none of draft, "),
        ("limit=0", "limit: must be from 1 to 100"),
        ("limit=101", "limit: must be from 1 to 100"),
        ("limit=-1", "limit: "),
        ("limit=ten", "limit: "),
        ("limit=1&limit=2", "limit: is given twice"),
        ("after=", "after: is not a cursor"),
        ("after=2", "after: is not a cursor"),
        (&far, "after: is not a cursor"),
        (&long, "q: is longer than 200 characters"),
        ("q=%00", "q: holds control characters"),
        ("Q=a", "Q: is no parameter of this path"),
    ] {
        let message = world
            .get(&format!("/agents?{query}"))
            .await
            .refused(400, "malformed");
        assert!(message.starts_with(told), "{query}: {message}");
    }
    let events = format!("/agents/{AGENT}/events");
    for query in [
        "after=-1",
        "after=x",
        "after=9223372036854775808",
        "limit=0",
        "state=draft",
    ] {
        world
            .get(&format!("{events}?{query}"))
            .await
            .refused(400, "malformed");
    }
    for cursor in ["0".repeat(46), "f".repeat(46)] {
        world
            .get(&format!("/agents?after={cursor}"))
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_timeline_tells_everything_in_order() {
    let world = World::new().await;
    world.activate().await;
    world
        .post(&format!("/agents/{AGENT}/stop"), None)
        .await
        .expect(202);
    world.stripe_says(News::Canceled, 300).await;
    let events = format!("/agents/{AGENT}/events");
    let whole = world.get(&format!("{events}?limit=100")).await.expect(200);
    assert_eq!(whole["next"], Value::Null);
    let whole = whole["events"].as_array().unwrap();
    let mut wishes = whole.iter().filter(|event| event["machine"] == "wish");
    let wish = wishes.next_back().unwrap();
    assert_eq!(
        (&wish["old"], &wish["new"]),
        (&"run".into(), &"stop".into())
    );
    assert_eq!(wish["cause"], "operator");
    assert!(whole.iter().any(|event| event["cause"] == "stripe evt_300"));

    let (mut paged, mut after) = (Vec::new(), 0);
    loop {
        let page = world
            .get(&format!("{events}?limit=2&after={after}"))
            .await
            .expect(200);
        paged.extend(page["events"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_i64() else {
            break;
        };
        assert!(next > after);
        after = next;
    }
    assert_eq!(&paged, whole);
    let end = world
        .get(&format!("{events}?after={}", i64::MAX))
        .await
        .expect(200);
    assert_eq!(end["events"], Value::Array(Vec::new()));

    let nobody = AgentId(Uuid::from_u128(77));
    let told = world.get(&format!("/agents/{nobody}/events")).await;
    told.refused(404, "not_found");
}

#[tokio::test]
async fn a_link_opens_its_agent_for_thirty_days() {
    let world = World::new().await;
    world.pay(at(9)).await;
    world.open().await;
    world.report(1, None, done()).await;
    let made = world
        .post(&format!("/agents/{AGENT}/link"), None)
        .await
        .expect(200);
    assert_eq!(made["expires_at"], "2027-02-14T08:00:10Z");
    let token = made["url"].as_str().unwrap().strip_prefix("/s/").unwrap();
    let key = LINK_KEY.to_owned().into();
    let days = 30 * 24 * 3600;
    let opened = link::open(&key, token, at(9 + days)).unwrap();
    assert_eq!(opened.agent_id, AGENT);
    assert!(link::open(&key, token, at(10 + days)).is_err());

    let router = world.process_at(Some("https://agents.example.com"));
    let request = command(Method::POST, &format!("/agents/{AGENT}/link"), None);
    let made = send(router, request).await.expect(200);
    assert_eq!(made["url"], format!("https://agents.example.com/s/{token}"));
}
