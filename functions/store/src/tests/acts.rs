//! Everything that is written about an agent, as single acts, and the stages they meet it at.

use super::world::{World, at};
use crate::{
    CommandKey, CommandRecord, EventRecord, Expiry, InventoryRecord, OpenedAttempt, OverdueAttempt,
    Refusal, ReportRecord, ReportSaid, SeenServer, Store,
};
use domain::{AgentId, AttemptState, Command, ErrorClass, Fence, JobId, JobKind, News};

/// How far the agent is when two acts meet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stage {
    Paid,
    Intended,
    Accepted,
    Claimed,
    /// Its agent is to go, and its run was asked to end.
    Doomed,
    /// Active once, its stop claimed.
    Stopping,
    /// Active, and its machine was not found.
    Missing,
    /// A clean-up after a provision that gave up, claimed.
    CleaningUp,
    /// Canceled, destroyed, and long at rest.
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Act {
    PayAgain,
    PayOtherSubscription,
    Cancel,
    /// By its charge and payment intent alone.
    Refund,
    /// Says nothing about money, but that charge and invoice are the subscription's.
    Join,
    RecordEvent,
    Retry,
    Stop,
    Start,
    Delete,
    StopUnderKey,
    DeleteUnderKey,
    Open,
    Accept,
    Refuse,
    Claim,
    ClaimByOtherRun,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    Abort,
    CancelRun,
    KeepRunCancel,
    DispatchAgain,
    Wait,
    Remember,
    TakeInventory,
    /// Two whole inventories without its machine.
    Miss,
}

use Act::{
    Abort, Accept, Cancel, CancelRun, Claim, ClaimByOtherRun, Delete, DeleteUnderKey,
    DispatchAgain, Expire, FailPermanent, FailTransient, Join, KeepRunCancel, Miss, Open, PayAgain,
    PayOtherSubscription, RecordEvent, Refund, Refuse, Remember, Retry, Start, Step, Stop,
    StopUnderKey, Succeed, TakeInventory, Wait,
};

const PAID: &[Act] = &[
    PayAgain,
    PayOtherSubscription,
    Cancel,
    Refund,
    Join,
    RecordEvent,
    Retry,
    Stop,
    Start,
    Delete,
    StopUnderKey,
    DeleteUnderKey,
    Open,
    Remember,
    TakeInventory,
];
const INTENDED: &[Act] = &[
    PayAgain,
    Cancel,
    Stop,
    Delete,
    Open,
    Accept,
    Refuse,
    Claim,
    ClaimByOtherRun,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    Abort,
    CancelRun,
    DispatchAgain,
    Wait,
    Remember,
];
const ACCEPTED: &[Act] = &[
    Cancel,
    Delete,
    Accept,
    Refuse,
    Claim,
    ClaimByOtherRun,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    Abort,
    DispatchAgain,
    Wait,
];
const CLAIMED: &[Act] = &[
    PayOtherSubscription,
    Cancel,
    Refund,
    Retry,
    Stop,
    Delete,
    Accept,
    Claim,
    ClaimByOtherRun,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    Abort,
    CancelRun,
    Wait,
    Remember,
    TakeInventory,
];
const DOOMED: &[Act] = &[
    PayAgain,
    Cancel,
    Delete,
    DeleteUnderKey,
    Open,
    Accept,
    Claim,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    Abort,
    CancelRun,
    KeepRunCancel,
    Wait,
    TakeInventory,
];
const STOPPING: &[Act] = &[
    PayAgain,
    Cancel,
    Refund,
    Retry,
    Stop,
    Start,
    Delete,
    StopUnderKey,
    Open,
    Claim,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    CancelRun,
    Wait,
    TakeInventory,
];
const MISSING: &[Act] = &[
    PayAgain,
    Cancel,
    Refund,
    Retry,
    Stop,
    Start,
    Delete,
    StopUnderKey,
    Open,
    Succeed,
    TakeInventory,
    Miss,
];
const CLEANING_UP: &[Act] = &[
    PayAgain,
    Cancel,
    Retry,
    Stop,
    Start,
    Delete,
    StopUnderKey,
    Open,
    Claim,
    Step,
    Succeed,
    FailTransient,
    FailPermanent,
    Expire,
    CancelRun,
    Wait,
];
const DELETED: &[Act] = &[
    PayAgain,
    PayOtherSubscription,
    Cancel,
    Refund,
    Join,
    Retry,
    Delete,
    StopUnderKey,
    Open,
    TakeInventory,
];

