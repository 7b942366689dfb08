//! Every message in `fixtures/` is read, and written again to the letter; what must be refused
//! is refused.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use contract::{ErrorClass, Operation, Outcome, Reply, Report, Said, Sender, Step};
use serde_json::Value;
use std::{fs, path::PathBuf};

fn files(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() >= 4);
    files
}

fn report(name: &str) -> Report {
    let (_, text) = files("reports")
        .into_iter()
        .find(|(file, _)| file == name)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_report_survives_reading_and_writing() {
    for (name, text) in files("reports") {
        let report: Report = serde_json::from_str(&text).unwrap();
        let written: Value = serde_json::from_slice(&report.to_body().unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<Value>(&text).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn every_reply_has_its_defaults() {
    for (name, text) in files("replies") {
        let reply: Reply = serde_json::from_str(&text).unwrap();
        if name == "bare" {
            assert_eq!(reply, Reply::default());
            continue;
        }
        let written = serde_json::to_value(&reply).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<Value>(&text).unwrap(),
            "{name}"
        );
        assert_eq!(reply.go_on, name != "stop", "{name}");
    }
}

#[test]
fn what_is_no_report_is_refused_with_a_reason() {
    let reasons = [
        ("fence_without_run", "workflow_run_id is needed"),
        ("fence_without_sent_at", "sent_at is needed"),
        ("fence_zero", "fence counts from 1"),
        ("job_id_missing", "missing field `job_id`"),
        ("no_status", "one of status and type is needed"),
        ("status_and_type", "exclude each other"),
        ("unknown_step", "unknown variant `dancing`"),
    ];
    let files = files("refused");
    assert_eq!(files.len(), reasons.len());
    for ((name, text), (file, reason)) in files.iter().zip(reasons) {
        assert_eq!(name, file);
        let error = serde_json::from_str::<Report>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

#[test]
fn reports_mean_what_they_say() {
    let running = report("running");
    assert_eq!(running.said, Said::Running);
    assert_eq!(running.step, Some(Step::Healthy));
    assert_eq!(running.outcome, Some(Outcome::AwaitingCredentials));
    assert_eq!(running.sender.fence(), 3);
    assert_eq!(running.sender.run().workflow_run_id, "16000000001");
    assert!(running.is_final());
    let failed = report("failed");
    assert_eq!(failed.error_class, Some(ErrorClass::Capacity));
    assert_eq!(failed.facts.server_id.as_deref(), Some("42"));
    assert!(!report("heartbeat").is_final());
}

#[test]
fn the_first_version_is_fence_one_and_the_empty_run() {
    let claim = report("first_version_claim");
    assert_eq!(claim.sender, Sender::FirstVersion);
    assert_eq!(claim.sender.fence(), 1);
    assert_eq!(
        (
            claim.sender.run().workflow_run_id.as_str(),
            claim.sender.run().run_attempt
        ),
        ("", 0)
    );
}

#[test]
fn hetzners_numbers_and_empty_texts_of_the_first_version_are_understood() {
    let text = r#"{"job_id":"j","status":"running","server_id":42,"tailscale_ip":""}"#;
    let report: Report = serde_json::from_str(text).unwrap();
    assert_eq!(report.facts.server_id.as_deref(), Some("42"));
    assert_eq!(report.facts.tailscale_ip, None);
}

#[test]
fn inventories_are_limited() {
    let row = r#"{"server_id":"1","agent_id":"a","fence":"1","created":"x"}"#;
    let body = |rows: usize| {
        format!(
            r#"{{"job_id":"j","status":"running","inventory":[{}]}}"#,
            vec![row; rows].join(",")
        )
    };
    assert!(serde_json::from_str::<Report>(&body(300)).is_ok());
    assert!(serde_json::from_str::<Report>(&body(301)).is_err());
}

#[test]
fn a_claims_reply_says_whose_what_and_for_which_installation_or_nothing() {
    let spec = |name: &str| {
        let (_, text) = files("replies")
            .into_iter()
            .find(|(file, _)| file == name)
            .unwrap();
        serde_json::from_str::<Reply>(&text).unwrap().spec.unwrap()
    };
    let destroy = spec("claim_destroy");
    assert_eq!(destroy.operation, Some(Operation::Destroy));
    assert_eq!(destroy.installation.as_deref(), Some("default"));
    let before = spec("claim");
    assert_eq!(
        (before.agent_id, before.operation, before.installation),
        (None, None, None)
    );
}
