//! How a run ends, and that the callback hears of each end exactly once.

use contract::{Said, Step};

use crate::stage::{AGENT, JOB, NAME, Ran, Stage, quick, signal, slow_to_boot};

const MARKED: &str = "the runner has reported; nothing to do";
const SPOKE: &str = "reported that the runner died";

fn assert_no_secret(stage: &Stage, ran: &Ran) {
    for (name, secret) in &stage.secrets {
        assert!(
            !ran.log.contains(secret.as_str()),
            "{name} shows: {}",
            ran.log
        );
    }
}

/// The parent of a process: the second field after the name, which ends with a bracket.
fn parent(process: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Starts a run and waits until the runner is in the middle of it.
async fn in_the_middle(stage: &Stage) -> (tokio::process::Child, u32) {
    let act = stage.start();
    let made = |step| step == Some(Step::KeyCreated);
    stage.receiver.until(move |report| made(report.step)).await;
    let runner = stage.runner_process().await;
    // GitHub signals a step's own process and none below it: that has to be the runner.
    assert_eq!(
        Some(parent(runner)),
        act.id(),
        "the runner took the place of its shell"
    );
    (act, runner)
}

#[tokio::test]
async fn success_leaves_a_machine_its_outputs_and_no_second_word() {
    let stage = Stage::new(quick()).await;
    let ran = stage.run().await;
    assert!(ran.good, "{}", ran.log);
    let world = stage.sim.world();
    let server = world.server(NAME).expect("the agent's server is there");
    assert_eq!(server.labels["agent_id"], AGENT);
    assert_eq!(server.labels["provisioning_job_id"], JOB);
    assert_eq!(world.devices.len(), 1);
    let end = stage.receiver.end();
    assert_eq!((end.said, end.job_id.as_str()), (Said::Running, JOB));
    for (output, value) in [
        ("server_id", server.id.to_string()),
        ("server_ip", server.ipv4.clone().unwrap()),
        ("tailscale_ip", world.devices[0].ipv4.clone()),
        ("server_name", NAME.to_owned()),
    ] {
        let shown = format!("{output}={value}");
        assert!(ran.log.contains(&shown), "{shown}: {}", ran.log);
    }
    assert!(
        !ran.log.contains("Report the runner's death"),
        "{}",
        ran.log
    );
    assert_no_secret(&stage, &ran);
}

#[tokio::test]
async fn a_failing_operation_is_reported_by_the_runner_alone() {
    let mut stage = Stage::new(quick()).await;
    stage.vars.insert("HETZNER_SSH_KEY_ID", "999".to_owned());
    let ran = stage.run().await;
    assert!(!ran.good, "{}", ran.log);
    let end = stage.receiver.end();
    assert_eq!(end.said, Said::Failed);
    assert_ne!(end.error.as_deref(), Some("the runner died"));
    assert!(ran.log.contains(MARKED), "{}", ran.log);
    assert_eq!(stage.sim.world().servers, []);
    assert_no_secret(&stage, &ran);
}

#[tokio::test]
async fn a_killed_runner_is_spoken_for() {
    let stage = Stage::new(slow_to_boot()).await;
    let (act, runner) = in_the_middle(&stage).await;
    signal("-KILL", runner);
    let ran = stage.finish(act).await;
    assert!(!ran.good && ran.log.contains(SPOKE), "{}", ran.log);
    let end = stage.receiver.end();
    assert_eq!(end.said, Said::Failed);
    assert_eq!(end.error.as_deref(), Some("the runner died"));
    let claim = &stage.receiver.reports()[0];
    assert_eq!(end.sender.run(), claim.sender.run(), "the run that claimed");
    assert_no_secret(&stage, &ran);
}

/// GitHub's cancel: SIGINT to the step's own process, which is the runner thanks to `exec`.
#[tokio::test]
async fn a_cancelled_runner_speaks_for_itself() {
    let stage = Stage::new(slow_to_boot()).await;
    let (act, runner) = in_the_middle(&stage).await;
    signal("-INT", runner);
    let ran = stage.finish(act).await;
    assert!(!ran.good && ran.log.contains(MARKED), "{}", ran.log);
    let end = stage.receiver.end();
    assert_eq!(end.said, Said::Failed);
    assert_ne!(end.error.as_deref(), Some("the runner died"));
    assert_no_secret(&stage, &ran);
}

/// `act` kills a cancelled step at once, as GitHub does after ten seconds: the failure step is
/// run all the same, and speaks unless the runner was quick enough to.
#[tokio::test]
async fn a_cancelled_run_is_reported_once_though_the_runner_has_no_time() {
    let stage = Stage::new(slow_to_boot()).await;
    let (act, _) = in_the_middle(&stage).await;
    signal("-INT", act.id().expect("act runs"));
    let ran = stage.finish(act).await;
    let end = stage.receiver.end();
    assert_eq!(end.said, Said::Failed);
    let is_dead = end.error.as_deref() == Some("the runner died");
    let words = if is_dead { SPOKE } else { MARKED };
    assert!(!ran.good && ran.log.contains(words), "{}", ran.log);
}
