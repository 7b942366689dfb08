//! Who is let in, and what is answered to what is not there.

use crate::world::{AGENT, DOCUMENT, TOKEN, World, at, operator, send};
use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::Value;

/// Every operation of the document, with the agent's path filled in.
fn operations() -> Vec<(Method, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{id}", &AGENT.to_string());
        let item = item.as_object().unwrap().iter();
        item.filter(|(name, _)| *name != "parameters")
            .map(move |(name, operation)| {
                (
                    name.to_uppercase().parse().unwrap(),
                    path.clone(),
                    operation,
                )
            })
    });
    all.collect()
}

#[tokio::test]
async fn only_the_token_as_bearer_opens() {
    let world = World::new().await;
    world.pay(at(9)).await;
    let cases = [
        None,
        Some(("authorization", "Bearer x".to_owned())),
        Some(("authorization", "Bearer ".to_owned())),
        Some(("authorization", TOKEN.to_owned())),
        Some(("authorization", format!("Basic {TOKEN}"))),
        Some(("authorization", "Basic OjpvcGVyYXRvci10b2tlbg==".to_owned())),
        Some(("cookie", format!("token={TOKEN}; API_TOKEN={TOKEN}"))),
        Some(("x-api-key", TOKEN.to_owned())),
    ];
    let before = world.agent().await;
    let mut closed = 0;
    for (method, path, operation) in operations() {
        if operation.get("security").is_some() {
            continue;
        }
        closed += 1;
        for case in &cases {
            let mut request = Request::builder().method(method.clone()).uri(&path);
            if let Some((name, value)) = case {
                request = request.header(*name, value);
            }
            let answer = world.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            answer.refused(401, "unauthorized");
        }
    }
    assert_eq!(closed, 9);
    assert_eq!(world.agent().await, before);
    let request = Request::get("/agents").header("authorization", format!("bearer {TOKEN}"));
    world
        .send(request.body(Body::empty()).unwrap())
        .await
        .expect(200);
}

#[tokio::test]
async fn without_a_database_nothing_is_answered_but_later() {
    let world = World::new().await;
    for (method, path, operation) in operations() {
        if operation.get("security").is_some() {
            continue;
        }
        let request = operator(method, &path).header("content-type", "application/json");
        let body = match operation.get("requestBody") {
            Some(_) => Body::from(r#"{"name": "a"}"#),
            None => Body::empty(),
        };
        let answer = send(
            world.process_without_database(),
            request.body(body).unwrap(),
        )
        .await;
        let told = answer.refused(503, "unavailable");
        assert_eq!(told, "the database is not available");
    }
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let world = World::new().await;
    let (mut refused, operations) = (0, operations());
    let methods = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
    ];
    for (_, path, _) in &operations {
        let theirs = |method: &Method| {
            operations
                .iter()
                .any(|(other, at, _)| at == path && other == method)
        };
        for method in methods {
            let method: Method = method.parse().unwrap();
            if theirs(&method) {
                continue;
            }
            let request = operator(method, path).body(Body::empty()).unwrap();
            let answer = world.send(request).await;
            let allow = answer.headers["allow"].to_str().unwrap();
            let told = allow.split(',').map(|name| name.parse().unwrap());
            assert!(
                told.filter(|name| name != Method::HEAD)
                    .all(|name| theirs(&name)),
                "{allow}"
            );
            answer.refused(405, "method_not_allowed");
            refused += 1;
        }
    }
    assert!(refused > 50);
}

#[tokio::test]
async fn nothing_else_is_there() {
    let world = World::new().await;
    for path in [
        "/agents/".to_owned(),
        "/agent".to_owned(),
        format!("/agents/{AGENT}/"),
        format!("/agents/{AGENT}/destroy"),
        format!("/agents/{AGENT}/stop/now"),
        "//agents".to_owned(),
    ] {
        world.get(&path).await.refused(404, "not_found");
    }
}
