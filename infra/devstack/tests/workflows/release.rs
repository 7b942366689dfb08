//! `release.yml` run for real by `act`: from a pushed tag to the pin, and on to a machine built
//! by the runner that was released.
//!
//! What it cannot say. `act` knows nothing of GitHub's rights, environments and concurrency: that a
//! token may do what is asked of it is not shown, only which token is used for what. It runs no
//! single job again but the whole workflow, which asks more. And all that is GitHub's own is a
//! stand-in: `gh`, the actions, the attestation, which is a line in a file because nobody here
//! signs. Git, its pushes and the way the token takes to them are real.

mod forge;
mod git_http;

use std::fs;

use crate::stage::{NAME, RELEASE, REPOSITORY, Ran, Stage, quick, sha256};
use forge::{ASSET, Forge, PIN_BRANCH, PIN_TOKEN};

const BUILD: &str = "Build the runner";
const PUBLISH: &str = "Attest and publish";
const PIN: &str = "Propose the pin";
const WORKFLOW: &str = ".github/workflows/provision-agent.yml";

/// The jobs that ended so, in the order of their ends.
fn jobs(ran: &Ran, how: &str) -> Vec<&'static str> {
    let ended = ran.log.lines().filter(|line| line.contains(how));
    let job = |line: &str| {
        [BUILD, PUBLISH, PIN]
            .into_iter()
            .find(|job| line.contains(job))
    };
    ended.filter_map(job).collect()
}

fn assert_all_succeed(ran: &Ran) {
    assert!(ran.good, "{}", ran.log);
    assert_eq!(jobs(ran, "Job succeeded"), [BUILD, PUBLISH, PIN]);
}

fn assert_fails_in(job: &str, ran: &Ran) {
    assert!(!ran.good, "{}", ran.log);
    assert_eq!(jobs(ran, "Job failed"), [job], "{}", ran.log);
}

fn assert_said(forge: &Forge, words: &str) {
    let said = forge.written("said");
    assert!(said.contains(words), "{words}: {said}");
}

/// The published runner is the one that was built.
fn assert_published(forge: &Forge) {
    let built = fs::read(forge.shelf("runner")).unwrap();
    assert!(fs::read(forge.released(ASSET)).unwrap() == built);
    let line = format!("{}  {ASSET}\n", forge.built());
    let digest = fs::read_to_string(forge.released(&format!("{ASSET}.sha256")));
    assert_eq!(digest.unwrap(), line);
    let files = fs::read_dir(forge.released("")).unwrap();
    assert_eq!(files.count(), 2);
}

/// One pull request is open, for a branch that changes two lines of the default branch.
fn assert_pin_proposed(forge: &Forge) {
    let pulls = fs::read_dir(forge.shelf("pulls")).unwrap();
    assert_eq!(pulls.count(), 1);
    let pull = forge.written(&format!("pulls/{PIN_BRANCH}"));
    assert_eq!(pull, format!("main <- {PIN_BRANCH} in {REPOSITORY}\n"));
    let commits = format!("main..{PIN_BRANCH}");
    let count = forge.at_github(&["rev-list", "--count", &commits]);
    assert_eq!(count.trim(), "1");
    let changed = forge.at_github(&["diff", "--unified=0", "main", PIN_BRANCH]);
    // Lines that went and came, and what Git says of modes and of new or deleted files.
    let lines: Vec<&str> = changed
        .lines()
        .filter(|line| line.starts_with(['+', '-', 'o', 'n', 'd']))
        .collect();
    let digest = forge.built();
    let expected = [
        format!("diff --git a/{WORKFLOW} b/{WORKFLOW}"),
        format!("--- a/{WORKFLOW}"),
        format!("+++ b/{WORKFLOW}"),
        "-  RUNNER_RELEASE: \"\"".to_owned(),
        "-  RUNNER_SHA256: \"\"".to_owned(),
        format!("+  RUNNER_RELEASE: \"{RELEASE}\""),
        format!("+  RUNNER_SHA256: \"{digest}\""),
    ];
    assert_eq!(lines, expected);
}

fn creations(forge: &Forge, what: &str) -> usize {
    let creation = format!("gh {what} create ");
    let calls = forge.written("calls");
    calls
        .lines()
        .filter(|line| line.starts_with(&creation))
        .count()
}

