//! The document says what the program says.

use crate::world::{DOCUMENT, World};
use axum::{body::Body, http::Request};
use domain::{AgentState, AttemptState, Command, ErrorClass, JobKind, JobState, Payment, Wish};
use serde_json::Value;
use std::collections::BTreeSet;

#[tokio::test]
async fn it_is_public_and_of_this_version() {
    let world = World::new().await;
    let request = Request::get("/agents/openapi.json")
        .body(Body::empty())
        .unwrap();
    let served = world.send(request).await.expect(200);
    assert_eq!(served, *DOCUMENT);
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// The paths and methods of the program's own table.
fn routed() -> BTreeSet<(String, &'static str)> {
    let table = include_str!("../../src/api/mod.rs");
    let rows = table.split(".route(").skip(1).map(|row| {
        let row = row.split_once("\n        .").map_or(row, |(row, _)| row);
        let path = row.split('"').nth(1).unwrap().to_owned();
        let methods = ["get", "post", "put", "patch", "delete"].into_iter();
        let has = |method: &&str| row.contains(&format!("{method}("));
        let methods: Vec<_> = methods.filter(has).collect();
        assert!(!methods.is_empty(), "{row}");
        methods
            .into_iter()
            .map(move |method| (path.clone(), method))
    });
    rows.flatten().collect()
}

#[test]
fn every_route_is_in_it_and_nothing_else() {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let told = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        let methods = methods.filter(|name| *name != "parameters");
        methods.map(move |method| (path.clone(), method.as_str()))
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), routed());
}

#[test]
fn its_words_are_those_of_the_domain() {
    fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|one| word(*one)).collect()
    }
    for (place, words) in [
        ("AgentState", words(AgentState::ALL, AgentState::as_str)),
        ("Payment", words(Payment::ALL, Payment::as_str)),
        ("Wish", words(Wish::ALL, Wish::as_str)),
        ("Command", words(Command::ALL, Command::as_str)),
        ("JobKind", words(JobKind::ALL, JobKind::as_str)),
        ("JobState", words(JobState::ALL, JobState::as_str)),
        (
            "Attempt/properties/state",
            words(AttemptState::ALL, AttemptState::as_str),
        ),
        (
            "Job/properties/error_class",
            words(ErrorClass::ALL, ErrorClass::as_str),
        ),
    ] {
        let told = DOCUMENT.pointer(&format!("/components/schemas/{place}/enum"));
        let told = told.and_then(Value::as_array).unwrap().iter();
        let mut told: Vec<&str> = told.filter_map(Value::as_str).collect();
        let mut words = words;
        told.sort_unstable();
        words.sort_unstable();
        assert_eq!(told, words, "{place}");
    }
}
