//! No secret shows anywhere: a canary in every setting, every operation, then a search through
//! everything that comes out. Which of the other settings shows where is written down here.

use crate::{
    callback::{Bend, SECRET},
    door::Doors,
    harness::{AGENT, HETZNER_TOKEN, JOB, Ran, Stage, TAILSCALE_SECRET, finish},
    lab::{Gate, open},
    scene::prompt,
};
use contract::{Said, Spec};
use sim::SimConfig;
use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;
use url::form_urlencoded;

/// The settings that are secrets.
pub(crate) const SECRETS: [&str; 3] = [SECRET, HETZNER_TOKEN, TAILSCALE_SECRET];

/// A variable, a canary that is in its value, where a run shows it, and whether the doctor does.
struct Setting(&'static str, &'static str, &'static [&'static str], bool);

/// Every variable that a canary fits into. What shows where is shown there on purpose.
const SETTINGS: [Setting; 28] = [
    Setting("CALLBACK_SECRET", SECRET, &[], false),
    Setting("HETZNER_API_TOKEN", HETZNER_TOKEN, &[], false),
    Setting(
        "TAILSCALE_OAUTH_CLIENT_SECRET",
        TAILSCALE_SECRET,
        &[],
        false,
    ),
    Setting("TAILSCALE_OAUTH_CLIENT_ID", "finch-client-id", &[], false),
    // The name of the firewall that is made holds it.
    Setting("INSTALLATION", "finch-installation", &["stdout"], true),
    Setting(
        "HETZNER_SERVER_TYPE",
        "finch-type",
        &["stdout", "summary"],
        true,
    ),
    Setting("HETZNER_IMAGE", "finch-image", &[], true),
    Setting("HETZNER_SSH_KEY_ID", "88000001", &[], true),
    Setting("HETZNER_FIREWALL_ID", "91000001", &[], true),
    Setting("HETZNER_API_URL", "127.0.0.1:", &[], false),
    Setting("TAILSCALE_API_URL", "127.0.0.1:", &[], false),
    Setting("TAILSCALE_TAG", "finch-tag", &["stdout"], true),
    // One that nobody knows is warned about.
    Setting("REGION", "finch-region", &["stdout"], true),
    Setting("CALLBACK_URL", "finch-query", &[], false),
    Setting("CALLBACK_ORIGIN", "finch-origin", &[], false),
    Setting("JOB_ID", JOB, &["reports"], false),
    // The name of the agent's server holds it.
    Setting(
        "AGENT_ID",
        AGENT,
        &["outputs", "reports", "summary", "user data"],
        false,
    ),
    Setting("FENCE", "66000", &["reports"], false),
    Setting("GITHUB_RUN_ID", "finch-run", &["reports"], false),
    Setting("GITHUB_RUN_ATTEMPT", "77000077", &["reports"], false),
    // Not read where an argument says what to do.
    Setting("OPERATION", "finch-operation", &[], false),
    Setting("HEARTBEAT_SECONDS", "000000000000073", &[], false),
    Setting("JOB_STARTED_AT", "99000099000", &[], false),
    Setting("GITHUB_OUTPUT", "finch-output", &[], false),
    Setting("GITHUB_STEP_SUMMARY", "finch-summary", &[], false),
    Setting("RUNNER_MARKER", "finch-marker", &[], false),
    // The runner knows nothing of these.
    Setting("GITHUB_TOKEN", "finch-github-token", &[], false),
    Setting("DATABASE_URL", "finch-database", &[], false),
];

/// Variables that are true or false: too little for a canary.
const SWITCHES: [&str; 2] = ["GITHUB_ACTIONS", "TAILSCALE_EPHEMERAL"];

