//! Which runner is run: the pinned one, unchanged, or one built from the same commit.

use std::fs;

use crate::stage::{NAME, RELEASE, REPOSITORY, Stage, quick, sha256, write_pin};

#[tokio::test]
async fn the_pinned_runner_is_taken_as_it_was_released() {
    let mut stage = Stage::new(quick()).await;
    stage.vars.insert("VERIFY_ATTESTATION", "true".to_owned());
    let ran = stage.run().await;
    assert!(ran.good, "{}", ran.log);
    let calls = stage.calls();
    let calls: Vec<&str> = calls.lines().collect();
    let [download, verify] = *calls else {
        panic!("a download, a verification and no build were expected: {calls:?}");
    };
    let from = format!("gh release download {RELEASE} --repo {REPOSITORY} ");
    assert!(download.starts_with(&from), "{download}");
    assert!(verify.starts_with("gh attestation verify "), "{verify}");
    let by = format!(
        "--repo {REPOSITORY} --signer-workflow {REPOSITORY}/.github/workflows/release.yml \
         --source-ref refs/tags/{RELEASE}"
    );
    assert!(verify.ends_with(&by), "{verify}");
}

#[tokio::test]
async fn a_tampered_runner_is_refused_and_never_run() {
    let stage = Stage::new(quick()).await;
    let mut bytes = fs::read(stage.path("asset")).unwrap();
    bytes.push(0);
    fs::remove_file(stage.path("asset")).unwrap();
    fs::write(stage.path("asset"), bytes).unwrap();
    let ran = stage.run().await;
    // Not what the step says: `act` drops the last words of a failing step now and then.
    let refused = ran.log.contains("Failure - Main Fetch the pinned runner");
    assert!(!ran.good && refused, "{}", ran.log);
    assert!(
        ran.log.contains("there is no runner that could report"),
        "{}",
        ran.log
    );
    assert!(
        !stage.calls().contains("cargo"),
        "it is not replaced by a build"
    );
    assert_eq!(stage.receiver.reports(), []);
    assert_eq!(stage.sim.world().calls, []);
}

#[tokio::test]
async fn a_runner_that_nobody_attests_is_never_run() {
    let mut stage = Stage::new(quick()).await;
    stage.vars.insert("VERIFY_ATTESTATION", "true".to_owned());
    fs::write(stage.path("doubts"), "").unwrap();
    let ran = stage.run().await;
    let refused = ran.log.contains("Failure - Main Fetch the pinned runner");
    assert!(!ran.good && refused, "{}", ran.log);
    assert!(stage.calls().contains("gh attestation verify"));
    assert!(!stage.calls().contains("cargo"));
    assert_eq!(stage.receiver.reports(), []);
    assert_eq!(stage.sim.world().calls, []);
}

#[tokio::test]
async fn without_a_pin_or_without_the_release_the_runner_is_built() {
    let unpinned = Stage::unpinned(quick()).await;
    let gone = Stage::new(quick()).await;
    fs::remove_file(gone.path("asset")).unwrap();
    for stage in [unpinned, gone] {
        let ran = stage.run().await;
        assert!(ran.good, "{}", ran.log);
        let calls = stage.calls();
        assert!(
            calls.contains("cargo build --locked --release --package runner"),
            "{calls}"
        );
        assert!(stage.sim.world().server(NAME).is_some());
    }
}

#[tokio::test]
async fn only_a_release_and_a_digest_become_a_pin() {
    let stage = Stage::unpinned(quick()).await;
    let workflow = stage.path("repo/.github/workflows/provision-agent.yml");
    let before = fs::read_to_string(&workflow).unwrap();
    let digest = sha256(&workflow);
    for (release, sha) in [
        ("runner-v1\"\n  X: \"", digest.as_str()),
        ("v1", digest.as_str()),
        ("runner-v1", "abc"),
        ("runner-v1", &digest.to_uppercase()),
    ] {
        assert!(!write_pin(release, sha, &workflow), "{release} {sha}");
    }
    assert_eq!(fs::read_to_string(&workflow).unwrap(), before);
    for release in ["runner-v1.2.3", "runner-v2"] {
        assert!(write_pin(release, &digest, &workflow));
    }
    let pinned = fs::read_to_string(&workflow).unwrap();
    let lines: Vec<&str> = pinned
        .lines()
        .zip(before.lines())
        .filter_map(|(new, old)| (new != old).then_some(new.trim()))
        .collect();
    let sha_line = format!("RUNNER_SHA256: \"{digest}\"");
    assert_eq!(lines, ["RUNNER_RELEASE: \"runner-v2\"", &sha_line]);
}
