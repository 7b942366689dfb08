//! Finds Chromium, or installs it, and plays a scenario of `scenarios.mjs` in it.

use sim::peers;
use std::{
    io::Error,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::sync::Mutex;

const CHROMIUM: &str = "/usr/bin/chromium";
/// Longest that a scenario may take on a busy machine.
const SCENARIO_MAX: Duration = Duration::from_mins(10);

/// One browser at a time: scenarios measure how soon a page changes.
static TURN: Mutex<()> = Mutex::const_new(());

/// Plays a scenario; `told` is JSON for it. Gives what it printed.
pub(crate) async fn play(scenario: &str, told: &serde_json::Value) -> String {
    let turn = TURN.lock().await;
    let script = tokio::task::spawn_blocking(|| {
        installed();
        script()
    });
    let script = script.await.expect("the script is written");
    let running = tokio::process::Command::new("node")
        .arg(script)
        .args([scenario, CHROMIUM])
        .arg(told.to_string())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SCENARIO_MAX, running)
        .await
        .unwrap_or_else(|_| panic!("{scenario} took longer than {SCENARIO_MAX:?}"))
        .expect("node runs");
    drop(turn);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{scenario}: {}\n{said}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{said}");
    said
}

/// The scenarios beside Playwright, where Node finds it.
fn script() -> PathBuf {
    let parts = [
        ("browser_checks.mjs", include_str!("checks.mjs")),
        ("browser_scenarios.mjs", include_str!("scenarios.mjs")),
        ("browser.mjs", include_str!("browser.mjs")),
    ];
    let put = |(name, source)| peers::node_script(name, source).expect("Playwright is installed");
    parts.map(put).into_iter().next_back().expect("three parts")
}

/// Makes sure that there is a Chromium; apt brings it where it may.
fn installed() {
    if Path::new(CHROMIUM).exists() {
        return;
    }
    let apt = |arguments: &[&str]| Command::new("apt-get").args(arguments).output();
    let tried = peers::patiently(|| {
        // One list of many may be out of reach; whether that matters, the next call knows.
        drop(apt(&["update", "-qq"])?);
        let output = apt(&["install", "-y", "-qq", "chromium"])?;
        let words = String::from_utf8_lossy(&output.stderr);
        let is_done = output.status.success();
        is_done.then_some(()).ok_or_else(|| Error::other(words))
    });
    let is_there = Path::new(CHROMIUM).exists();
    assert!(
        is_there,
        "no {CHROMIUM}: install it with `apt-get install chromium` ({tried:?})"
    );
}
