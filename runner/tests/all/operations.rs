//! What comes after a provision: stop, start, destroy; each may be repeated.

use crate::harness::{AGENT, NAME, Stage};
use contract::{ErrorClass, Outcome, Said, Step};
use http::Method;
use sim::{DecoyDevice, DecoyServer, Effect, Fault, FaultBody, Knob, Vendor, World};
use std::collections::BTreeMap;

/// Runs an operation as the attempt of this fence and asserts that it succeeded.
async fn done(stage: &mut Stage, operation: &str, fence: &str) {
    stage.set("FENCE", fence);
    let ran = stage.run(&[operation]).await;
    assert_eq!(ran.code, Some(0), "{operation}: {ran:#?}");
}

fn steps(stage: &Stage, fence: i64) -> Vec<Step> {
    let reports = stage.callback.reports();
    let own = reports
        .iter()
        .filter(|report| report.sender.fence() == fence);
    own.filter_map(|report| report.step).collect()
}

#[tokio::test]
async fn a_machine_is_stopped_and_started_with_its_address_kept() {
    let mut stage = Stage::new().await;
    done(&mut stage, "provision", "1").await;
    let made = stage.callback.last().facts;
    for (operation, fence, status, step, outcome) in [
        ("stop", 2, "off", Step::Stopped, None),
        ("stop", 3, "off", Step::Stopped, None),
        ("start", 4, "running", Step::Started, Some(Outcome::Ready)),
        ("start", 5, "running", Step::Started, Some(Outcome::Ready)),
    ] {
        done(&mut stage, operation, &fence.to_string()).await;
        assert_eq!(
            stage.world().server(NAME).unwrap().status,
            status,
            "{operation} {fence}"
        );
        assert_eq!(steps(&stage, fence), [step]);
        let last = stage.callback.last();
        assert_eq!((last.said, last.outcome), (Said::Running, outcome));
        assert_eq!(last.facts.server_id, made.server_id);
        assert_eq!(last.facts.server_ip, made.server_ip);
        let device = (outcome.is_some())
            .then_some(())
            .and(made.device_id.clone());
        assert_eq!(last.facts.device_id, device);
    }
    assert_eq!(stage.callback.last().facts.tailscale_ip, made.tailscale_ip);
}

#[tokio::test]
async fn a_start_that_fails_or_has_no_effect_is_asked_for_again() {
    let command = "start_server".to_owned();
    for knob in [
        Knob::FailAction { command, times: 1 },
        Knob::StartLeavesOff(1),
    ] {
        let mut stage = Stage::new().await;
        done(&mut stage, "provision", "1").await;
        done(&mut stage, "stop", "2").await;
        stage.sim.turn(knob);
        done(&mut stage, "start", "3").await;
        assert_eq!(stage.world().server(NAME).unwrap().status, "running");
        let asked = stage.world();
        let asked = asked.calls_to(Vendor::Hetzner, &Method::POST, "/poweron");
        assert_eq!(asked.len(), 2);
    }
}

#[tokio::test]
async fn stop_and_start_of_nothing_fail_and_change_nothing() {
    for operation in ["stop", "start"] {
        let stage = Stage::new().await;
        let ran = stage.run(&[operation]).await;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        let last = stage.callback.last();
        assert_eq!(last.error_class, Some(ErrorClass::Permanent));
        assert!(last.error.unwrap().contains("the agent has no server"));
    }
}

#[tokio::test]
async fn a_canceled_start_deletes_nothing() {
    let mut stage = Stage::new().await;
    done(&mut stage, "provision", "1").await;
    done(&mut stage, "stop", "2").await;
    stage.set("FENCE", "3");
    // It is asked for again and again until the signal comes.
    stage.sim.turn(Knob::StartLeavesOff(u32::MAX));
    let child = stage.start(&["start"]);
    let asked = |world: &World| {
        let asked = world.calls_to(Vendor::Hetzner, &Method::POST, "/poweron");
        !asked.is_empty()
    };
    stage.until("a start", asked).await;
    crate::endings::signal(&child, "TERM").await;
    let ran = crate::harness::finish(child).await;
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    stage.assert_complete();
    stage.sim.turn(Knob::StartLeavesOff(0));
    done(&mut stage, "start", "4").await;
    stage.assert_complete();
}

#[tokio::test]
async fn everything_of_the_agent_is_removed_and_nothing_else() {
    let mut stage = Stage::new().await;
    done(&mut stage, "provision", "1").await;
    let labels = |agent: &str| {
        [
            ("managed_by", "slipway"),
            ("installation", "default"),
            ("agent_id", agent),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    };
    let decoy = |name: &str, labels: BTreeMap<String, String>| DecoyServer {
        name: name.to_owned(),
        labels,
        ..DecoyServer::default()
    };
    stage.sim.add_server(&decoy("other", labels("another")));
    stage
        .sim
        .add_server(&decoy("agent-look-alike", BTreeMap::new()));
    stage.sim.add_server(&decoy("second", labels(AGENT)));
    let device = DecoyDevice {
        hostname: NAME.to_owned(),
        tags: vec!["tag:other".to_owned()],
        ..DecoyDevice::default()
    };
    stage.sim.add_device(&device);
    stage.sim.turn(Knob::FailAction {
        command: "delete_server".to_owned(),
        times: 1,
    });
    let body = FaultBody::Error {
        code: "locked".to_owned(),
        message: "locked".to_owned(),
    };
    let locked = Effect::Status { status: 423, body };
    stage.sim.add_fault(Fault::once(
        Vendor::Hetzner,
        Method::DELETE,
        "/servers",
        locked,
    ));

    for fence in [2, 3] {
        done(&mut stage, "destroy", &fence.to_string()).await;
        assert_eq!(steps(&stage, fence), [Step::Deleted]);
        let last = stage.callback.last();
        assert_eq!(
            (last.said, last.inventory),
            (Said::Running, Some(Vec::new()))
        );
        let world = stage.world();
        let mut names: Vec<_> = world.servers.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["agent-look-alike", "other"]);
        assert_eq!(world.devices.len(), 1, "the decoy stays");
        assert!(world.keys.iter().all(|key| !key.usable));
    }
}

#[tokio::test]
async fn a_stale_destroy_touches_nothing() {
    let mut stage = Stage::new().await;
    done(&mut stage, "provision", "5").await;
    stage.set("FENCE", "4");
    for operation in ["destroy", "stop"] {
        let ran = stage.run(&[operation]).await;
        assert_eq!(ran.code, Some(1), "{ran:#?}");
        assert!(stage.callback.last().error.unwrap().contains("stale"));
        stage.assert_complete();
        assert_eq!(stage.world().server(NAME).unwrap().status, "running");
    }
}

#[tokio::test]
async fn what_is_not_built_is_refused_clearly() {
    let stage = Stage::new().await;
    let ran = stage.run(&["configure"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let last = stage.callback.last();
    assert_eq!(last.error.as_deref(), Some("this runner cannot configure"));
    assert_eq!(last.error_class, Some(ErrorClass::Permanent));
}