impl Stage {
    /// What can meet here; the rest finds nothing to do.
    pub(super) fn acts(self) -> &'static [Act] {
        match self {
            Self::Paid => PAID,
            Self::Intended => INTENDED,
            Self::Accepted => ACCEPTED,
            Self::Claimed => CLAIMED,
            Self::Doomed => DOOMED,
            Self::Stopping => STOPPING,
            Self::Missing => MISSING,
            Self::CleaningUp => CLEANING_UP,
            Self::Deleted => DELETED,
        }
    }
}

/// Brings a new agent to a stage; answers the attempt that the acts are about.
pub(super) async fn reach(world: &World, stage: Stage) -> OpenedAttempt {
    let agent = AgentId(world.id());
    let paid = world.pay("evt_1", "sub_1", agent).await;
    if stage == Stage::Paid {
        return OpenedAttempt {
            job_id: paid.queued_job_id.unwrap(),
            agent_id: agent,
            fence: Fence(1),
            number: 1,
            kind: JobKind::Provision,
            region: "us-east".to_owned(),
            due: at(301),
        };
    }
    let attempt = open(world, 1).await;
    let before: &[Act] = match stage {
        Stage::Paid | Stage::Intended => &[],
        Stage::Accepted => &[Accept],
        Stage::Claimed => &[Accept, Claim],
        Stage::Doomed => &[Accept, Claim, Cancel, CancelRun],
        Stage::Stopping => &[Accept, Claim, Succeed, Stop],
        Stage::Missing => &[Accept, Claim, Succeed, Miss],
        Stage::CleaningUp => &[FailPermanent],
        Stage::Deleted => &[Cancel, FailPermanent],
    };
    for one in before {
        act(world, &world.store, *one, &attempt).await;
    }
    if !matches!(stage, Stage::Stopping | Stage::CleaningUp | Stage::Deleted) {
        return attempt;
    }
    let second = open(world, 6).await;
    let last = if stage == Stage::Deleted {
        Succeed
    } else {
        Claim
    };
    act(world, &world.store, last, &second).await;
    second
}

async fn open(world: &World, seconds: u64) -> OpenedAttempt {
    let opened = world
        .store
        .open_due_attempts(at(seconds), 10, world.id())
        .await;
    opened.unwrap().remove(0)
}

pub(super) async fn act(world: &World, store: &Store, act: Act, attempt: &OpenedAttempt) {
    match act {
        PayAgain | PayOtherSubscription | Cancel | Refund | Join | RecordEvent => {
            let event = event(world, act, attempt);
            store.record_event(&event, at(3)).await.unwrap();
        }
        Retry | Stop | Start | Delete | StopUnderKey | DeleteUnderKey => {
            let command = command(world, act, attempt);
            store.command_agent(&command, at(4)).await.unwrap();
        }
        Claim | ClaimByOtherRun | Step | Succeed | FailTransient | FailPermanent => {
            let report = report(world, act, attempt);
            store.apply_report(&report, at(5)).await.unwrap();
        }
        Open | Accept | Refuse | DispatchAgain | Wait | Remember => {
            dispatch(world, store, act, attempt).await;
        }
        Expire | Abort => {
            let delays = domain::retry_delays(ErrorClass::Transient, || 1.0);
            let expiry = Expiry {
                abort: act == Abort,
                runs: &[7002],
                reason: "no report came",
                retry_delays: &delays,
                fresh_job_id: JobId(world.id()),
            };
            let seen = overdue(attempt);
            store.expire_attempt(&seen, expiry, at(2000)).await.unwrap();
        }
        CancelRun => store.cancel_run(&overdue(attempt), at(6)).await.unwrap(),
        KeepRunCancel => {
            let next = Some(at(66));
            store.keep_run_cancel(7001, next).await.unwrap();
        }
        TakeInventory => take_inventory(world, store, (2, 3000), attempt).await,
        Miss => {
            take_inventory(world, store, (0, 2700), attempt).await;
            take_inventory(world, store, (0, 3000), attempt).await;
        }
    }
}

/// A list of so many servers of the agent's, at that time.
async fn take_inventory(
    world: &World,
    store: &Store,
    (count, now): (usize, u64),
    attempt: &OpenedAttempt,
) {
    let seen = ["42", "43"].map(|server_id| SeenServer {
        server_id: server_id.to_owned(),
        agent_id: attempt.agent_id.to_string(),
        fence: "1".to_owned(),
    });
    // Both are of one agent, which gets one job at most.
    let fresh = [JobId(world.id()); 2];
    let inventory = InventoryRecord {
        job_id: attempt.job_id,
        fence: attempt.fence,
        installation: "default",
        seen: &seen[..count],
        fresh_job_ids: &fresh[..count],
    };
    store.take_inventory(&inventory, at(now)).await.unwrap();
}

