//! The arrows between rooms, and the doors to the outside: no crate may depend on another than
//! the lists here allow.

#![cfg(test)]

use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

/// Rooms that may be used in production code, room by room. `devstack` may use everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("domain", &[]),
    ("store", &["domain"]),
    ("outbound", &[]),
    ("host", &["domain"]),
    ("stripe-webhook", &["domain", "store", "host"]),
    (
        "dispatch",
        &["contract", "domain", "store", "outbound", "host"],
    ),
    ("callback", &["contract", "domain", "store", "host"]),
    ("agents", &["domain", "store", "host"]),
    ("runner", &["contract", "outbound"]),
    ("sim", &[]),
    ("localpg", &[]),
];

/// Rooms that tests may use besides.
const TEST_HELPERS: &[&str] = &["sim", "localpg"];

/// Libraries that only the named rooms may use; devstack stands in for the outside.
const DOORS: &[(&str, &[&str])] = &[
    ("tokio-postgres", &["store", "localpg", "devstack"]),
    ("lambda_runtime", &["dispatch"]),
    (
        "lambda_http",
        &["host", "stripe-webhook", "callback", "agents"],
    ),
    ("aws-sdk-sqs", &["host"]),
    ("askama", &["agents"]),
    ("reqwest", &["outbound", "sim", "devstack"]),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"]
        .as_array()
        .expect("there are packages")
        .clone()
}

/// Names of what a package depends on, for production or for tests.
fn dependencies(package: &Value, for_tests: bool) -> BTreeSet<String> {
    package["dependencies"]
        .as_array()
        .expect("there are dependencies")
        .iter()
        .filter(|dependency| (dependency["kind"] == "dev") == for_tests)
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn rooms_know_only_the_rooms_they_may() {
    let packages = packages();
    let rooms: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let listed: BTreeSet<&str> = ARROWS
        .iter()
        .map(|(room, _)| *room)
        .chain(["devstack"])
        .collect();
    assert_eq!(rooms, listed, "a room is missing from the list, or gone");
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == name) else {
            continue;
        };
        for used in dependencies(package, false)
            .iter()
            .filter(|d| rooms.contains(d.as_str()))
        {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not depend on {used}"
            );
        }
        for used in dependencies(package, true)
            .iter()
            .filter(|d| rooms.contains(d.as_str()))
        {
            let may = allowed.contains(&used.as_str()) || TEST_HELPERS.contains(&used.as_str());
            assert!(may, "the tests of {name} must not depend on {used}");
        }
    }
}

#[test]
fn the_doors_to_the_outside_are_where_they_belong() {
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default();
        for used in dependencies(&package, false) {
            if let Some((_, rooms)) = DOORS.iter().find(|(library, _)| *library == used) {
                assert!(rooms.contains(&name), "{name} must not depend on {used}");
            }
        }
    }
}
