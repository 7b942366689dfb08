//! Agents that are to go while something is at work on them: what ends when, and which runs.

use super::{
    acts::{Act, Stage, act, reach},
    world::{World, at},
};
use crate::{Expiry, OpenedAttempt, OverdueAttempt, ReportRecord, ReportSaid, RunCancel};
use domain::{
    AgentId, AttemptState, ErrorClass, Fence, JobId, JobKind, News, Overdue, Sight, Timestamp,
    Watched, inspect,
};

async fn cancel(world: &World, now: u64) {
    let event = world.news("evt_end", "sub_1", 900, News::Canceled);
    world.store.record_event(&event, at(now)).await.unwrap();
}

async fn overdue(world: &World, now: u64) -> Option<OverdueAttempt> {
    let all = world.store.overdue_attempts(at(now), 9).await.unwrap();
    all.into_iter().next()
}

async fn end(world: &World, seen: &OverdueAttempt, abort: bool, now: u64) -> Option<Timestamp> {
    let delays = domain::retry_delays(ErrorClass::Transient, || 0.0);
    let expiry = Expiry {
        abort,
        runs: &[7003, 7004],
        reason: "the agent is to go",
        retry_delays: &delays,
        fresh_job_id: JobId(world.id()),
    };
    let ended = world.store.expire_attempt(seen, expiry, at(now)).await;
    ended.unwrap().map(|expired| expired.next.unwrap().due)
}

async fn runs(world: &World, now: u64) -> Vec<u64> {
    let due = world.store.due_run_cancels(at(now), 9).await.unwrap();
    let mut runs: Vec<u64> = due.iter().map(|run| run.run_id).collect();
    runs.sort_unstable();
    runs
}

async fn open(world: &World, now: u64) -> Vec<OpenedAttempt> {
    let opened = world.store.open_due_attempts(at(now), 9, world.id());
    opened.await.unwrap()
}

fn claim(world: &World, attempt: &OpenedAttempt, seq: i64) -> ReportRecord {
    world.report(attempt, seq, ReportSaid::Progress)
}

#[tokio::test]
async fn an_unclaimed_attempt_is_due_at_once_and_aborted() {
    for stage in [Stage::Intended, Stage::Accepted] {
        let world = World::new().await;
        let attempt = reach(&world, stage).await;
        assert_eq!(overdue(&world, 299).await, None);
        cancel(&world, 20).await;
        let seen = overdue(&world, 20).await.unwrap();
        assert_eq!((seen.doomed_at, seen.lease_until), (Some(at(20)), None));
        assert_eq!(
            open(&world, 20).await,
            [],
            "the attempt may still be claimed"
        );
        assert_eq!(end(&world, &seen, true, 21).await, Some(at(21)));
        let named: &[u64] = if stage == Stage::Accepted {
            &[7001, 7003, 7004]
        } else {
            &[7003, 7004]
        };
        assert_eq!(runs(&world, 21).await, named);
        assert_eq!(
            world.tell(&claim(&world, &attempt, 1), at(22)).await,
            crate::ReportOutcome::Fenced
        );
        let destroy = open(&world, 21).await;
        assert_eq!(destroy[0].kind, JobKind::Destroy);
        world.check().await;
    }
}

#[tokio::test]
async fn a_run_that_is_accepted_after_its_attempt_was_aborted_has_to_end() {
    let world = World::new().await;
    let attempt = reach(&world, Stage::Intended).await;
    cancel(&world, 20).await;
    let seen = overdue(&world, 20).await.unwrap();
    end(&world, &seen, true, 21).await;
    let (agent, fence) = (attempt.agent_id, attempt.fence);
    for run in [None, Some(8001)] {
        let accepted = world.store.accept_attempt(agent, fence, run, at(23));
        accepted.await.unwrap();
    }
    assert_eq!(runs(&world, 23).await, [7003, 7004, 8001]);
    assert_eq!(world.state(agent).await, "deleting: destroy queued none");
    world.check().await;
}

#[tokio::test]
async fn a_claimed_attempt_is_told_to_stop_and_given_two_minutes() {
    let world = World::new().await;
    let attempt = reach(&world, Stage::Claimed).await;
    world.accepted(&claim(&world, &attempt, 2), at(10)).await;
    cancel(&world, 20).await;
    let seen = overdue(&world, 20).await.unwrap();
    assert_eq!(
        end(&world, &seen, true, 20).await,
        None,
        "claimed ones are not aborted"
    );
    let told = world.accepted(&claim(&world, &attempt, 3), at(25)).await;
    assert_eq!((told.go_on, told.due), (false, Some(at(140))));
    assert_eq!(overdue(&world, 139).await, None);
    let seen = overdue(&world, 140).await.unwrap();
    assert_eq!(
        (seen.state, seen.lease_until),
        (AttemptState::Claimed, Some(at(205)))
    );
    let watched = Watched {
        state: seen.state,
        open_for: at(140).since(seen.opened_at),
        lease_over: false,
        doomed_for: seen.doomed_at.map(|since| at(140).since(since)),
        sight: Sight::Unknown,
        dispatched_again: false,
    };
    assert_eq!(inspect(watched), Overdue::CancelRun);
    world.store.cancel_run(&seen, at(140)).await.unwrap();
    assert_eq!(runs(&world, 140).await, [7001]);
    let due = seen.lease_until.unwrap();
    let waits = world.store.postpone_attempt(&seen, false, due, at(140));
    assert!(waits.await.unwrap());
    assert_eq!(overdue(&world, 204).await, None);
    // A late word renews the lease, and nobody looks before.
    let told = world.accepted(&claim(&world, &attempt, 4), at(150)).await;
    assert_eq!((told.go_on, told.due), (false, Some(at(330))));
    let done = world
        .accepted(&world.failure(&attempt, ErrorClass::Transient), at(160))
        .await;
    assert_eq!(
        done.next.unwrap().due,
        at(160),
        "nobody holds it: destroy opens at once"
    );
    assert_eq!(open(&world, 160).await[0].kind, JobKind::Destroy);
    let attempts = "SELECT state FROM attempts ORDER BY fence LIMIT 1";
    let row = world.client().await.query_one(attempts, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "aborted");
    world.check().await;
}

