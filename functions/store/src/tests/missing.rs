//! Machines that no inventory shows any more: told to people, and made anew only when the operator
//! has it done.

use super::world::{World, at};
use crate::{
    AgentStatus, CommandOutcome, CommandRecord, InventoryRecord, MachineFacts, Missing, OPERATOR,
    OpenedAttempt, ReportRecord, ReportSaid, SeenServer, Swept,
};
use domain::{AgentId, Command, ErrorClass, JobId, JobKind, News, Permission};
use std::iter::repeat_n;

fn server(server_id: &str, agent_id: AgentId) -> SeenServer {
    SeenServer {
        server_id: server_id.to_owned(),
        agent_id: agent_id.to_string(),
        fence: "1".to_owned(),
    }
}

async fn sweep(world: &World, by: &OpenedAttempt, seen: &[SeenServer], now: u64) -> Swept {
    let fresh: Vec<JobId> = seen.iter().map(|_| JobId(world.id())).collect();
    let inventory = InventoryRecord {
        job_id: by.job_id,
        fence: by.fence,
        installation: "default",
        seen,
        fresh_job_ids: &fresh,
    };
    let swept = world.store.take_inventory(&inventory, at(now)).await;
    swept.unwrap()
}

/// An active agent whose server is `server_id`. The first is asked for the whole project.
async fn active(world: &World, server_id: &str) -> OpenedAttempt {
    let attempt = world.opened().await;
    let claim = world.report(&attempt, 1, ReportSaid::Progress);
    world.accepted(&claim, at(5)).await;
    let mut done = world.success(&attempt);
    done.facts.server_id = Some(server_id.to_owned());
    world.accepted(&done, at(10)).await;
    attempt
}

async fn open(world: &World, now: u64) -> OpenedAttempt {
    let opened = world.store.open_due_attempts(at(now), 9, world.id());
    opened.await.unwrap().remove(0)
}

async fn command(
    world: &World,
    (agent_id, command, by): (AgentId, Command, &str),
    now: u64,
) -> CommandOutcome {
    let record = CommandRecord {
        agent_id,
        command,
        by,
        key: None,
        fresh_job_id: JobId(world.id()),
    };
    world.store.command_agent(&record, at(now)).await.unwrap()
}

async fn retry(world: &World, agent: AgentId, by: &str, now: u64) -> Option<Permission> {
    match command(world, (agent, Command::Retry, by), now).await {
        CommandOutcome::Applied { .. } => None,
        CommandOutcome::Refused { why, .. } => Some(why),
        other => panic!("{other:?}"),
    }
}

async fn cancel(world: &World, agent: AgentId, now: u64) {
    let event = world.news("evt_end", &format!("sub_{agent}"), 900, News::Canceled);
    world.store.record_event(&event, at(now)).await.unwrap();
}

async fn status(world: &World, agent: AgentId) -> AgentStatus {
    let status = world.store.agent_status(agent, at(0)).await;
    status.unwrap().unwrap()
}

async fn shown(world: &World) -> Vec<Missing> {
    world.store.overview(at(0)).await.unwrap().missing
}

/// The servers that a claim's reply names.
async fn told(world: &World, attempt: &OpenedAttempt, now: u64) -> Vec<String> {
    let claim = world.report(attempt, 1, ReportSaid::Progress);
    world.accepted(&claim, at(now)).await.servers
}

/// Success that tells of no machine.
fn done(world: &World, attempt: &OpenedAttempt) -> ReportRecord {
    ReportRecord {
        facts: MachineFacts::default(),
        ..world.success(attempt)
    }
}

fn broken(world: &World, attempt: &OpenedAttempt) -> ReportRecord {
    world.failure(attempt, ErrorClass::Permanent)
}

#[tokio::test]
async fn a_machine_that_is_not_there_is_told_once_and_changes_nothing() {
    let world = World::new().await;
    let one = active(&world, "s1").await;
    let two = active(&world, "s2").await;
    let both = [server("s1", one.agent_id), server("s2", two.agent_id)];
    assert_eq!(sweep(&world, &one, &both, 200).await, Swept::default());
    let lost = Missing {
        agent_id: two.agent_id,
        server_id: "s2".to_owned(),
        since: at(300),
    };
    assert_eq!(
        sweep(&world, &one, &both[..1], 300).await.missing,
        std::slice::from_ref(&lost)
    );
    assert_eq!(sweep(&world, &one, &both[..1], 900).await.missing, []);
    assert_eq!(shown(&world).await, [lost]);
    let of = status(&world, two.agent_id).await;
    assert_eq!(of.state.as_str(), "active");
    assert_eq!(of.instance.as_ref().unwrap().missing_since, Some(at(300)));
    assert!(of.may_remake());
    assert!(!status(&world, one.agent_id).await.may_remake());
    // Its own run sees it again; it was not asked for the whole, so it says nothing of others.
    sweep(&world, &two, &both[1..], 1000).await;
    assert_eq!(shown(&world).await, []);
    assert_eq!(sweep(&world, &one, &both[..1], 1500).await.missing.len(), 1);
    world.check().await;
}

