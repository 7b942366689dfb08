//! Commands of owners: idempotency, keys, and what is allowed.

use super::world::{World, at};
use crate::{
    CommandKey, CommandOutcome, CommandRecord, ConnectConfig, CreateOutcome, DraftAgent, Store,
};
use domain::{AgentId, Command, JobId, JobKind, Permission, Wish, decisions, permit};
use futures_util::future::join_all;
use std::collections::HashSet;

fn key(key: &str, request: &str) -> CommandKey {
    CommandKey {
        key: key.to_owned(),
        request: request.to_owned(),
    }
}

fn draft(world: &World) -> DraftAgent {
    DraftAgent {
        agent_id: AgentId(world.id()),
        name: "Ada's agent".to_owned(),
        region: "us-east".to_owned(),
        reference: Some("order 7".to_owned()),
    }
}

fn command<'a>(
    world: &World,
    agent_id: AgentId,
    command: Command,
    key: Option<CommandKey>,
) -> CommandRecord<'a> {
    CommandRecord {
        agent_id,
        command,
        by: "customer",
        key,
        fresh_job_id: JobId(world.id()),
    }
}

fn other_store(world: &World) -> Store {
    Store::new(&ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    })
    .unwrap()
}

async fn active(world: &World) -> AgentId {
    let attempt = world.opened().await;
    world.accepted(&world.success(&attempt), at(60)).await;
    attempt.agent_id
}

