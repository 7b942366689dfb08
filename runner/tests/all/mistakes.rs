//! Wrong settings: each mistake names its variable and never shows the value, which may be a
//! secret that was put into the wrong place. Whoever is wrong about them calls nobody.

use crate::{
    harness::{Ran, Stage},
    secrets::{Seen, seen},
};
use contract::Said;

/// In every wrong value.
const CANARY: &str = "finch";

/// A variable, a wrong value, and where the mistake shows when it is the only one: a run that
/// could report does so.
const WRONG: [(&str, &str, bool); 26] = [
    ("JOB_ID", "finch-job", false),
    ("AGENT_ID", "finch-agent", false),
    ("CALLBACK_URL", "finch-url", false),
    ("CALLBACK_URL", "http://finch.example/callback", false),
    (
        "CALLBACK_URL",
        "https://finch-user:finch-password@127.0.0.1/callback",
        false,
    ),
    (
        "CALLBACK_URL",
        "https://finch-user@127.0.0.1/callback",
        false,
    ),
    ("CALLBACK_ORIGIN", "finch-origin", false),
    ("CALLBACK_SECRET", "finch-secret", false),
    ("FENCE", "finch-fence", false),
    ("GITHUB_RUN_ATTEMPT", "finch-attempt", false),
    ("HEARTBEAT_SECONDS", "finch-seconds", false),
    ("JOB_STARTED_AT", "finch-started", false),
    ("OPERATION", "finch-operation", false),
    ("INSTALLATION", "-finch-installation", true),
    ("HETZNER_SSH_KEY_ID", "finch-key", true),
    ("HETZNER_FIREWALL_ID", "finch-firewall", true),
    ("HETZNER_API_URL", "finch-url", true),
    ("HETZNER_API_URL", "http://finch.example/v1", true),
    (
        "HETZNER_API_URL",
        "https://finch-user:finch-password@127.0.0.1/v1",
        true,
    ),
    ("TAILSCALE_API_URL", "finch-url", true),
    ("TAILSCALE_API_URL", "http://finch.example/v1", true),
    (
        "TAILSCALE_API_URL",
        "https://finch-user:finch-password@127.0.0.1/v1",
        true,
    ),
    ("TAILSCALE_TAG", "finch-tag", true),
    ("TAILSCALE_TAG", "finch:tag", true),
    ("TAILSCALE_EPHEMERAL", "finch-ephemeral", true),
    ("TAILSCALE_EPHEMERAL", "True finch", true),
];

fn assert_unseen(seen: &Seen, what: &str) {
    for (place, text) in seen {
        assert!(!text.contains(CANARY), "{what}: {place} shows it: {text}");
    }
}

fn printed(ran: &Ran) -> Seen {
    vec![
        ("stdout", ran.stdout.clone()),
        ("stderr", ran.stderr.clone()),
    ]
}

/// A stage whose environment tells the operation; an argument would hide a wrong one.
async fn stage() -> Stage {
    let mut stage = Stage::new().await;
    stage.set("OPERATION", "provision");
    stage
}

#[tokio::test]
async fn each_mistake_names_its_variable_and_not_the_value() {
    for (name, value, is_reported) in WRONG {
        let what = format!("{name}={value}");
        let mut stage = stage().await;
        stage.set(name, value);
        let ran = stage.run(&[]).await;
        assert_unseen(&seen(&stage, &ran), &what);
        assert!(ran.stdout.contains(&format!("{name} ")), "{what}: {ran:#?}");
        assert_eq!(stage.world().calls, [], "{what}");
        let reports = stage.callback.reports();
        if is_reported {
            assert_eq!(ran.code, Some(1), "{what}: {ran:#?}");
            let last = reports.last().unwrap();
            assert_eq!(last.said, Said::Failed, "{what}");
            assert!(
                last.error.as_ref().unwrap().contains(name),
                "{what}: {last:#?}"
            );
        } else {
            assert_eq!(ran.code, Some(2), "{what}: {ran:#?}");
            assert_eq!(reports, [], "{what}");
        }
    }
}

#[tokio::test]
async fn all_mistakes_are_named_together_and_no_value() {
    let mut stage = stage().await;
    for (name, value, _) in WRONG {
        stage.set(name, value);
    }
    let ran = stage.run(&[]).await;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert_unseen(&seen(&stage, &ran), "all");
    for (name, ..) in WRONG {
        assert!(ran.stdout.contains(&format!("{name} ")), "{name}: {ran:#?}");
    }
    assert_eq!(
        (stage.world().calls.len(), stage.callback.bodies().len()),
        (0, 0)
    );
}

#[tokio::test]
async fn the_failure_step_names_its_mistakes_and_no_value() {
    for (name, value, is_of_others) in WRONG {
        // It makes no machine, and its operation is its argument.
        if is_of_others || name == "OPERATION" {
            continue;
        }
        let what = format!("{name}={value}");
        let mut stage = stage().await;
        stage.set(name, value);
        let ran = stage.run(&["report-failure"]).await;
        assert_eq!(ran.code, Some(2), "{what}: {ran:#?}");
        assert_unseen(&seen(&stage, &ran), &what);
        assert!(ran.stdout.contains(&format!("{name} ")), "{what}: {ran:#?}");
        assert_eq!(stage.callback.reports(), [], "{what}");
    }
}

#[tokio::test]
async fn the_doctor_names_mistakes_and_no_value() {
    for (name, value, _) in WRONG {
        let what = format!("{name}={value}");
        let mut stage = stage().await;
        stage.set(name, value);
        let ran = stage.run(&["doctor"]).await;
        assert_unseen(&printed(&ran), &what);
        let line = format!("wrong          {name}: ");
        let is_named = ran.stdout.contains(&line);
        // What belongs to one run is not the doctor's matter.
        let of_a_run = [
            "JOB_ID",
            "AGENT_ID",
            "FENCE",
            "GITHUB_RUN_ATTEMPT",
            "OPERATION",
        ];
        assert_eq!(is_named, !of_a_run.contains(&name), "{what}: {ran:#?}");
    }
}

#[tokio::test]
async fn help_shows_no_value() {
    let mut stage = stage().await;
    for (name, value, _) in WRONG {
        stage.set(name, value);
    }
    for flag in ["--help", "-h", "--version"] {
        let ran = stage.run(&[flag]).await;
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert_unseen(&printed(&ran), flag);
    }
}
