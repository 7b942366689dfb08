//! The way of a payment through the store, and the turns it can take.

use super::world::{World, at, machine};
use crate::{Expiry, Refusal, ReportOutcome, ReportRecord, ReportSaid};
use domain::{AgentId, ErrorClass, Fence, JobId};

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
    assert_eq!(passed, ["provisioning", "vm_created", "active"]);
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
                .open_due_attempts(at(now + wait - 1), 9)
                .await
                .unwrap()
                .is_empty()
        );
        now += wait;
        attempt = world
            .store
            .open_due_attempts(at(now), 9)
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
        .open_due_attempts(at(now), 9)
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
            .open_due_attempts(at(now), 9)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(attempt.number, 1);
    }
    world.check().await;
}

#[tokio::test]
async fn an_attempt_expires_only_when_it_is_overdue() {
    let world = World::new().await;
    let attempt = world.opened().await;
    world
        .accepted(&world.report(&attempt, 1, ReportSaid::Progress), at(10))
        .await;
    assert!(
        world
            .store
            .overdue_attempts(at(189), 9)
            .await
            .unwrap()
            .is_empty()
    );
    let overdue = world
        .store
        .overdue_attempts(at(190), 9)
        .await
        .unwrap()
        .remove(0);
    world
        .accepted(&world.report(&attempt, 2, ReportSaid::Progress), at(190))
        .await;
    let expire = async |now| {
        let delays = domain::retry_delays(ErrorClass::Transient, || 1.0);
        let expiry = Expiry {
            reason: "no report for 180 s",
            retry_delays: &delays,
            fresh_job_id: JobId(world.id()),
        };
        world
            .store
            .expire_attempt(&overdue, expiry, now)
            .await
            .unwrap()
    };
    assert_eq!(expire(at(200)).await, None);
    let expired = expire(at(370)).await.unwrap();
    assert_eq!(expired.run_id, Some(7001));
    assert_eq!(expired.next.unwrap().due, at(400));
    assert_eq!(
        world.tell(&world.success(&attempt), at(371)).await,
        ReportOutcome::Fenced
    );
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision queued expired"
    );
    world.check().await;
}

#[tokio::test]
async fn the_work_has_an_end_however_many_heartbeats_come() {
    let world = World::new().await;
    let attempt = world.opened().await;
    for seconds in (10..=850).step_by(60) {
        let beat = world.report(&attempt, 1, ReportSaid::Progress);
        world.accepted(&beat, at(seconds)).await;
    }
    assert!(
        world
            .store
            .overdue_attempts(at(909), 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        world
            .store
            .overdue_attempts(at(910), 9)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_first_version_runner_that_names_no_server_leaves_a_reason_and_destroys_nothing() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let old = |said| ReportRecord {
        workflow_run_id: String::new(),
        run_attempt: 0,
        ..world.report(&attempt, 0, said)
    };
    let done = old(ReportSaid::Succeeded {
        awaiting_credentials: false,
    });
    world.accepted(&old(ReportSaid::Progress), at(5)).await;
    assert_eq!(world.accepted(&done, at(9)).await.next, None);
    let status = world
        .store
        .agent_status(attempt.agent_id, at(9))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.state.as_str(), "failed");
    assert_eq!(
        status.reason.as_deref(),
        Some("the runner reported no server")
    );
    assert_eq!(
        world.state(attempt.agent_id).await,
        "failed: provision failed failed"
    );
}

#[tokio::test]
async fn an_agent_canceled_meanwhile_is_destroyed_when_its_runner_succeeds() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let claim = world.report(&attempt, 1, ReportSaid::Progress);
    world.accepted(&claim, at(5)).await;
    let mut cancel = world.payment(
        "evt_9",
        &format!("sub_{}", attempt.agent_id),
        attempt.agent_id,
    );
    cancel.payment = domain::Payment::Canceled;
    world.store.record_payment(&cancel, at(6)).await.unwrap();
    assert!(!world.accepted(&claim, at(7)).await.go_on);
    assert!(
        world
            .store
            .open_due_attempts(at(8), 9)
            .await
            .unwrap()
            .is_empty()
    );
    let next = world
        .accepted(&world.success(&attempt), at(9))
        .await
        .next
        .unwrap();
    assert_eq!(
        world.state(attempt.agent_id).await,
        "deleting: destroy queued none"
    );
    let destroy = world
        .store
        .open_due_attempts(next.due, 9)
        .await
        .unwrap()
        .remove(0);
    let said = ReportSaid::Succeeded {
        awaiting_credentials: false,
    };
    world
        .accepted(&world.report(&destroy, 2, said), at(20))
        .await;
    let status = world
        .store
        .agent_status(AgentId(attempt.agent_id.0), at(21))
        .await;
    let status = status.unwrap().unwrap();
    assert_eq!(
        (status.state.as_str(), status.instance.is_none()),
        ("deleted", true)
    );
    world.check().await;
}

#[tokio::test]
async fn two_dispatchers_never_open_one_job_twice() {
    let world = World::new().await;
    for number in 0..40 {
        let agent = AgentId(world.id());
        world
            .pay(&format!("evt_{number}"), &format!("sub_{number}"), agent)
            .await;
    }
    let config = crate::ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    };
    let dispatchers = (0..8).map(|_| {
        let store = crate::Store::new(&config).unwrap();
        async move {
            let mut opened = Vec::new();
            loop {
                let more = store.open_due_attempts(at(1), 5).await.unwrap();
                if more.is_empty() {
                    return opened;
                }
                opened.extend(more);
            }
        }
    });
    let opened = futures_util::future::join_all(dispatchers).await.concat();
    let jobs: std::collections::HashSet<_> = opened.iter().map(|a| a.job_id).collect();
    assert_eq!((opened.len(), jobs.len()), (40, 40));
    world.check().await;
}

#[tokio::test]
async fn a_timer_is_sent_anew_only_when_none_is_under_way() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let without = async |now| {
        let jobs = world
            .store
            .jobs_without_timer(&[attempt.job_id], now)
            .await
            .unwrap();
        jobs.first().map(|waiting| waiting.due)
    };
    assert_eq!(
        without(at(50)).await,
        None,
        "whoever opened it is about to send one"
    );
    assert_eq!(without(at(70)).await, Some(at(301)), "it has died");
    world
        .accepted(&world.report(&attempt, 1, ReportSaid::Progress), at(80))
        .await;
    assert_eq!(without(at(81)).await, Some(at(260)));
    let sent = crate::Waiting {
        job_id: attempt.job_id,
        due: at(260),
    };
    world.store.remember_timers(&[sent]).await.unwrap();
    assert_eq!(without(at(82)).await, None);
    world
        .accepted(&world.report(&attempt, 2, ReportSaid::Progress), at(160))
        .await;
    assert_eq!(without(at(261)).await, None);
    assert_eq!(
        without(at(262)).await,
        Some(at(340)),
        "it came, and came early"
    );
}