#[tokio::test]
async fn a_key_makes_twenty_requests_at_once_one() {
    let world = World::new().await;
    let agent = active(&world).await;
    let requests = (0..20).map(|_| {
        let record = command(&world, agent, Command::Stop, Some(key("k", "stop it")));
        let store = other_store(&world);
        async move { store.command_agent(&record, at(70)).await.unwrap() }
    });
    let answers = join_all(requests).await;
    let CommandOutcome::Applied {
        queued_job_id: Some(stop),
    } = answers[0]
    else {
        panic!("{answers:?}");
    };
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let status = world.store.agent_status(agent, at(71)).await.unwrap();
    assert_eq!(status.unwrap().job.unwrap().job_id, stop);
    let wishes = timeline_of(&world, agent, "wish").await;
    assert_eq!(wishes, ["run", "stop"]);

    let drafts = (0..20).map(|_| {
        let (draft, fresh) = (draft(&world), JobId(world.id()));
        let store = other_store(&world);
        async move {
            let key = key("draft", "a draft");
            store.create_agent(&draft, Some(&key), fresh, at(70)).await
        }
    });
    let made: HashSet<AgentId> = join_all(drafts)
        .await
        .into_iter()
        .map(|made| match made.unwrap() {
            CreateOutcome::Created(agent) => agent,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(made.len(), 1);
    world.check().await;
}

async fn timeline_of(world: &World, agent: AgentId, machine: &str) -> Vec<String> {
    let all = world.store.agent_events(agent, 0, 100).await.unwrap();
    let all = all.unwrap().into_iter();
    all.filter(|entry| entry.machine == machine)
        .map(|entry| entry.new)
        .collect()
}

#[tokio::test]
async fn a_key_answers_its_first_request_for_a_day_and_no_other() {
    let world = World::new().await;
    let agent = active(&world).await;
    let send = async |what, request: &str, now| {
        let record = command(&world, agent, what, Some(key("k", request)));
        world.store.command_agent(&record, at(now)).await.unwrap()
    };
    let refused = CommandOutcome::Refused {
        why: Permission::Nothing,
        running: None,
        queued_job_id: None,
    };
    assert_eq!(send(Command::Retry, "retry", 100).await, refused);
    assert_eq!(
        send(Command::Delete, "delete", 101).await,
        CommandOutcome::KeyReused
    );
    assert_eq!(timeline_of(&world, agent, "wish").await, ["run"]);
    // What it would be told now is something else.
    let delete = command(&world, agent, Command::Delete, None);
    world.store.command_agent(&delete, at(102)).await.unwrap();
    let refused_again = |outcome| {
        let why = Permission::Nothing;
        matches!(outcome, CommandOutcome::Refused { why: now, running: None, .. } if now == why)
    };
    assert!(refused_again(send(Command::Retry, "retry", 103).await));
    let day = 24 * 3600;
    assert!(refused_again(
        send(Command::Retry, "retry", 100 + day).await
    ));
    let forgotten = send(Command::Delete, "delete", 101 + day).await;
    assert!(
        matches!(forgotten, CommandOutcome::Unchanged { .. }),
        "{forgotten:?}"
    );
    let (draft, key) = (draft(&world), key("k", "a draft"));
    let fresh = JobId(world.id());
    let create = world
        .store
        .create_agent(&draft, Some(&key), fresh, at(102 + day));
    assert_eq!(create.await.unwrap(), CreateOutcome::KeyReused);
    world.check().await;
}

#[tokio::test]
async fn a_draft_is_made_once_and_nobody_is_commanded_twice() {
    let world = World::new().await;
    let draft = draft(&world);
    let make = async || {
        let made = world
            .store
            .create_agent(&draft, None, JobId(world.id()), at(5));
        made.await.unwrap()
    };
    assert_eq!(make().await, CreateOutcome::Created(draft.agent_id));
    assert_eq!(make().await, CreateOutcome::Taken);
    assert_eq!(world.state(draft.agent_id).await, "draft: none");
    let nobody = command(
        &world,
        AgentId(world.id()),
        Command::Stop,
        Some(key("k", "r")),
    );
    let answer = world.store.command_agent(&nobody, at(6)).await.unwrap();
    assert_eq!(answer, CommandOutcome::NoSuchAgent);
    world.check().await;
}

#[tokio::test]
async fn a_command_tells_what_is_at_work() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let agent = attempt.agent_id;
    let retry = command(&world, agent, Command::Retry, None);
    let busy = CommandOutcome::Refused {
        why: Permission::Busy,
        running: Some(JobKind::Provision),
        queued_job_id: None,
    };
    let answer = world.store.command_agent(&retry, at(2)).await.unwrap();
    assert_eq!(answer, busy);
    world.accepted(&world.success(&attempt), at(60)).await;
    let stop = command(&world, agent, Command::Stop, None);
    world.store.command_agent(&stop, at(61)).await.unwrap();
    let answer = world.store.command_agent(&retry, at(62)).await.unwrap();
    let busy = CommandOutcome::Refused {
        why: Permission::Busy,
        running: Some(JobKind::Stop),
        queued_job_id: Some(stop.fresh_job_id),
    };
    assert_eq!(answer, busy);
    let causes = world
        .store
        .agent_events(agent, 0, 99)
        .await
        .unwrap()
        .unwrap();
    let wish = causes
        .iter()
        .rfind(|entry| entry.machine == "wish")
        .unwrap();
    assert_eq!(
        (wish.new.as_str(), wish.cause.as_deref()),
        ("stop", Some("customer"))
    );
}

#[tokio::test]
async fn a_draft_deleted_before_it_was_paid_does_not_swallow_the_payment() {
    let world = World::new().await;
    let draft = draft(&world);
    let named = draft.agent_id;
    let made = world
        .store
        .create_agent(&draft, None, JobId(world.id()), at(1));
    made.await.unwrap();
    let delete = command(&world, named, Command::Delete, None);
    world.store.command_agent(&delete, at(2)).await.unwrap();
    let paid = world.pay("evt_1", "sub_1", named).await;
    let got = paid.agent_id.unwrap();
    assert_eq!((paid.conflict, got == named), (Some(named), false));
    assert_eq!(
        world.state(got).await,
        "provisioning: provision queued none"
    );
    assert_eq!(world.state(named).await, "deleted: none");
    let overview = world.store.overview(at(3)).await.unwrap();
    assert_eq!(
        (overview.conflicts[0].named, overview.conflicts[0].got),
        (named, got)
    );
    world.check().await;
}

#[tokio::test]
async fn what_is_allowed_in_the_database_is_what_the_domain_allows() {
    let world = World::new().await;
    let client = world.client().await;
    let text = "SELECT concat_ws('/', payment, wish, existing, gave_up, live, config_pending,
        is_over, may_retry, may_stop, may_start, may_delete, may_remake) FROM decision";
    let rows = client.query(text, &[]).await.unwrap();
    let found: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let name = |kind: Option<JobKind>| kind.map_or("none", JobKind::as_str);
    let bool = |yes| if yes { "t" } else { "f" };
    let expected: HashSet<String> = decisions()
        .map(|(f, ..)| {
            let over = f.wish == Wish::Delete || f.payment == domain::Payment::Canceled;
            let may = Command::ALL
                .iter()
                .map(|command| permit(f, *command).as_str());
            let may: Vec<&str> = may.collect();
            format!(
                "{}/{}/{}/{}/{}/{}/{}/{}/{}",
                f.payment,
                f.wish,
                f.existing,
                name(f.gave_up),
                name(f.live),
                bool(f.config_pending),
                bool(over),
                may.join("/"),
                bool(domain::may_remake(f))
            )
        })
        .collect();
    assert_eq!(found.len(), 4 * 3 * 7 * 6 * 6 * 2);
    assert_eq!(found, expected);
}