#[tokio::test]
async fn a_tag_becomes_a_release_a_pin_and_a_machine() {
    let forge = Forge::new().await;
    assert_all_succeed(&forge.run().await);
    assert_published(&forge);
    assert_eq!(
        forge.written("attestations"),
        format!("{}  {ASSET}\n", forge.built())
    );
    assert_pin_proposed(&forge);
    let calls = forge.written("calls");
    let build = "cargo build --locked --release --package runner";
    assert_eq!(calls.matches("cargo ").count(), 1);
    assert!(calls.contains(build), "{calls}");
    assert!(calls.contains("--verify-tag"), "{calls}");

    let pinned = forge.at_github(&["show", &format!("{PIN_BRANCH}:{WORKFLOW}")]);
    let stage = Stage::released(quick(), &pinned, &forge.released(ASSET)).await;
    let ran = stage.run().await;
    assert!(ran.good, "{}", ran.log);
    assert!(!stage.calls().contains("cargo"), "nothing is built again");
    assert!(stage.sim.world().server(NAME).is_some());
}

#[tokio::test]
async fn without_its_token_the_pin_is_said_and_not_proposed() {
    let mut forge = Forge::new().await;
    forge.secrets.remove("PIN_TOKEN");
    // A private repository: attestations are not part of every plan.
    forge.visibility = "private";
    let ran = forge.run().await;
    assert_all_succeed(&ran);
    assert_published(&forge);
    assert_eq!(forge.written("attestations"), "");
    assert_said(&forge, "::warning::PIN_TOKEN is not set");
    let (_, summary) = ran.log.split_once("Set these two lines").unwrap();
    let digest = forge.built();
    for line in [
        format!("  RUNNER_RELEASE: \"{RELEASE}\"\n"),
        format!("  RUNNER_SHA256: \"{digest}\"\n"),
    ] {
        assert!(summary.contains(&line), "{summary}");
    }
    assert!(!forge.pin_is_pushed());
    assert_eq!(creations(&forge, "pr"), 0);
}

#[tokio::test]
async fn a_runner_that_was_changed_on_the_way_is_not_published() {
    let forge = Forge::new().await;
    fs::write(forge.shelf("tamper"), "").unwrap();
    let ran = forge.run().await;
    assert_fails_in(PUBLISH, &ran);
    assert_said(&forge, "did NOT match");
    assert_eq!(forge.written("attestations"), "");
    assert!(
        !forge.written("calls").contains("gh "),
        "nothing is asked of GitHub"
    );
    assert!(!forge.pin_is_pushed());
}

#[tokio::test]
async fn a_tag_that_cannot_become_a_pin_is_not_published() {
    let forge = Forge::with_tag("runner-v9_9").await;
    let ran = forge.run().await;
    assert_fails_in(BUILD, &ran);
    assert_said(&forge, "no release: runner-v9_9");
    assert!(!forge.written("calls").contains("gh "));
}

#[tokio::test]
async fn a_repeated_run_goes_on_where_the_first_one_ended() {
    let mut forge = Forge::new().await;
    // A draft that an upload left; and a token that may not push.
    let draft = forge.shelf("releases").join(format!("{RELEASE}.draft"));
    fs::write(draft, "").unwrap();
    forge
        .secrets
        .insert("PIN_TOKEN", "a-token-of-another-repository".to_owned());
    assert_fails_in(PIN, &forge.run().await);
    assert_published(&forge);
    assert!(!forge.pin_is_pushed());

    // A token that may push and not ask for a pull request.
    forge.secrets.insert("PIN_TOKEN", PIN_TOKEN.to_owned());
    fs::write(forge.shelf("no-pulls"), "").unwrap();
    assert_fails_in(PIN, &forge.run().await);
    assert!(forge.pin_is_pushed());

    // One that may do both; and once more, with nothing left to do.
    fs::remove_file(forge.shelf("no-pulls")).unwrap();
    for _ in 0..2 {
        assert_all_succeed(&forge.run().await);
        assert_published(&forge);
        assert_pin_proposed(&forge);
    }
    assert_eq!(creations(&forge, "release"), 1);
    assert_eq!(forge.written("attestations").lines().count(), 1);

    // And when the pin was merged.
    forge.at_github(&["branch", "--force", "main", PIN_BRANCH]);
    fs::remove_file(forge.shelf("pulls").join(PIN_BRANCH)).unwrap();
    let ran = forge.run().await;
    assert_all_succeed(&ran);
    assert_said(&forge, "main runs runner-v9.9.9 already");
    assert_eq!(creations(&forge, "pr"), 2);
}

#[tokio::test]
async fn a_release_is_never_replaced_by_another_runner() {
    let forge = Forge::new().await;
    fs::create_dir(forge.released("")).unwrap();
    fs::write(forge.released(ASSET), "the runner of an earlier run").unwrap();
    let before = sha256(&forge.released(ASSET));
    let ran = forge.run().await;
    assert_fails_in(PUBLISH, &ran);
    let why = "::error::runner-v9.9.9 is published with another runner: make a new tag";
    assert_said(&forge, why);
    assert_eq!(sha256(&forge.released(ASSET)), before);
    assert_eq!(forge.written("attestations"), "");
    assert_eq!(creations(&forge, "release"), 0);
    assert!(!forge.pin_is_pushed());
}