/// A place that people or programs can see, and what is there.
pub(crate) type Seen = Vec<(&'static str, String)>;

/// Everything a run leaves.
pub(crate) fn seen(stage: &Stage, ran: &Ran) -> Seen {
    let world = stage.world();
    let servers = world.servers.iter().chain(&world.deleted_servers);
    let user_data: Vec<String> = servers.map(|server| server.user_data.clone()).collect();
    let file = |name: &str| fs::read_to_string(&stage.vars[name]).unwrap_or_default();
    vec![
        ("stdout", ran.stdout.clone()),
        ("stderr", ran.stderr.clone()),
        ("reports", stage.callback.bodies().join("\n")),
        ("outputs", file("GITHUB_OUTPUT")),
        ("summary", file("GITHUB_STEP_SUMMARY")),
        ("marker", file("RUNNER_MARKER")),
        ("user data", user_data.join("\n")),
    ]
}

/// A secret as it is, as a form holds it, and as JSON does.
pub(crate) fn forms(secret: &str) -> [String; 3] {
    let json = serde_json::Value::from(secret).to_string();
    [
        secret.to_owned(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        json.strip_prefix('"')
            .unwrap()
            .strip_suffix('"')
            .unwrap()
            .to_owned(),
    ]
}

/// Asserts that no form of the secrets shows, neither its beginning nor its end.
pub(crate) fn assert_hidden(seen: &Seen, secrets: &[&str], what: &str) {
    for (place, text) in seen {
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            let (beginning, _) = form.split_at(8);
            let (_, end) = form.split_at(form.len() - 8);
            let shown = [beginning, end].map(|piece| text.contains(piece));
            assert_eq!(shown, [false; 2], "{what}: {place} shows {form}: {text}");
        }
    }
}

/// A world in which every canary is good.
fn config() -> SimConfig {
    let mut config = prompt();
    let hetzner = &mut config.hetzner;
    // What is made first, the firewall, gets it.
    hetzner.first_id = 91_000_001;
    let catalog = &mut hetzner.catalog;
    catalog.ssh_keys[0].id = 88_000_001;
    let mut server_type = catalog.server_types.last().unwrap().clone();
    "finch-type".clone_into(&mut server_type.name);
    server_type.id = 999;
    catalog.server_types.push(server_type);
    catalog.images[0].name = Some("finch-image".to_owned());
    "finch-client-id".clone_into(&mut config.tailscale.client_id);
    config.tailscale.tags = vec!["tag:finch-tag".to_owned()];
    config
}

/// A stage whose environment is full of canaries.
async fn full() -> (Stage, Doors) {
    let mut stage = Stage::with(config()).await;
    let url = format!("{}?finch-query=1", stage.callback.url);
    stage.set("CALLBACK_URL", &url);
    let doors = Doors::before(&mut stage).await;
    let origin = stage.vars["CALLBACK_URL"].replace("callback", "finch-origin");
    let own = [
        ("CALLBACK_ORIGIN", origin),
        ("TAILSCALE_TAG", "tag:finch-tag".to_owned()),
    ];
    for (name, value) in own {
        stage.set(name, &value);
    }
    for Setting(name, canary, ..) in SETTINGS {
        match name {
            // It is there only once a run has made it.
            "HETZNER_FIREWALL_ID" => {}
            "GITHUB_OUTPUT" | "GITHUB_STEP_SUMMARY" | "RUNNER_MARKER" => {
                let path = stage.path(canary).display().to_string();
                stage.set(name, &path);
            }
            _ if stage
                .vars
                .get(name)
                .is_some_and(|value| value.contains(canary)) => {}
            _ => stage.set(name, canary),
        }
    }
    let spec = Spec {
        agent_name: "finch-agent-name".to_owned(),
        ..Spec::default()
    };
    stage.callback.spec(spec, true);
    (stage, doors)
}

/// Runs the runner and looks at its arguments, and those of its children, at every call.
async fn watched(stage: &Stage, doors: &Doors, arguments: &[&str]) -> Seen {
    let processes = Arc::new(Mutex::new(Vec::new()));
    let (tell, told) = watch::channel(None);
    let list = Arc::clone(&processes);
    let gate: Gate = Arc::new(move |_| {
        let (mut told, list) = (told.clone(), Arc::clone(&list));
        Box::pin(async move {
            let id = *told.wait_for(Option::is_some).await.unwrap();
            list.lock().unwrap().push(command_lines(id.unwrap()));
        })
    });
    doors.keep(gate);
    let child = stage.start(arguments);
    tell.send_replace(child.id());
    let ran = finish(child).await;
    doors.keep(open());
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:#?}");
    let mut seen = seen(stage, &ran);
    let processes = processes.lock().unwrap();
    for lines in processes.iter() {
        assert!(lines.ends_with(arguments[0]), "{lines}");
    }
    assert!(!processes.is_empty(), "it called somebody");
    seen.push(("process list", processes.join("\n")));
    seen
}

/// The arguments of a process and, before them, of all that it started. What ends meanwhile has
/// none.
fn command_lines(process: u32) -> String {
    let mut lines = String::new();
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let children = fs::read_to_string(task.path().join("children"));
        for child in children.unwrap_or_default().split_whitespace() {
            lines.push_str(&command_lines(child.parse().unwrap()));
            lines.push('\n');
        }
    }
    let own = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    lines + own.trim_end_matches('\0')
}

