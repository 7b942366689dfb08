//! One payment becomes one active agent, and nothing else is left.

use std::time::Duration;

use sim::{Conclusion, DelayRange};
use tokio::time::{sleep, timeout};

use crate::scene::SOON;
use crate::world::{World, files};

const POLL: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_becomes_an_active_agent() {
    let world = World::start().await;
    let payment = world.pay().await;
    let view = world.ready(payment.agent_id).await;
    assert_eq!(view.status, "active");
    let steps: Vec<_> = view
        .passed
        .iter()
        .map(|passed| passed.what.as_str())
        .collect();
    for step in [
        "provisioning",
        "key_created",
        "vm_created",
        "enrolled",
        "active",
    ] {
        assert!(steps.contains(&step), "{step} is not in {steps:?}");
    }
    world.runs_finished().await;

    let outside = world.stack.sim().world();
    let name = format!("agent-{}", payment.agent_id);
    let names: Vec<_> = outside
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .collect();
    assert_eq!(names, [name.as_str()]);
    assert_eq!(outside.devices.len(), 1);
    assert_eq!(outside.devices[0].hostname, name);
    assert!(
        outside.keys.iter().all(|key| !key.usable),
        "{:?}",
        outside.keys
    );
    assert_eq!(outside.runs.len(), 1);
    assert_eq!(outside.runs[0].conclusion, Some(Conclusion::Success));
    assert_eq!(world.stack.queue().dead_letters(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_leaves_outputs_a_summary_and_a_marker() {
    let world = World::start().await;
    let payment = world.pay().await;
    world.ready(payment.agent_id).await;
    world.runs_finished().await;
    let runs = files(&world.stack.state_dir().join("runs"));
    assert_eq!(runs.len(), 1);
    let outputs = std::fs::read_to_string(runs[0].join("output")).unwrap();
    for name in ["server_id", "server_ip", "tailscale_ip", "server_name"] {
        assert!(outputs.contains(name), "{name} is not in {outputs}");
    }
    assert!(
        runs[0].join("marker").is_file(),
        "no marker: the failure step would report"
    );
    let summary = std::fs::read_to_string(runs[0].join("summary.md")).unwrap();
    assert!(summary.contains(&payment.agent_id.to_string()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed_by_any_process() {
    let mut tokens = Vec::new();
    let world = World::start_with(|config| {
        tokens = vec![
            config.sim.hetzner.token.clone(),
            config.sim.tailscale.client_secret.clone(),
            config.sim.github.token.clone(),
        ];
    })
    .await;
    let payment = world.pay().await;
    world.ready(payment.agent_id).await;
    world.runs_finished().await;
    let secrets = world.stack.secrets();
    tokens.extend([
        secrets.callback.clone(),
        secrets.stripe_webhook.clone(),
        secrets.api_token.clone(),
        secrets.spec_key.clone(),
    ]);
    let logs = world.logs();
    assert!(
        logs.contains("runner"),
        "the logs are not where they are looked for"
    );
    // GitHub hides a value after a workflow command has named it.
    let shown = logs
        .lines()
        .filter(|line| !line.starts_with("::add-mask::"));
    for line in shown {
        assert!(!tokens.iter().any(|token| line.contains(token)), "{line}");
        assert!(!line.contains("tskey-auth-"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_base64_work_too() {
    let world = World::start_with(|config| config.force_base64 = true).await;
    let payment = world.pay().await;
    world.ready(payment.agent_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_stopped_in_the_middle_leaves_no_process_and_no_files() {
    let world = World::start_with(|config| {
        config.sim.hetzner.boot_delay = DelayRange::millis(600_000, 600_000);
    })
    .await;
    for _ in 0..5 {
        world.pay().await;
    }
    let begun = || {
        world
            .taps
            .record()
            .iter()
            .filter(|p| p.program == "runner")
            .count()
    };
    let all = async {
        while begun() < 5 {
            sleep(POLL).await;
        }
    };
    let all = timeout(SOON, all).await;
    assert!(all.is_ok(), "{} runs began\n{}", begun(), world.logs());
    let World { stack, taps, .. } = world;
    let (dir, sim) = (stack.state_dir().to_path_buf(), stack.sim().clone());
    stack.stop();
    // No failure step may come, because its runner was killed with the stack. It would come before
    // its run is over.
    let over = async {
        while sim.world().runs.iter().any(|run| run.conclusion.is_none()) {
            sleep(POLL).await;
        }
    };
    let over = timeout(SOON, over).await;
    assert!(over.is_ok(), "a run goes on: {:?}", sim.world().runs);
    assert!(!dir.exists(), "{} is left", dir.display());
    assert!(
        taps.record()
            .iter()
            .all(|process| process.program != "report-failure")
    );
}
