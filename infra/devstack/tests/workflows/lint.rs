//! What the linters say about the workflows: nothing.

use std::fs;
use std::process::{Command, Output};

use crate::stage::{root, tools};

async fn lint(tool: &str, arguments: &[&str]) -> Output {
    let program = tools().await.join(tool);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn actionlint_finds_nothing() {
    // The steps' scripts are checked by the pinned shellcheck, and whatever else this machine
    // happens to have on its PATH is left out.
    let shellcheck = tools().await.join("shellcheck");
    let shellcheck = shellcheck.to_str().unwrap();
    let arguments = ["-no-color", "-shellcheck", shellcheck, "-pyflakes", ""];
    let said = lint("actionlint", &arguments).await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.is_empty(), "{text}");
}

#[tokio::test]
async fn shellcheck_finds_nothing() {
    let said = lint("shellcheck", &[".ci/run", ".github/pin"]).await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.is_empty(), "{text}");
}

#[tokio::test]
async fn zizmor_finds_nothing() {
    let arguments = ["--offline", "--no-progress", "--persona", "pedantic"];
    let said = lint("zizmor", &[&arguments[..], &[".github/workflows"]].concat()).await;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}");
    assert!(text.contains("No findings to report"), "{text}");
}

#[test]
fn every_action_is_pinned_and_no_workflow_has_a_right_by_default() {
    let mut uses = 0;
    let mut files = 0;
    for file in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        files += 1;
        assert!(text.contains("\npermissions: {}\n"), "{text}");
        assert!(!text.contains("\n        with:\n          persist-credentials: true"));
        for action in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("uses: "))
        {
            uses += 1;
            let (_, pin) = action.split_once('@').expect("an action has a version");
            let commit = pin.split(' ').next().unwrap_or_default();
            let hex = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(hex && pin.contains(" # v"), "{action}");
        }
    }
    assert!(files >= 3 && uses >= 6, "{files} workflows, {uses} actions");
}
