//! What is lost: expired leases, old runners, cancellations on the way, timers.

use super::world::{World, at};
use crate::{Expiry, ReportOutcome, ReportRecord, ReportSaid};
use domain::{AgentId, ErrorClass, JobId};

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
            abort: false,
            runs: &[],
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
    let to_end = world.store.due_run_cancels(at(370), 9).await.unwrap();
    assert_eq!(
        to_end.iter().map(|run| run.run_id).collect::<Vec<_>>(),
        [7001]
    );
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
async fn a_report_that_was_held_up_shortens_no_lease_that_a_later_one_renewed() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let claim = world.report(&attempt, 1, ReportSaid::Progress);
    let step = ReportRecord {
        step: Some("vm_created".to_owned()),
        ..world.report(&attempt, 2, ReportSaid::Progress)
    };
    let beat = world.report(&attempt, 3, ReportSaid::Progress);
    assert_eq!(world.accepted(&claim, at(10)).await.due, Some(at(190)));
    assert_eq!(world.accepted(&beat, at(130)).await.due, Some(at(310)));
    // It was read at its own time, and waited for its turn since.
    assert_eq!(world.accepted(&step, at(70)).await.due, Some(at(310)));
    assert_eq!(world.accepted(&claim, at(11)).await.due, Some(at(310)));
    assert_eq!(world.store.overdue_attempts(at(309), 9).await.unwrap(), []);
    let overdue = world.store.overdue_attempts(at(310), 9).await.unwrap();
    assert_eq!(overdue[0].lease_until, Some(at(310)));
    // Still the work has its end, and what comes later renews.
    let late = world.accepted(&beat, at(800)).await;
    assert_eq!(late.due, Some(at(910)));
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
    cancel.news = Some(domain::News::Canceled);
    world.store.record_event(&cancel, at(6)).await.unwrap();
    assert!(!world.accepted(&claim, at(7)).await.go_on);
    assert!(
        world
            .store
            .open_due_attempts(at(8), 9, world.id())
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
        .open_due_attempts(next.due, 9, world.id())
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
    let calls = &world;
    let dispatchers = (0..8).map(|_| {
        let store = crate::Store::new(&config).unwrap();
        async move {
            let mut opened = Vec::new();
            loop {
                let more = store.open_due_attempts(at(1), 5, calls.id()).await.unwrap();
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
async fn a_timer_is_sent_anew_when_none_is_sure_to_come() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let without = async |nudged: &[JobId], now| {
        let jobs = world
            .store
            .jobs_without_timer(nudged, now, 9)
            .await
            .unwrap();
        jobs.first().map(|waiting| waiting.due)
    };
    let me = [attempt.job_id];
    assert_eq!(
        without(&me, at(20)).await,
        None,
        "whoever opened it is about to send one"
    );
    assert_eq!(without(&[], at(40)).await, Some(at(301)), "it has died");
    world
        .store
        .remember_timer(attempt.job_id, at(303))
        .await
        .unwrap();
    assert_eq!(without(&me, at(60)).await, None, "it is under way");
    world
        .accepted(&world.report(&attempt, 1, ReportSaid::Progress), at(80))
        .await;
    assert_eq!(
        without(&[], at(81)).await,
        None,
        "whoever took the claim is about to send one"
    );
    world
        .store
        .remember_timer(attempt.job_id, at(262))
        .await
        .unwrap();
    world
        .accepted(&world.report(&attempt, 2, ReportSaid::Progress), at(160))
        .await;
    assert_eq!(without(&me, at(256)).await, None);
    assert_eq!(without(&[], at(262)).await, None);
    assert_eq!(
        without(&me, at(261)).await,
        Some(at(340)),
        "it came, by a clock a little behind"
    );
    assert_eq!(
        without(&[], at(277)).await,
        Some(at(340)),
        "it should have come long ago"
    );
}

#[tokio::test]
async fn a_job_whose_agent_was_held_is_nudged_again() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    let paid = world.pay("evt_1", "sub_1", agent).await;
    let holder = world.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM agents FOR UPDATE")
        .await
        .unwrap();
    assert!(
        world
            .store
            .open_due_attempts(at(1), 9, world.id())
            .await
            .unwrap()
            .is_empty()
    );
    let nudged = [paid.queued_job_id.unwrap()];
    let again = world
        .store
        .jobs_without_timer(&nudged, at(1), 9)
        .await
        .unwrap();
    assert_eq!(again.len(), 1);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        world
            .store
            .open_due_attempts(at(3), 9, world.id())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_answers_the_same_when_repeated() {
    let world = World::new().await;
    let agent = AgentId(world.id());
    world.pay("evt_1", "sub_1", agent).await;
    let call = world.id();
    let first = world.store.open_due_attempts(at(1), 9, call).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(
        world.store.open_due_attempts(at(1), 9, call).await.unwrap(),
        first
    );
    assert!(
        world
            .store
            .open_due_attempts(at(1), 9, world.id())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_machine_that_is_only_half_known_is_cleaned_up() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let mut done = world.success(&attempt);
    done.facts.tailscale_ip = None;
    world.accepted(&done, at(5)).await;
    assert_eq!(
        world.state(attempt.agent_id).await,
        "failed: destroy queued none"
    );
    let status = world
        .store
        .agent_status(attempt.agent_id, at(6))
        .await
        .unwrap()
        .unwrap();
    let reason = "the runner reported server 42 without all of its addresses";
    assert_eq!(status.reason.as_deref(), Some(reason));
    world.check().await;
}