#[tokio::test]
async fn nothing_is_destroyed_while_a_lost_runner_may_still_have_calls_under_way() {
    let world = World::new().await;
    let attempt = reach(&world, Stage::Claimed).await;
    world.accepted(&claim(&world, &attempt, 2), at(10)).await;
    cancel(&world, 20).await;
    let seen = overdue(&world, 190).await.unwrap();
    assert_eq!(end(&world, &seen, false, 200).await, Some(at(250)));
    assert_eq!(open(&world, 249).await, []);
    assert_eq!(open(&world, 250).await[0].kind, JobKind::Destroy);
    assert_eq!(runs(&world, 250).await, [7001, 7003, 7004]);
    world.check().await;
}

#[tokio::test]
async fn a_lost_runner_is_waited_for_although_another_attempt_came_between() {
    for claimed in [false, true] {
        let world = World::new().await;
        let attempt = reach(&world, Stage::Claimed).await;
        world.accepted(&claim(&world, &attempt, 2), at(10)).await;
        let lost = overdue(&world, 190).await.unwrap();
        assert_eq!(end(&world, &lost, false, 190).await, Some(at(190)));
        let retry = open(&world, 190).await.remove(0);
        assert_eq!((retry.kind, retry.number), (JobKind::Provision, 2));
        cancel(&world, 191).await;
        let due = if claimed {
            let failed = world.failure(&retry, ErrorClass::Transient);
            world.accepted(&failed, at(192)).await.next.unwrap().due
        } else {
            let seen = overdue(&world, 191).await.unwrap();
            end(&world, &seen, true, 192).await.unwrap()
        };
        assert_eq!(due, at(250), "the first runner's lease ended at 190 s");
        assert_eq!(open(&world, 249).await, []);
        assert_eq!(open(&world, 250).await.len(), 1);
        world.check().await;
    }
}

#[tokio::test]
async fn a_run_is_asked_to_end_until_it_is_over() {
    let world = World::new().await;
    let attempt = reach(&world, Stage::Doomed).await;
    let ask = async |now| world.store.due_run_cancels(at(now), 9).await.unwrap();
    let run = |asked| RunCancel {
        run_id: 7001,
        asked,
    };
    assert_eq!(ask(5).await, []);
    assert_eq!(ask(6).await, [run(0)]);
    world
        .store
        .keep_run_cancel(7001, Some(at(66)))
        .await
        .unwrap();
    assert_eq!(ask(65).await, []);
    assert_eq!(ask(66).await, [run(1)]);
    // Asking for the same run again changes nothing.
    act(&world, &world.store, Act::CancelRun, &attempt).await;
    assert_eq!(ask(66).await, [run(1)]);
    let report = world
        .store
        .apply_report(&claim(&world, &attempt, 3), at(80))
        .await;
    assert!(report.unwrap().any_due, "somebody has to look at the run");
    let done = world.failure(&attempt, ErrorClass::Transient);
    let done = world.store.apply_report(&done, at(80)).await.unwrap();
    assert!(done.any_due, "also when the last word came");
    world.store.keep_run_cancel(7001, None).await.unwrap();
    assert_eq!(ask(9999).await, []);
    world
        .store
        .keep_run_cancel(7001, Some(at(99)))
        .await
        .unwrap();
    assert_eq!(ask(9999).await, [], "what is over is not asked again");
}

#[tokio::test]
async fn a_run_without_a_number_and_an_attempt_of_another_fence_are_left_alone() {
    let world = World::new().await;
    let attempt = reach(&world, Stage::Intended).await;
    let old = ReportRecord {
        workflow_run_id: String::new(),
        run_attempt: 0,
        ..claim(&world, &attempt, 0)
    };
    world.accepted(&old, at(5)).await;
    cancel(&world, 6).await;
    let seen = overdue(&world, 6).await.unwrap();
    world.store.cancel_run(&seen, at(130)).await.unwrap();
    assert_eq!(runs(&world, 999).await, [0; 0]);
    let stale = OverdueAttempt {
        fence: Fence(9),
        ..seen.clone()
    };
    world.store.cancel_run(&stale, at(130)).await.unwrap();
    let nobody = OverdueAttempt {
        agent_id: AgentId(world.id()),
        ..seen
    };
    world.store.cancel_run(&nobody, at(130)).await.unwrap();
    assert_eq!(runs(&world, 999).await, [0; 0]);
    world.check().await;
}