async fn dispatch(world: &World, store: &Store, act: Act, attempt: &OpenedAttempt) {
    let (agent, fence) = (attempt.agent_id, attempt.fence);
    match act {
        Open => drop(
            store
                .open_due_attempts(at(4), 10, world.id())
                .await
                .unwrap(),
        ),
        Accept => store
            .accept_attempt(agent, fence, Some(7001), at(4))
            .await
            .unwrap(),
        Refuse => {
            let refusal = Refusal {
                reason: "GITHUB_TOKEN was refused",
                not_before: at(4),
                fresh_job_id: JobId(world.id()),
            };
            let refused = store.refuse_attempt(agent, fence, refusal, at(4));
            refused.await.unwrap();
        }
        DispatchAgain | Wait => {
            let again = act == DispatchAgain;
            let due = at(if again { 901 } else { 601 });
            let overdue = overdue(attempt);
            let postponed = store.postpone_attempt(&overdue, again, due, at(301));
            postponed.await.unwrap();
        }
        Remember => store.remember_timer(attempt.job_id, at(400)).await.unwrap(),
        other => panic!("dispatch does no {other:?}"),
    }
}

fn event(world: &World, act: Act, attempt: &OpenedAttempt) -> EventRecord {
    let (event, subscription) = match act {
        PayOtherSubscription => ("evt_2", "sub_2"),
        Cancel => ("evt_3", "sub_1"),
        Refund => ("evt_4", "sub_1"),
        Join => ("evt_5", "sub_1"),
        RecordEvent => ("evt_9", "sub_1"),
        _ => ("evt_1", "sub_1"),
    };
    let paid = world.payment(event, subscription, attempt.agent_id);
    let ids = |ids: [&str; 2]| ids.map(str::to_owned).to_vec();
    match act {
        Cancel => EventRecord {
            news: Some(News::Canceled),
            ..paid
        },
        Refund => EventRecord {
            created: 200,
            subscription_id: None,
            references: ids(["ch_1", "pi_1"]),
            news: Some(News::Refunded),
            checkout: None,
            ..paid
        },
        Join => EventRecord {
            references: ids(["in_1", "ch_1"]),
            news: None,
            checkout: None,
            ..paid
        },
        RecordEvent => EventRecord {
            news: None,
            checkout: None,
            ..paid
        },
        _ => paid,
    }
}

fn command(world: &World, act: Act, attempt: &OpenedAttempt) -> CommandRecord<'static> {
    let command = match act {
        Stop | StopUnderKey => Command::Stop,
        Start => Command::Start,
        Delete | DeleteUnderKey => Command::Delete,
        _ => Command::Retry,
    };
    let key = CommandKey {
        key: "one key".to_owned(),
        request: command.to_string(),
    };
    CommandRecord {
        agent_id: attempt.agent_id,
        command,
        by: "operator",
        key: matches!(act, StopUnderKey | DeleteUnderKey).then_some(key),
        fresh_job_id: JobId(world.id()),
    }
}

fn report(world: &World, act: Act, attempt: &OpenedAttempt) -> ReportRecord {
    let claim = world.report(attempt, 1, ReportSaid::Progress);
    match act {
        ClaimByOtherRun => ReportRecord {
            workflow_run_id: "7002".to_owned(),
            ..claim
        },
        Step => ReportRecord {
            seq: 2,
            step: Some("vm_created".to_owned()),
            ..claim
        },
        Succeed => world.success(attempt),
        FailTransient => world.failure(attempt, ErrorClass::Transient),
        FailPermanent => world.failure(attempt, ErrorClass::Permanent),
        _ => claim,
    }
}

/// The attempt as dispatch saw it when it was due.
pub(super) fn overdue(attempt: &OpenedAttempt) -> OverdueAttempt {
    OverdueAttempt {
        job_id: attempt.job_id,
        kind: attempt.kind,
        agent_id: attempt.agent_id,
        region: attempt.region.clone(),
        fence: attempt.fence,
        state: AttemptState::Intended,
        opened_at: at(1),
        run_id: None,
        dispatched_again: false,
        lease_until: None,
        doomed_at: None,
    }
}
