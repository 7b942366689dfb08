//! Drafts, and the checkouts that pay for them.

use crate::world::{Answer, World, at, operator, send};
use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use domain::AgentId;
use futures_util::future::join_all;
use serde_json::{Value, json};

fn post(body: &[u8], key: Option<&str>) -> Request<Body> {
    let mut request = operator(Method::POST, "/agents").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

async fn create(world: &World, body: &Value, key: Option<&str>) -> Answer {
    world.send(post(body.to_string().as_bytes(), key)).await
}

fn id(agent: &Value) -> AgentId {
    agent["agent_id"].as_str().unwrap().parse().unwrap()
}

async fn count(world: &World) -> usize {
    let page = world.get("/agents").await.expect(200);
    page["agents"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_draft_is_made_and_paid() {
    let world = World::new().await;
    let wish = json!({
        "name": " Ada's agent ", "region": "eu-west", "reference": "order 7",
        "payment_link": "https://buy.stripe.com/test_abc?prefilled_email=a%40b.test",
    });
    let answer = create(&world, &wish, None).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let draft = answer.expect(201);
    let agent_id = id(&draft);
    assert_eq!(location, format!("/agents/{agent_id}"));
    assert_eq!(draft["status"], "draft");
    assert_eq!(draft["awaits"], "payment");
    assert_eq!(draft["reference"], "order 7");
    assert_eq!(draft["allowed"], json!(["delete"]));
    let link = "https://buy.stripe.com/test_abc?prefilled_email=a%40b.test";
    assert_eq!(
        draft["checkout"],
        json!({
            "client_reference_id": agent_id.to_string(),
            "metadata": {
                "agent_id": agent_id.to_string(), "agent_name": "Ada's agent", "region": "eu-west",
            },
            "url": format!("{link}&client_reference_id={agent_id}"),
        })
    );

    world.pay_for(agent_id, "sub_1", at(9)).await;
    let paid = world.get(&location).await.expect(200);
    assert_eq!(paid["status"], "provisioning");
    assert_eq!(count(&world).await, 1);
}

#[tokio::test]
async fn a_name_is_enough() {
    let world = World::new().await;
    let least = json!({"name": "a", "region": null, "reference": null, "payment_link": null});
    for body in [json!({"name": "a"}), least] {
        let draft = create(&world, &body, None).await.expect(201);
        assert_eq!(draft["region"], "us-east");
        assert_eq!(draft["reference"], Value::Null);
        assert_eq!(draft["checkout"]["url"], Value::Null);
    }
    assert_eq!(count(&world).await, 2);
    let body = json!({"name": "ä".repeat(200), "reference": "ö".repeat(500)});
    create(&world, &body, None).await.expect(201);
}

#[tokio::test]
async fn a_payment_link_of_another_agent_becomes_this_ones() {
    let world = World::new().await;
    for (link, made) in [
        (
            "https://a.test/b?client_reference_id=1&c=d%20e",
            "https://a.test/b?c=d+e&",
        ),
        (
            "https://a.test?client_reference_id=1&client_reference_id=2",
            "https://a.test/?",
        ),
        ("https://a.test/#end", "https://a.test/?"),
    ] {
        let body = json!({"name": "a", "payment_link": link});
        let draft = create(&world, &body, None).await.expect(201);
        let end = if link.ends_with("#end") { "#end" } else { "" };
        let expected = format!("{made}client_reference_id={}{end}", id(&draft));
        assert_eq!(draft["checkout"]["url"], expected.as_str());
    }
}

#[tokio::test]
async fn every_mistake_names_its_field() {
    let world = World::new().await;
    for (body, told) in [
        (json!({}), "name: is missing"),
        (json!({"name": null}), "name: is missing"),
        (json!({"name": 7}), "name: must be a string"),
        (json!({"name": ""}), "name: is blank"),
        (json!({"name": " \u{2003}"}), "name: is blank"),
        (json!({"name": "a\u{0}"}), "name: holds control characters"),
        (
            json!({"name": "ä".repeat(201)}),
            "name: is longer than 200 characters",
        ),
        (
            json!({"name": "a", "region": "EU"}),
            "region: lower-case letters",
        ),
        (
            json!({"name": "a", "region": ["eu-west"]}),
            "region: must be a string",
        ),
        (
            json!({"name": "a", "region": "e".repeat(33)}),
            "region: is longer than 32",
        ),
        (
            json!({"name": "a", "reference": "r".repeat(501)}),
            "reference: is longer than 500",
        ),
        (
            json!({"name": "a", "reference": {}}),
            "reference: must be a string",
        ),
        (
            json!({"name": "a", "payment_link": "http://a.test"}),
            "payment_link: an https URL",
        ),
        (
            json!({"name": "a", "payment_link": "buy"}),
            "payment_link: an https URL",
        ),
        (
            json!({"name": "a", "payment_link": "https://"}),
            "payment_link: is no URL",
        ),
        (
            json!({"name": "a", "nam": "b"}),
            "the body: unknown field `nam`",
        ),
    ] {
        let message = create(&world, &body, None).await.refused(400, "malformed");
        assert!(message.starts_with(told), "{body}: {message}");
    }
    assert_eq!(count(&world).await, 0);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let world = World::new().await;
    let deep = "[".repeat(10_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"null",
        b"\"name\"",
        br#"["a"]"#,
        br#"{"name": "a"} {}"#,
        br#"{"name": "a", "name": "b"}"#,
        b"{\"name\": \"\xff\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        let told = world.send(post(body, None)).await.refused(400, "malformed");
        assert!(told.starts_with("the body"), "{told}");
    }
    let unknown = format!(r#"{{"{}": 1}}"#, "x".repeat(9_000));
    let told = world.send(post(unknown.as_bytes(), None)).await;
    assert!(told.refused(400, "malformed").len() < 300);

    let huge = format!(r#"{{"name": "a"{}}}"#, " ".repeat(16_384));
    world
        .send(post(huge.as_bytes(), None))
        .await
        .refused(413, "too_large");
    assert_eq!(count(&world).await, 0);
}

#[tokio::test]
async fn only_json_is_read() {
    let world = World::new().await;
    let body = r#"{"name": "a"}"#;
    let code = "unsupported_media_type";
    let bare = operator(Method::POST, "/agents")
        .body(Body::from(body))
        .unwrap();
    world.send(bare).await.refused(415, code);
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let request = operator(Method::POST, "/agents").header("content-type", wrong);
        world
            .send(request.body(Body::from(body)).unwrap())
            .await
            .refused(415, code);
    }
    let right =
        operator(Method::POST, "/agents").header("content-type", "Application/JSON; charset=utf-8");
    world
        .send(right.body(Body::from(body)).unwrap())
        .await
        .expect(201);
}

#[tokio::test]
async fn the_same_key_makes_one_draft() {
    let world = World::new().await;
    let first = create(&world, &json!({"name": "a"}), Some("key"))
        .await
        .expect(201);
    world.pay_for(id(&first), "sub_1", at(9)).await;
    // The same wish in other words.
    let same = br#"{ "region": "us-east", "name":"\u0061 " }"#;
    let again = world.send(post(same, Some("key"))).await;
    assert_eq!(again.headers["location"], format!("/agents/{}", id(&first)));
    let again = again.expect(201);
    assert_eq!(id(&again), id(&first));
    assert_eq!(again["status"], "provisioning");

    let other = create(&world, &json!({"name": "b"}), Some("key")).await;
    other.refused(422, "idempotency_key_reused");
    let path = format!("/agents/{}/stop", id(&first));
    let command = world.post(&path, Some("key")).await;
    command.refused(422, "idempotency_key_reused");
    assert_eq!(count(&world).await, 1);
    create(&world, &json!({"name": "a"}), Some(""))
        .await
        .refused(400, "malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_once_makes_one_draft() {
    let world = World::new().await;
    let processes: Vec<Router> = (0..4).map(|_| world.process()).collect();
    let asked = processes.iter().flat_map(|router| {
        let request = || post(br#"{"name": "a"}"#, Some("key"));
        [
            send(router.clone(), request()),
            send(router.clone(), request()),
        ]
    });
    let answers = join_all(asked).await;
    let ids: Vec<AgentId> = answers
        .into_iter()
        .map(|answer| id(&answer.expect(201)))
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(count(&world).await, 1);
}
