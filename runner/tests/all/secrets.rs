//! No secret shows anywhere: canary values in every setting, then a search through everything
//! that comes out.

use crate::{
    callback::SECRET,
    harness::{HETZNER_TOKEN, Stage, TAILSCALE_SECRET, finish, quick},
};
use http::Method;
use sim::{DelayRange, Effect, Fault, FaultBody, Vendor};

const CANARIES: [&str; 3] = [SECRET, HETZNER_TOKEN, TAILSCALE_SECRET];

/// Everything a run leaves that people or programs can see.
fn seen(stage: &Stage, stdout: &str, stderr: &str) -> Vec<(&'static str, String)> {
    let world = stage.world();
    let user_data: Vec<String> = world
        .servers
        .iter()
        .chain(&world.deleted_servers)
        .map(|server| server.user_data.clone())
        .collect();
    vec![
        ("stdout", stdout.to_owned()),
        ("stderr", stderr.to_owned()),
        ("reports", stage.callback.bodies().join("\n")),
        ("outputs", stage.text("output")),
        ("summary", stage.text("summary")),
        ("marker", stage.text("marker")),
        ("user data", user_data.join("\n")),
    ]
}

fn assert_hidden(seen: &[(&str, String)], secrets: &[&str]) {
    for (place, text) in seen {
        for secret in secrets {
            let beginning: String = secret.chars().take(16).collect();
            assert!(!text.contains(&beginning), "{place} shows a secret: {text}");
        }
    }
}

#[tokio::test]
async fn no_setting_shows_in_a_good_run() {
    let mut config = quick();
    config.hetzner.boot_delay = DelayRange::millis(1_000, 1_000);
    let stage = Stage::with(config).await;
    let child = stage.start(&["provision"]);
    let id = child.id().unwrap();
    stage
        .callback
        .until(|reports| reports.iter().any(|one| one.facts.server_id.is_some()))
        .await;
    let arguments = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    let ran = finish(child).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let mut seen = seen(&stage, &ran.stdout, &ran.stderr);
    seen.push(("arguments", arguments));
    assert_hidden(&seen, &CANARIES);

    // The one-off key is in the user data and in the mask that hides it, nowhere else.
    let masked: Vec<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("::add-mask::"))
        .collect();
    let [key] = masked[..] else {
        panic!("one key is masked: {masked:?}")
    };
    for (place, text) in &seen {
        let expected = usize::from(["stdout", "user data"].contains(place));
        assert_eq!(text.matches(key).count(), expected, "{place}");
    }
    assert!(!seen.iter().any(|(_, text)| text.contains("tskey-api-")));
}

#[tokio::test]
async fn no_setting_shows_when_providers_quote_it() {
    let beginning: String = HETZNER_TOKEN.chars().take(20).collect();
    let quote = format!("limit reached for token '{HETZNER_TOKEN}' ({beginning})");
    let stage = Stage::new().await;
    let body = FaultBody::Error {
        code: "forbidden".to_owned(),
        message: quote,
    };
    let effect = Effect::Status { status: 403, body };
    stage.sim.add_fault(Fault::once(
        Vendor::Hetzner,
        Method::POST,
        "/servers",
        effect,
    ));
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(stage.callback.last().error.unwrap().contains("[redacted]"));
    assert_hidden(&seen(&stage, &ran.stdout, &ran.stderr), &CANARIES);
    stage.assert_clean();
}

#[tokio::test]
async fn outside_actions_the_minted_key_is_not_printed() {
    let mut stage = Stage::new().await;
    stage.set("GITHUB_ACTIONS", "");
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(
        !ran.stdout.contains("tskey-") && !ran.stdout.contains("::"),
        "{}",
        ran.stdout
    );
}
