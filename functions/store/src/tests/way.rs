//! The way of a payment through the store, and the turns it can take.

use super::world::{World, at, machine};
use crate::{CommandRecord, Refusal, ReportOutcome, ReportRecord, ReportSaid};
use domain::{Command, ErrorClass, Fence, JobId};

#[tokio::test]
async fn a_payment_becomes_an_active_agent() {
    let world = World::new().await;
    let attempt = world.opened().await;
    assert_eq!(attempt.fence, Fence(1));
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision queued intended"
    );
    world
        .store
        .accept_attempt(attempt.agent_id, attempt.fence, Some(7001), at(2))
        .await
        .unwrap();
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision dispatched accepted"
    );
    let claim = world.report(&attempt, 1, ReportSaid::Progress);
    let accepted = world.accepted(&claim, at(10)).await;
    assert!(accepted.go_on);
    assert_eq!(accepted.due, Some(at(190)));
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision running claimed"
    );
    let step = ReportRecord {
        step: Some("vm_created".to_owned()),
        ..world.report(&attempt, 2, ReportSaid::Progress)
    };
    assert_eq!(world.accepted(&step, at(30)).await.due, Some(at(210)));
    let done = world.success(&attempt);
    assert_eq!(world.accepted(&done, at(60)).await.next, None);
    assert_eq!(
        world.state(attempt.agent_id).await,
        "active: provision succeeded succeeded"
    );
    assert_eq!(world.tell(&done, at(61)).await, ReportOutcome::Repeat);
    assert_eq!(world.tell(&claim, at(62)).await, ReportOutcome::Repeat);
    let status = world
        .store
        .agent_status(attempt.agent_id, at(70))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.instance.unwrap().server_id, "42");
    let passed: Vec<String> = status
        .passed
        .into_iter()
        .map(|passed| passed.what)
        .collect();
    assert_eq!(passed, ["draft", "provisioning", "vm_created", "active"]);
}

#[tokio::test]
async fn only_the_run_that_claimed_is_heard() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let claim = world.report(&attempt, 1, ReportSaid::Progress);
    let first = world.accepted(&claim, at(2)).await;
    assert_eq!(world.accepted(&claim, at(3)).await.name, first.name);
    let rerun = ReportRecord {
        run_attempt: 2,
        ..claim.clone()
    };
    let doubled = ReportRecord {
        workflow_run_id: "7002".to_owned(),
        ..claim.clone()
    };
    let stale = ReportRecord {
        fence: Fence(2),
        ..claim.clone()
    };
    let failed_by_other = ReportRecord {
        workflow_run_id: "7002".to_owned(),
        ..world.failure(&attempt, ErrorClass::Permanent)
    };
    for other in [rerun, doubled, stale, failed_by_other] {
        assert_eq!(
            world.tell(&other, at(4)).await,
            ReportOutcome::Fenced,
            "{other:?}"
        );
    }
    let elsewhere = ReportRecord {
        job_id: JobId(world.id()),
        ..claim
    };
    assert_eq!(
        world.tell(&elsewhere, at(4)).await,
        ReportOutcome::UnknownJob
    );
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision running claimed"
    );
}

#[tokio::test]
async fn ids_are_written_once_in_whatever_order() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let mut late = world.report(&attempt, 2, ReportSaid::Progress);
    late.step = Some("vm_created".to_owned());
    late.facts.server_id = Some("42".to_owned());
    let mut early = world.report(&attempt, 1, ReportSaid::Progress);
    early.step = Some("key_created".to_owned());
    early.facts.server_ip = Some("203.0.113.5".to_owned());
    world.accepted(&late, at(3)).await;
    world.accepted(&early, at(4)).await;
    let status = world
        .store
        .agent_status(attempt.agent_id, at(5))
        .await
        .unwrap()
        .unwrap();
    let step = status.job.unwrap().attempt.unwrap().step;
    assert_eq!(step.as_deref(), Some("vm_created"));
    let mut other = world.report(&attempt, 3, ReportSaid::Progress);
    other.facts.server_id = Some("43".to_owned());
    assert_eq!(
        world.tell(&other, at(6)).await,
        ReportOutcome::ConflictingIds
    );
    let mut done = world.report(
        &attempt,
        4,
        ReportSaid::Succeeded {
            awaiting_credentials: true,
        },
    );
    done.facts.tailscale_ip = machine().tailscale_ip;
    world.accepted(&done, at(7)).await;
    let status = world
        .store
        .agent_status(attempt.agent_id, at(8))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.state.as_str(), "awaiting_credentials");
    assert_eq!(status.instance.unwrap().server_id, "42");
}