/// The variables whose canaries show, each with its place.
fn shown(seen: &Seen) -> BTreeSet<(&'static str, &'static str)> {
    let mut shown = BTreeSet::new();
    for (place, text) in seen {
        let names = SETTINGS.iter().filter(|one| text.contains(one.1));
        shown.extend(names.map(|one| (one.0, *place)));
    }
    shown
}

#[test]
fn every_variable_is_searched_for() {
    let sources = [
        include_str!("../../src/settings.rs"),
        include_str!("../../src/main.rs"),
    ];
    let is_name = |text: &&str| {
        text.len() > 3
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let read: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split('"'))
        .filter(is_name)
        .collect();
    let searched: BTreeSet<&str> = SETTINGS.iter().map(|one| one.0).chain(SWITCHES).collect();
    let missing: Vec<_> = read.difference(&searched).collect();
    assert!(read.len() > 20 && missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn every_operation_shows_of_every_setting_only_what_it_should() {
    let (mut stage, doors) = full().await;
    let mut found = BTreeSet::new();
    let runs = [
        ("provision", "660001"),
        ("stop", "660002"),
        ("start", "660003"),
        ("destroy", "660004"),
        ("provision", "660005"),
        ("report-failure", "660006"),
    ];
    for (operation, fence) in runs {
        stage.set("FENCE", fence);
        if operation == "report-failure" {
            fs::remove_file(&stage.vars["RUNNER_MARKER"]).unwrap();
        }
        let seen = watched(&stage, &doors, &[operation]).await;
        assert_hidden(&seen, &SECRETS, operation);
        for (place, text) in &seen {
            assert!(!text.contains("finch-agent-name"), "{place}: {text}");
        }
        found.extend(shown(&seen));
        let made = stage.world().firewalls[0].id.to_string();
        stage.set("HETZNER_FIREWALL_ID", &made);
    }
    let table = SETTINGS.iter();
    let table = table.flat_map(|one| one.2.iter().map(|place| (one.0, *place)));
    assert_eq!(found, table.collect());
    assert_eq!(stage.callback.last().error.unwrap(), "the runner died");
}

#[tokio::test]
async fn the_doctor_shows_of_every_setting_only_what_it_judges() {
    let (mut stage, doors) = full().await;
    watched(&stage, &doors, &["provision"]).await;
    stage.set("HETZNER_FIREWALL_ID", "91000001");
    let heartbeat = |report: &contract::Report| report.said == Said::Heartbeat;
    stage.callback.bend(1, Bend::Status(404), heartbeat);
    let ran = stage.run(&["doctor"]).await;
    // The region that nobody knows is all that is wrong.
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.stdout.contains("16 ok, 1 wrong, 0 could"), "{ran:#?}");
    let printed: Seen = vec![("stdout", ran.stdout), ("stderr", ran.stderr)];
    assert_hidden(&printed, &SECRETS, "doctor");
    assert_hidden(&printed, &["tskey-api-"], "doctor");
    let judged = SETTINGS.iter().filter(|one| one.3);
    let judged: BTreeSet<_> = judged.map(|one| (one.0, "stdout")).collect();
    assert_eq!(shown(&printed), judged);
}

#[tokio::test]
async fn the_minted_key_shows_in_the_user_data_and_in_its_mask_only() {
    let (stage, doors) = full().await;
    let seen = watched(&stage, &doors, &["provision"]).await;
    let stdout = &seen[0].1;
    let masks = stdout.lines();
    let masked: Vec<&str> = masks
        .filter_map(|line| line.strip_prefix("::add-mask::"))
        .collect();
    let [key] = masked[..] else {
        panic!("one key is masked: {masked:?}")
    };
    for (place, text) in &seen {
        let expected = usize::from(["stdout", "user data"].contains(place));
        assert_eq!(text.matches(key).count(), expected, "{place}");
        assert_eq!(text.matches("tskey-").count(), expected, "{place}");
    }
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
