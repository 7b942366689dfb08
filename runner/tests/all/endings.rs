//! How a run ends that does not simply succeed: refused claims, stop orders, signals, death.

use crate::{
    callback::Bend,
    deaths::LAST_WORDS,
    door::Doors,
    harness::{Ran, Stage, finish, quick},
};
use contract::{ErrorClass, Said, Step};
use http::Method;
use sim::{DelayRange, Knob, Sim, Vendor};
use std::{process::Stdio, sync::Arc, time::Duration};
use tokio::{process::Child, sync::watch, time::Instant};

/// Most time from a signal to the end of a process on a busy machine. That it takes no seven
/// seconds of its own is shown in virtual time: by `kills` at every call, by `last_moments` where
/// a server is locked.
pub(crate) const SIGNAL_MAX: Duration = Duration::from_secs(15);

pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("the runner runs").to_string();
    let status = tokio::process::Command::new("kill")
        .args(["-s", name, &id])
        .stdin(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_refused_claim_ends_without_any_effect() {
    for (status, code) in [(409, 3), (404, 1), (401, 1), (400, 1), (413, 1)] {
        let stage = Stage::new().await;
        stage.callback.bend(9, Bend::Status(status), |_| true);
        let ran = stage.run(&["provision"]).await;
        assert_eq!(ran.code, Some(code), "{status}: {ran:#?}");
        assert_eq!(stage.callback.reports().len(), 1, "{status}");
        assert_eq!(stage.world().calls, [], "{status}");
        assert!(stage.path("marker").exists(), "{status}");
        let ran = stage.run(&["report-failure"]).await;
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        assert_eq!(stage.callback.reports().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_stop_order_is_obeyed_and_undone() {
    for step in [Step::KeyCreated, Step::VmCreated, Step::Enrolled] {
        let stage = Stage::new().await;
        stage
            .callback
            .bend(99, Bend::Stop, move |report| report.step == Some(step));
        let ran = stage.run(&["provision"]).await;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(stage.callback.last().error.unwrap().contains("not wanted"));
        stage.assert_clean();
    }
}

#[tokio::test]
async fn a_stop_order_by_heartbeat_is_obeyed() {
    let mut stage = Stage::new().await;
    stage.set("HEARTBEAT_SECONDS", "1");
    stage.sim.turn(Knob::BootHangs(true));
    stage.callback.bend(99, Bend::Stop, |report| {
        report.said == Said::Heartbeat && report.facts.server_id.is_some()
    });
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    stage.assert_clean();
}

#[tokio::test]
async fn a_fenced_run_undoes_its_own_and_says_nothing_more() {
    let fenced: [fn(&contract::Report) -> bool; 2] = [
        |report| report.step == Some(Step::VmCreated),
        |report| report.said == Said::Running,
    ];
    for fits in fenced {
        let stage = Stage::new().await;
        stage.callback.bend(99, Bend::Status(409), fits);
        let ran = stage.run(&["provision"]).await;
        assert_eq!(ran.code, Some(3), "{ran:#?}");
        assert!(fits(stage.callback.reports().last().unwrap()));
        stage.assert_clean();
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_told_leaves_the_machine() {
    let stage = Stage::new().await;
    stage
        .callback
        .bend(99, Bend::Cut, |report| report.said == Said::Running);
    let child = stage.start(&["provision"]);
    stage
        .callback
        .until(|reports| {
            reports
                .iter()
                .filter(|one| one.said == Said::Running)
                .count()
                >= 2
        })
        .await;
    signal(&child, "INT").await;
    let ran = finish(child).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    stage.assert_complete();
    assert!(!stage.path("marker").exists());
}

#[tokio::test]
async fn signals_end_a_run_wherever_it_is() {
    let mut config = quick();
    config.hetzner.create_delay = DelayRange::millis(1_500, 1_500);
    config.hetzner.boot_delay = DelayRange::millis(60_000, 60_000);
    let mut unheard = 0;
    for (name, step) in [
        ("INT", None),
        ("TERM", Some(Step::KeyCreated)),
        ("INT", Some(Step::VmCreated)),
    ] {
        let stage = Stage::with(config.clone()).await;
        let child = stage.start(&["provision"]);
        stage
            .callback
            .until(|reports| match step {
                None => !reports.is_empty(),
                Some(Step::VmCreated) => reports.iter().any(|one| one.facts.server_id.is_some()),
                step => reports.iter().any(|one| one.step == step),
            })
            .await;
        let asked = Instant::now();
        signal(&child, name).await;
        let ran = finish(child).await;
        let took = asked.elapsed();
        assert!(took < SIGNAL_MAX, "{took:?}");
        assert_eq!(ran.code, Some(130), "{ran:#?}");
        if took >= LAST_WORDS && !stage.path("marker").exists() {
            // The machine stood still while the last report was to be told.
            unheard += 1;
            continue;
        }
        let last = stage.callback.last();
        assert_eq!(
            (last.said, last.error_class),
            (Said::Failed, Some(ErrorClass::Transient))
        );
        assert!(last.error.unwrap().contains("canceled"));
        assert!(stage.path("marker").exists());
        // The deletes were sent and are not awaited, and one may come after the end. How often
        // a locked server's is repeated is a matter of the time that a busy machine leaves.
        stage
            .until("deletes", |world| {
                let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers/");
                let sent = |id: u64| {
                    let id = id.to_string();
                    deletes.iter().any(|call| call.path.ends_with(&id))
                };
                let keys = world.keys.iter().all(|key| !key.usable);
                keys && world.servers.iter().all(|server| sent(server.id))
            })
            .await;
    }
    assert!(unheard <= 1, "{unheard} times no report came in time");
}

#[tokio::test]
async fn a_killed_runner_is_reported_by_the_failure_step() {
    let mut stage = Stage::new().await;
    stage.sim.turn(Knob::BootHangs(true));
    let mut child = stage.start(&["provision"]);
    stage
        .callback
        .until(|reports| reports.iter().any(|one| one.facts.server_id.is_some()))
        .await;
    child.kill().await.unwrap();
    // A call of the killed runner may still be on its way; the failure step would meet another
    // world, where its own would show.
    let elsewhere = Sim::start(quick()).await.unwrap();
    stage.set("HETZNER_API_URL", &elsewhere.hetzner_url());
    stage.set("TAILSCALE_API_URL", &elsewhere.tailscale_url());
    let ran = stage.run(&["report-failure"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let last = stage.callback.last();
    assert_eq!(
        (last.said, last.error.as_deref()),
        (Said::Failed, Some("the runner died"))
    );
    assert_eq!(last.sender.run(), stage.callback.reports()[0].sender.run());
    assert_eq!(elsewhere.world().calls, []);
    assert!(stage.path("marker").exists());
}

#[tokio::test]
async fn wrong_settings_are_named_together_before_any_effect() {
    let mut stage = Stage::new().await;
    stage.set("HETZNER_SSH_KEY_ID", "");
    stage.set("TAILSCALE_TAG", "agent");
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let last = stage.callback.last();
    assert_eq!(last.error_class, Some(ErrorClass::Permanent));
    let error = last.error.unwrap();
    assert!(
        error.contains("HETZNER_SSH_KEY_ID") && error.contains("TAILSCALE_TAG"),
        "{error}"
    );
    assert_eq!(stage.world().calls, []);

    stage.set("JOB_ID", "");
    stage.set("FENCE", "zero");
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    for name in ["JOB_ID", "FENCE", "HETZNER_SSH_KEY_ID", "TAILSCALE_TAG"] {
        assert!(ran.stdout.contains(name), "{name}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn arguments_are_explained() {
    let stage = Stage::new().await;
    let ran = stage.run(&["--help"]).await;
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("report-failure"), "{}", ran.stdout);
    let ran = stage.run(&["fly"]).await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("invalid value 'fly'"), "{}", ran.stderr);
}

/// A run that is signaled while it undoes and its server is locked, after its end.
async fn signaled_while_undoing() -> (Stage, Ran) {
    let mut config = quick();
    config.hetzner.delete_delay = DelayRange::millis(60_000, 60_000);
    let mut stage = Stage::with(config).await;
    let doors = Doors::before(&mut stage).await;
    let (sent, mut undoing) = watch::channel(false);
    doors.keep(Arc::new(move |moment| {
        if moment.after && moment.call.starts_with("DELETE HETZNER") {
            sent.send_replace(true);
        }
        Box::pin(std::future::ready(()))
    }));
    stage.callback.bend(99, Bend::Stop, |report| {
        report.step == Some(Step::VmCreated)
    });
    let child = stage.start(&["provision"]);
    let begins = async { undoing.wait_for(|sent| *sent).await.is_ok() };
    let begins = tokio::time::timeout(Duration::from_mins(1), begins).await;
    assert!(begins.is_ok_and(|begins| begins), "undo deletes nothing");
    let asked = Instant::now();
    signal(&child, "INT").await;
    let ran = finish(child).await;
    let took = asked.elapsed();
    assert!(took < SIGNAL_MAX, "{took:?}");
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    (stage, ran)
}

#[tokio::test]
async fn a_signal_while_undoing_ends_the_run() {
    let (mut stage, mut ran) = signaled_while_undoing().await;
    if !stage.path("marker").exists() {
        // Once more: the machine may have stood still as long as there was to say anything.
        (stage, ran) = signaled_while_undoing().await;
    }
    assert!(stage.path("marker").exists(), "{ran:#?}");
    let error = stage.callback.last().error.unwrap();
    assert!(error.contains("deletes are sent"), "{error}");
    let world = stage.world();
    let deletes = world.calls_to(Vendor::Hetzner, &Method::DELETE, "/servers/");
    let statuses: Vec<_> = deletes.iter().map(|call| call.status).collect();
    // By undo, and by the last words at a server that is locked by then.
    let [first, rest @ ..] = &statuses[..] else {
        panic!("none was sent")
    };
    assert_eq!(*first, Some(200), "{statuses:?}");
    let refused = rest.iter().all(|status| *status == Some(423));
    assert!(refused && !rest.is_empty(), "{statuses:?}");
    assert_eq!(world.servers[0].status, "deleting");
}
