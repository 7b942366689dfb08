//! Machines that no inventory shows any more: told to people, and made anew only when the operator
//! has it done, whatever is left of the old one.

use super::{
    inventory::{server, sweep},
    world::{World, at},
};
use crate::{
    AgentStatus, CommandOutcome, CommandRecord, MachineFacts, Missing, OPERATOR, OpenedAttempt,
    ReportRecord, ReportSaid, SeenServer, Swept,
};
use domain::{AgentId, Command, ErrorClass, JobId, JobKind, News, Permission};
use std::iter::repeat_n;

/// Two whole lists of `seen` alone, the second at `now`; what the second shows to be missing.
async fn miss(world: &World, by: &OpenedAttempt, seen: &[SeenServer], now: u64) -> Vec<Missing> {
    assert_eq!(sweep(world, by, seen, now - 300).await.missing, []);
    sweep(world, by, seen, now).await.missing
}

/// Servers of which one list said nothing, or more.
async fn unseen(world: &World) -> Vec<String> {
    let client = world.client().await;
    let ask = "SELECT server_id FROM instances
        WHERE unseen_since IS NOT NULL AND released_at IS NULL ORDER BY server_id";
    let rows = client.query(ask, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Servers that were not given up yet.
async fn held(world: &World) -> Vec<String> {
    let client = world.client().await;
    let ask = "SELECT server_id FROM instances WHERE released_at IS NULL ORDER BY server_id";
    let rows = client.query(ask, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
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
async fn a_machine_that_two_lists_lack_is_told_once_and_changes_nothing() {
    let world = World::new().await;
    let one = active(&world, "s1").await;
    let two = active(&world, "s2").await;
    let both = [server("s1", &one.agent_id), server("s2", &two.agent_id)];
    assert_eq!(sweep(&world, &one, &both, 200).await, Swept::default());
    // One list may lack what went from one of its pages to another.
    for now in [300, 301, 599] {
        let swept = sweep(&world, &one, &both[..1], now).await;
        assert_eq!(swept, Swept::default());
        assert_eq!(unseen(&world).await, ["s2"]);
        assert_eq!(shown(&world).await, []);
        assert!(!status(&world, two.agent_id).await.may_remake());
        let why = retry(&world, two.agent_id, OPERATOR, now).await;
        assert_eq!(why, Some(Permission::Nothing));
    }
    let lost = Missing {
        agent_id: two.agent_id,
        server_id: "s2".to_owned(),
        since: at(600),
    };
    // The second time the statement is repeated, since its answer was lost.
    for _ in 0..2 {
        let swept = sweep(&world, &one, &both[..1], 600).await;
        assert_eq!(swept.missing, std::slice::from_ref(&lost));
    }
    assert_eq!(sweep(&world, &one, &both[..1], 1200).await.missing, []);
    assert_eq!(shown(&world).await, [lost]);
    let of = status(&world, two.agent_id).await;
    assert_eq!(of.state.as_str(), "active");
    assert_eq!(of.instance.as_ref().unwrap().missing_since, Some(at(600)));
    assert!(of.may_remake());
    assert!(!status(&world, one.agent_id).await.may_remake());
    world.check().await;
}

#[tokio::test]
async fn a_machine_that_is_seen_again_is_missing_only_after_two_more_lists() {
    let world = World::new().await;
    let one = active(&world, "s1").await;
    let two = active(&world, "s2").await;
    let both = [server("s1", &one.agent_id), server("s2", &two.agent_id)];
    // Its labels were restored between the two lists: the whole shows it, or its own run does,
    // which was not asked for the whole and says nothing of others.
    for (by, seen, now) in [(&one, &both[..], 400), (&two, &both[1..], 1400)] {
        sweep(&world, &one, &both[..1], now - 100).await;
        assert_eq!(unseen(&world).await, ["s2"]);
        sweep(&world, by, seen, now).await;
        assert_eq!(unseen(&world).await, [""; 0]);
        let swept = sweep(&world, &one, &both[..1], now + 300).await;
        assert_eq!(swept.missing, [], "it counts from anew");
        sweep(&world, by, seen, now + 301).await;
    }
    assert_eq!(miss(&world, &one, &both[..1], 3000).await.len(), 1);
    sweep(&world, &two, &both[1..], 3100).await;
    assert_eq!(shown(&world).await, []);
    let why = retry(&world, two.agent_id, OPERATOR, 3101).await;
    assert_eq!(why, Some(Permission::Nothing));
    assert_eq!(miss(&world, &one, &both[..1], 3600).await.len(), 1);
    world.check().await;
}

#[tokio::test]
async fn only_a_whole_short_list_shows_what_is_missing_of_agents_at_rest() {
    let world = World::new().await;
    let asked = active(&world, "s1").await;
    let other = active(&world, "s2").await;
    let mine = [server("s1", &asked.agent_id)];
    let long: Vec<SeenServer> = repeat_n(mine[0].clone(), 200).collect();
    let says_nothing = async |by, seen: &[SeenServer], now, why: &str| {
        let before = unseen(&world).await;
        assert_eq!(sweep(&world, by, seen, now).await.missing, [], "{why}");
        assert_eq!(unseen(&world).await, before, "{why}");
    };
    says_nothing(&asked, &mine, 10 + 119, "too early").await;
    says_nothing(&other, &[], 300, "not asked").await;
    says_nothing(&asked, &long, 300, "cut, maybe").await;
    let stop = (other.agent_id, Command::Stop, OPERATOR);
    command(&world, stop, 300).await;
    says_nothing(&asked, &mine, 900, "queued").await;
    let stopping = open(&world, 901).await;
    says_nothing(&asked, &mine, 1500, "at work").await;
    world.accepted(&done(&world, &stopping), at(1501)).await;
    says_nothing(&asked, &mine, 1502, "just now").await;
    assert_eq!(sweep(&world, &asked, &mine, 2000).await.missing, []);
    assert_eq!(unseen(&world).await, ["s2"]);
    says_nothing(&other, &[], 2300, "not asked").await;
    says_nothing(&asked, &long, 2300, "cut, maybe").await;
    assert_eq!(sweep(&world, &asked, &mine, 2301).await.missing.len(), 1);
    // What is to go, and could not be seen to be gone, is no machine that should be there.
    let delete = (asked.agent_id, Command::Delete, OPERATOR);
    command(&world, delete, 3001).await;
    let destroy = open(&world, 3002).await;
    world.accepted(&broken(&world, &destroy), at(3003)).await;
    assert_eq!(miss(&world, &asked, &[], 4000).await, []);
    world.check().await;
}

#[tokio::test]
async fn the_operators_retry_makes_a_missing_machine_anew_and_no_one_elses() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    let nothing = Some(Permission::Nothing);
    assert_eq!(retry(&world, agent, OPERATOR, 20).await, nothing);
    miss(&world, &first, &[], 600).await;
    assert_eq!(retry(&world, agent, "customer", 601).await, nothing);
    assert_eq!(held(&world).await, ["s1"]);
    let remake = CommandRecord {
        agent_id: agent,
        command: Command::Retry,
        by: OPERATOR,
        key: None,
        fresh_job_id: JobId(world.id()),
    };
    // The second time the statement is repeated, since its answer was lost.
    for _ in 0..2 {
        let outcome = world.store.command_agent(&remake, at(602)).await.unwrap();
        let queued_job_id = Some(remake.fresh_job_id);
        assert_eq!(outcome, CommandOutcome::Applied { queued_job_id });
    }
    assert_eq!(
        world.state(agent).await,
        "provisioning: provision queued none"
    );
    assert_eq!(held(&world).await, [""; 0], "given up at once");
    assert_eq!(shown(&world).await, []);
    assert!(status(&world, agent).await.instance.is_none());
    world.check().await;
    let busy = Some(Permission::Busy);
    assert_eq!(retry(&world, agent, OPERATOR, 603).await, busy);
    let again = open(&world, 604).await;
    assert_eq!(again.kind, JobKind::Provision);
    let mut success = world.success(&again);
    success.facts.server_id = Some("s2".to_owned());
    for now in [700, 701] {
        world.tell(&success, at(now)).await;
    }
    let now = status(&world, agent).await;
    assert_eq!(now.state.as_str(), "active");
    let instance = now.instance.unwrap();
    assert_eq!((&*instance.server_id, instance.missing_since), ("s2", None));
    // The first one turns up after all: it is a second one now, and only shown.
    let both = [server("s1", &agent), server("s2", &agent)];
    let swept = sweep(&world, &first, &both, 1200).await;
    assert_eq!(swept.strays[0].why, "its agent works on another server");
    assert_eq!(
        world.state(agent).await,
        "active: provision succeeded succeeded"
    );
    // It goes with the agent, by its id.
    cancel(&world, agent, 1300).await;
    let destroy = open(&world, 1301).await;
    assert_eq!(told(&world, &destroy, 1302).await, ["s1", "s2"]);
    world.accepted(&done(&world, &destroy), at(1303)).await;
    assert_eq!(held(&world).await, [""; 0]);
    world.check().await;
}

/// An agent whose missing machine was given up, and whose new one could not be made.
async fn failed_remaking(world: &World) -> OpenedAttempt {
    let first = active(world, "s1").await;
    miss(world, &first, &[], 600).await;
    assert_eq!(retry(world, first.agent_id, OPERATOR, 601).await, None);
    let again = open(world, 602).await;
    world.accepted(&broken(world, &again), at(603)).await;
    let clean_up = open(world, 604).await;
    assert_eq!(clean_up.kind, JobKind::Destroy);
    assert_eq!(told(world, &clean_up, 605).await, ["s1"]);
    clean_up
}

#[tokio::test]
async fn what_is_left_of_the_old_machine_goes_with_the_clean_up() {
    let world = World::new().await;
    let clean_up = failed_remaking(&world).await;
    let agent = clean_up.agent_id;
    world.accepted(&done(&world, &clean_up), at(606)).await;
    assert_eq!(
        world.state(agent).await,
        "failed: destroy succeeded succeeded"
    );
    // Whatever is made later, the old id was confirmed gone.
    assert_eq!(retry(&world, agent, "customer", 607).await, None);
    let third = open(&world, 608).await;
    assert_eq!(third.kind, JobKind::Provision);
    world.accepted(&broken(&world, &third), at(609)).await;
    let clean_up = open(&world, 610).await;
    assert_eq!(told(&world, &clean_up, 611).await, [""; 0]);
    world.accepted(&done(&world, &clean_up), at(612)).await;
    cancel(&world, agent, 613).await;
    assert_eq!(status(&world, agent).await.state.as_str(), "deleted");
    assert_eq!(held(&world).await, [""; 0]);
    world.check().await;
}

#[tokio::test]
async fn what_the_clean_up_could_not_remove_is_told_to_the_last_destroy() {
    let world = World::new().await;
    let clean_up = failed_remaking(&world).await;
    let agent = clean_up.agent_id;
    world.accepted(&broken(&world, &clean_up), at(606)).await;
    assert_eq!(status(&world, agent).await.state.as_str(), "failed");
    cancel(&world, agent, 607).await;
    let destroy = open(&world, 608).await;
    assert_eq!(told(&world, &destroy, 609).await, ["s1"]);
    world.accepted(&done(&world, &destroy), at(610)).await;
    assert_eq!(
        world.state(agent).await,
        "deleted: destroy succeeded succeeded"
    );
    assert_eq!(held(&world).await, [""; 0]);
    world.check().await;
}

#[tokio::test]
async fn an_agent_that_is_over_before_its_remaking_began_leaves_nothing() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    miss(&world, &first, &[], 600).await;
    assert_eq!(retry(&world, agent, OPERATOR, 601).await, None);
    cancel(&world, agent, 602).await;
    assert_eq!(world.state(agent).await, "deleting: destroy queued none");
    let destroy = open(&world, 603).await;
    assert_eq!(told(&world, &destroy, 604).await, ["s1"]);
    world.accepted(&done(&world, &destroy), at(605)).await;
    assert_eq!(status(&world, agent).await.state.as_str(), "deleted");
    world.check().await;
}

#[tokio::test]
async fn a_retry_of_what_was_given_up_makes_nothing_anew() {
    let world = World::new().await;
    let first = active(&world, "s1").await;
    let agent = first.agent_id;
    command(&world, (agent, Command::Stop, OPERATOR), 20).await;
    let stop = open(&world, 21).await;
    world.accepted(&done(&world, &stop), at(22)).await;
    assert_eq!(miss(&world, &first, &[], 600).await.len(), 1);
    // Nobody wants it to run.
    let nothing = Some(Permission::Nothing);
    assert_eq!(retry(&world, agent, OPERATOR, 601).await, nothing);
    command(&world, (agent, Command::Start, OPERATOR), 602).await;
    let busy = Some(Permission::Busy);
    assert_eq!(retry(&world, agent, OPERATOR, 603).await, busy);
    let start = open(&world, 604).await;
    let whatever_its_labels = told(&world, &start, 605).await;
    assert_eq!(whatever_its_labels, ["s1"]);
    for (by, now) in [("customer", 610), (OPERATOR, 620)] {
        let start = if now == 610 {
            start.clone()
        } else {
            open(&world, now).await
        };
        world.accepted(&broken(&world, &start), at(now + 1)).await;
        assert_eq!(world.state(agent).await, "paused: start failed failed");
        assert!(!status(&world, agent).await.may_remake());
        assert_eq!(retry(&world, agent, by, now + 2).await, None);
        assert_eq!(world.state(agent).await, "starting: start queued none");
        assert_eq!(held(&world).await, ["s1"], "it is the agent's still");
    }
    // It had only lost its labels. It runs, is still missing, and nothing is given up any more.
    let start = open(&world, 630).await;
    world.accepted(&done(&world, &start), at(631)).await;
    assert_eq!(
        world.state(agent).await,
        "active: start succeeded succeeded"
    );
    assert!(status(&world, agent).await.may_remake());
    world.check().await;
}