#[tokio::test]
async fn only_a_whole_short_list_shows_what_is_missing_of_agents_at_rest() {
    let world = World::new().await;
    let asked = active(&world, "s1").await;
    let other = active(&world, "s2").await;
    let mine = [server("s1", asked.agent_id)];
    let none = |swept: Swept| swept.missing.is_empty();
    let too_early = 10 + 119;
    assert!(none(sweep(&world, &asked, &mine, too_early).await));
    assert!(none(sweep(&world, &other, &[], 300).await), "not asked");
    let long: Vec<SeenServer> = repeat_n(mine[0].clone(), 200).collect();
    assert!(none(sweep(&world, &asked, &long, 300).await), "cut, maybe");
    let stop = (other.agent_id, Command::Stop, OPERATOR);
    command(&world, stop, 300).await;
    assert!(none(sweep(&world, &asked, &mine, 900).await), "queued");
    let stopping = open(&world, 901).await;
    assert!(none(sweep(&world, &asked, &mine, 1500).await), "at work");
    world.accepted(&done(&world, &stopping), at(1501)).await;
    assert!(none(sweep(&world, &asked, &mine, 1502).await), "just now");
    assert_eq!(sweep(&world, &asked, &mine, 2000).await.missing.len(), 1);
    // What is to go, and could not be seen to be gone, is no machine that should be there.
    let delete = (asked.agent_id, Command::Delete, OPERATOR);
    command(&world, delete, 2001).await;
    let destroy = open(&world, 2002).await;
    world.accepted(&broken(&world, &destroy), at(2003)).await;
    assert_eq!(sweep(&world, &asked, &[], 3000).await.missing, []);
    world.check().await;
}

#[tokio::test]
async fn the_operators_retry_makes_a_missing_machine_anew_and_no_one_elses() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    let nothing = Some(Permission::Nothing);
    assert_eq!(retry(&world, agent, OPERATOR, 20).await, nothing);
    sweep(&world, &first, &[], 300).await;
    assert_eq!(retry(&world, agent, "customer", 301).await, nothing);
    assert_eq!(retry(&world, agent, OPERATOR, 302).await, None);
    assert_eq!(
        world.state(agent).await,
        "provisioning: provision queued none"
    );
    assert_eq!(
        retry(&world, agent, OPERATOR, 303).await,
        Some(Permission::Busy)
    );
    let again = open(&world, 304).await;
    assert_eq!(again.kind, JobKind::Provision);
    let mut done = world.success(&again);
    done.facts.server_id = Some("s2".to_owned());
    for now in [400, 401] {
        world.tell(&done, at(now)).await;
    }
    let now = status(&world, agent).await;
    assert_eq!(now.state.as_str(), "active");
    let instance = now.instance.unwrap();
    assert_eq!((&*instance.server_id, instance.missing_since), ("s2", None));
    let client = world.client().await;
    let old = "SELECT released_at IS NOT NULL FROM instances WHERE server_id = 's1'";
    assert!(client.query_one(old, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(shown(&world).await, []);
    // The first one turns up after all: it is a second one now, and only shown.
    let both = [server("s1", agent), server("s2", agent)];
    let swept = sweep(&world, &first, &both, 900).await;
    assert_eq!(swept.strays[0].why, "its agent works on another server");
    assert_eq!(
        world.state(agent).await,
        "active: provision succeeded succeeded"
    );
    world.check().await;
}

#[tokio::test]
async fn a_machine_that_only_lost_its_labels_outlives_a_failed_remaking() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    sweep(&world, &first, &[], 300).await;
    assert_eq!(retry(&world, agent, OPERATOR, 301).await, None);
    let again = open(&world, 302).await;
    world.accepted(&broken(&world, &again), at(303)).await;
    let clean_up = open(&world, 304).await;
    assert_eq!(clean_up.kind, JobKind::Destroy);
    assert_eq!(
        told(&world, &clean_up, 305).await,
        [""; 0],
        "it may be alive"
    );
    // Nobody pays for it any more, so it is to go whatever it is.
    cancel(&world, agent, 306).await;
    assert_eq!(told(&world, &clean_up, 307).await, ["s1"]);
    world.accepted(&done(&world, &clean_up), at(308)).await;
    assert_eq!(
        world.state(agent).await,
        "deleted: destroy succeeded succeeded"
    );
    assert_eq!(shown(&world).await, []);
    world.check().await;
}

#[tokio::test]
async fn a_start_that_met_no_machine_is_told_its_id_and_then_made_anew() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    command(&world, (agent, Command::Stop, OPERATOR), 20).await;
    let stop = open(&world, 21).await;
    world.accepted(&done(&world, &stop), at(22)).await;
    sweep(&world, &first, &[], 300).await;
    assert!(
        !status(&world, agent).await.may_remake(),
        "nobody wants it to run"
    );
    assert_eq!(
        retry(&world, agent, OPERATOR, 301).await,
        Some(Permission::Nothing)
    );
    command(&world, (agent, Command::Start, OPERATOR), 302).await;
    assert_eq!(
        retry(&world, agent, OPERATOR, 303).await,
        Some(Permission::Busy)
    );
    let start = open(&world, 304).await;
    assert_eq!(
        told(&world, &start, 305).await,
        ["s1"],
        "whatever its labels are"
    );
    world.accepted(&broken(&world, &start), at(306)).await;
    assert_eq!(world.state(agent).await, "paused: start failed failed");
    assert_eq!(retry(&world, agent, "customer", 307).await, None);
    assert_eq!(world.state(agent).await, "starting: start queued none");
    let start = open(&world, 308).await;
    world.accepted(&broken(&world, &start), at(309)).await;
    assert_eq!(retry(&world, agent, OPERATOR, 310).await, None);
    assert_eq!(
        world.state(agent).await,
        "provisioning: provision queued none"
    );
    world.check().await;
}