#[tokio::test]
async fn a_machine_that_came_back_is_shown_at_its_new_address() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let agent = attempt.agent_id;
    world.accepted(&world.success(&attempt), at(5)).await;
    let address = async || {
        let status = world.store.agent_status(agent, at(0)).await;
        status.unwrap().unwrap().instance.unwrap().tailscale_ip
    };
    let provisioned = address().await;
    for (command, told, now, shown) in [
        (Command::Stop, None, 10, provisioned.as_str()),
        (Command::Start, Some("100.64.0.9"), 20, "100.64.0.9"),
        (Command::Stop, None, 30, "100.64.0.9"),
        (Command::Start, None, 40, "100.64.0.9"),
    ] {
        let record = CommandRecord {
            agent_id: agent,
            command,
            by: "customer",
            key: None,
            fresh_job_id: JobId(world.id()),
        };
        world.store.command_agent(&record, at(now)).await.unwrap();
        let call = world.id();
        let opened = world.store.open_due_attempts(at(now), 9, call).await;
        let opened = opened.unwrap().remove(0);
        let said = ReportSaid::Succeeded {
            awaiting_credentials: false,
        };
        let mut done = world.report(&opened, 1, said);
        done.facts.tailscale_ip = told.map(str::to_owned);
        world.accepted(&done, at(now + 5)).await;
        assert_eq!(address().await, shown, "{command:?}");
    }
}

#[tokio::test]
async fn a_transient_failure_is_retried_three_times_and_then_cleaned_up() {
    let world = World::new().await;
    let mut attempt = world.opened().await;
    let mut now = 10;
    for (number, wait) in [(1, 30), (2, 120), (3, 480)] {
        assert_eq!(attempt.number, number);
        let failure = world.failure(&attempt, ErrorClass::Transient);
        let next = world.accepted(&failure, at(now)).await.next.unwrap();
        assert_eq!((next.job_id, next.due), (attempt.job_id, at(now + wait)));
        assert_eq!(world.tell(&failure, at(now)).await, ReportOutcome::Fenced);
        assert!(
            world
                .store
                .open_due_attempts(at(now + wait - 1), 9, world.id())
                .await
                .unwrap()
                .is_empty()
        );
        now += wait;
        attempt = world
            .store
            .open_due_attempts(at(now), 9, world.id())
            .await
            .unwrap()
            .remove(0);
    }
    let failure = world.failure(&attempt, ErrorClass::Transient);
    let clean_up = world.accepted(&failure, at(now)).await.next.unwrap();
    assert_ne!(clean_up.job_id, attempt.job_id);
    assert_eq!(
        world.state(attempt.agent_id).await,
        "failed: destroy queued none"
    );
    let destroy = world
        .store
        .open_due_attempts(at(now), 9, world.id())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (destroy.kind.as_str(), destroy.fence),
        ("destroy", Fence(5))
    );
    let said = ReportSaid::Succeeded {
        awaiting_credentials: false,
    };
    world
        .accepted(&world.report(&destroy, 2, said), at(now + 9))
        .await;
    let status = world
        .store
        .agent_status(attempt.agent_id, at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.state.as_str(), "failed");
    assert_eq!(status.reason.as_deref(), Some("it broke"));
    world.check().await;
}

#[tokio::test]
async fn a_permanent_failure_is_not_retried() {
    let world = World::new().await;
    let attempt = world.opened().await;
    world
        .accepted(&world.failure(&attempt, ErrorClass::Permanent), at(3))
        .await;
    assert_eq!(
        world.state(attempt.agent_id).await,
        "failed: destroy queued none"
    );
}

#[tokio::test]
async fn a_refused_attempt_uses_up_no_retry() {
    let world = World::new().await;
    let mut attempt = world.opened().await;
    let mut now = 5;
    for wait in [30, 60, 120, 240, 480, 900, 900] {
        let refusal = Refusal {
            reason: "GITHUB_TOKEN was refused (401)",
            not_before: at(now),
            fresh_job_id: JobId(world.id()),
        };
        let store = &world.store;
        let (agent, fence) = (attempt.agent_id, attempt.fence);
        let next = store
            .refuse_attempt(agent, fence, refusal, at(now))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((next.job_id, next.due), (attempt.job_id, at(now + wait)));
        assert_eq!(
            store
                .refuse_attempt(agent, fence, refusal, at(now))
                .await
                .unwrap(),
            None
        );
        let claim = world.report(&attempt, 1, ReportSaid::Progress);
        assert_eq!(world.tell(&claim, at(now)).await, ReportOutcome::Fenced);
        let status = world
            .store
            .agent_status(agent, at(now))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.job.unwrap().reason.as_deref(), Some(refusal.reason));
        now += wait;
        attempt = world
            .store
            .open_due_attempts(at(now), 9, world.id())
            .await
            .unwrap()
            .remove(0);
        assert_eq!(attempt.number, 1);
    }
    world.check().await;
}
