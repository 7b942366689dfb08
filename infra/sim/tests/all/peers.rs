//! The vendors' own client libraries drive the fakes and judge them.
//!
//! The scripts are in `tests/peers`; each ends with one line and status 0 when it is content.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use sim::stripe::events;
use sim::stripe::{CheckoutSession, EventHead, Invoice, InvoiceShape, Signer, Subscription};
use sim::{DecoyDevice, DelayRange, Sim, SimConfig, peers};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What a script is given.
struct Task<'a> {
    program: PathBuf,
    script: PathBuf,
    variables: &'a [(&'a str, String)],
    input: String,
}

/// Runs a script to its end; its words are the failure.
async fn run(task: Task<'_>) {
    let mut child = Command::new(task.program)
        .arg(&task.script)
        .envs(task.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(task.input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let script = task.script.display();
    assert!(
        output.status.success(),
        "{script}: {}\n{words}",
        output.status
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("peer content"),
        "{words}"
    );
}

async fn python() -> PathBuf {
    tokio::task::spawn_blocking(peers::python)
        .await
        .unwrap()
        .unwrap()
}

async fn node_script(name: &'static str, source: &'static str) -> PathBuf {
    let made = tokio::task::spawn_blocking(move || peers::node_script(name, source));
    made.await.unwrap().unwrap()
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

/// A world that hurries, for clients that wait in real time.
fn hurried() -> SimConfig {
    let mut config = SimConfig::default();
    config.hetzner.create_delay = DelayRange::millis(100, 200);
    config.hetzner.start_delay = DelayRange::millis(100, 200);
    // On a busy machine too, a call that follows a delete finds it at work.
    config.hetzner.delete_delay = DelayRange::millis(4_000, 4_000);
    config.github.run_start_delay = DelayRange::millis(600_000, 600_000);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn hetzners_client_is_content() {
    let sim = Sim::start(hurried()).await.unwrap();
    run(Task {
        program: python().await,
        script: script("hetzner.py"),
        variables: &[
            ("URL", sim.hetzner_url()),
            ("TOKEN", SimConfig::default().hetzner.token),
        ],
        input: String::new(),
    })
    .await;
    let world = sim.world();
    assert_eq!(world.servers.len(), 30);
    assert_eq!(world.deleted_servers[0].name, "peer-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tailscale_client_is_content() {
    let sim = Sim::start(hurried()).await.unwrap();
    for (hostname, online, external) in [
        ("online", true, false),
        ("offline", false, false),
        ("foreign", true, true),
    ] {
        sim.add_device(&DecoyDevice {
            hostname: hostname.to_owned(),
            tags: vec!["tag:agent".to_owned()],
            online,
            external,
            ..DecoyDevice::default()
        });
    }
    let own = SimConfig::default().tailscale;
    run(Task {
        program: python().await,
        script: script("tailscale_peer.py"),
        variables: &[
            ("URL", sim.tailscale_url()),
            ("CLIENT_ID", own.client_id),
            ("CLIENT_SECRET", own.client_secret),
        ],
        input: String::new(),
    })
    .await;
    assert!(sim.world().keys[0].revoked);
    assert_eq!(sim.world().devices.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_client_is_content() {
    let sim = Sim::start(hurried()).await.unwrap();
    let source = include_str!("../peers/github.mjs");
    let own = SimConfig::default().github;
    run(Task {
        program: PathBuf::from("node"),
        script: node_script("github.mjs", source).await,
        variables: &[
            ("URL", sim.github_url()),
            ("TOKEN", own.token),
            ("REPOSITORY", own.repository),
        ],
        input: String::new(),
    })
    .await;
    assert_eq!(sim.world().runs.len(), 3);
}

/// Every kind of event, signed.
fn signed_events() -> Value {
    let (secret, t) = ("whsec_peer_secret", 1_795_255_200);
    let signer = Signer::new(secret);
    let head = EventHead::new("evt_1", t);
    let session = CheckoutSession::subscription("cs_1", "sub_1", t);
    let subscription = Subscription::new("sub_1", "active", t);
    let invoice = Invoice::new("in_1", "sub_1", "subscription_cycle");
    let old = Invoice {
        shape: InvoiceShape::TopLevel,
        ..invoice.clone()
    };
    let all = [
        events::checkout_session_completed(&head, &session),
        events::checkout_session_async_payment_succeeded(&head, &session),
        events::checkout_session_async_payment_failed(&head, &session),
        events::checkout_session_expired(&head, &session),
        events::subscription_event(&head, "created", &subscription),
        events::subscription_event(&head, "updated", &subscription),
        events::subscription_event(&head, "deleted", &subscription),
        events::invoice_paid(&head, &invoice),
        events::invoice_paid(&head, &old),
        events::invoice_payment_failed(&head, &invoice),
        events::charge_refunded(&head, "pi_1", 2000),
        events::charge_dispute(&head, "pi_1", "needs_response"),
    ];
    let case = |event: &Value| {
        let payload = event.to_string();
        let header = signer.sign(payload.as_bytes(), t);
        json!({"payload": payload, "header": header, "type": event["type"]})
    };
    let thin = head.thin("checkout.session.completed", ("checkout.session", "cs_1"));
    let events: Vec<Value> = all.iter().map(case).collect();
    json!({"secret": secret, "t": t, "events": events, "thin": case(&thin)})
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_python_library_accepts_what_we_sign() {
    run(Task {
        program: python().await,
        script: script("stripe_peer.py"),
        variables: &[],
        input: signed_events().to_string(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripes_node_library_accepts_what_we_sign() {
    let source = include_str!("../peers/stripe_peer.mjs");
    run(Task {
        program: PathBuf::from("node"),
        script: node_script("stripe_peer.mjs", source).await,
        variables: &[],
        input: signed_events().to_string(),
    })
    .await;
}
