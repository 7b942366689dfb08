//! Inventories: what is asked for and when, what is swept, and what is only shown.

use super::world::{World, at};
use crate::{
    CommandRecord, InventoryRecord, MachineFacts, OpenedAttempt, ReportRecord, ReportSaid,
    SeenServer, Store, Stray, Swept,
};
use domain::{AgentId, Command, ErrorClass, Fence, JobId, News};
use futures_util::future::join_all;

pub(super) fn server(server_id: &str, agent: &(impl ToString + ?Sized)) -> SeenServer {
    SeenServer {
        server_id: server_id.to_owned(),
        agent_id: agent.to_string(),
        fence: "1".to_owned(),
    }
}

pub(super) async fn sweep(
    world: &World,
    by: &OpenedAttempt,
    seen: &[SeenServer],
    now: u64,
) -> Swept {
    let fresh: Vec<JobId> = seen.iter().map(|_| JobId(world.id())).collect();
    let inventory = InventoryRecord {
        job_id: by.job_id,
        fence: by.fence,
        installation: "default",
        seen,
        fresh_job_ids: &fresh,
    };
    world
        .store
        .take_inventory(&inventory, at(now))
        .await
        .unwrap()
}

async fn open(world: &World, now: u64) -> Vec<OpenedAttempt> {
    let opened = world.store.open_due_attempts(at(now), 100, world.id());
    opened.await.unwrap()
}

/// An active agent whose server is `server_id`.
async fn active(world: &World, server_id: &str) -> OpenedAttempt {
    let attempt = world.opened().await;
    let mut done = world.success(&attempt);
    done.facts.server_id = Some(server_id.to_owned());
    world.accepted(&done, at(10)).await;
    attempt
}

async fn cancel(world: &World, agent: AgentId, now: u64) {
    let subscription = format!("sub_{agent}");
    let event = world.news(
        &format!("evt_end_{agent}"),
        &subscription,
        900,
        News::Canceled,
    );
    world.store.record_event(&event, at(now)).await.unwrap();
}

async fn unpaid(world: &World, draft: AgentId) {
    let unpaid = crate::EventRecord {
        news: Some(News::None),
        ..world.payment("evt_draft", "sub_draft", draft)
    };
    world.store.record_event(&unpaid, at(17)).await.unwrap();
}

async fn gone(world: &World, server_id: &str) -> OpenedAttempt {
    let attempt = active(world, server_id).await;
    cancel(world, attempt.agent_id, 20).await;
    let destroy = open(world, 20).await.remove(0);
    world.accepted(&world.success(&destroy), at(30)).await;
    assert_eq!(
        world.state(attempt.agent_id).await,
        "deleted: destroy succeeded succeeded"
    );
    destroy
}

#[tokio::test]
async fn only_an_agent_that_is_over_and_at_rest_gets_a_job() {
    let world = World::new().await;
    let over = gone(&world, "s1").await;
    let busy = gone(&world, "s2").await;
    let settled = active(&world, "s3").await;
    let failed = world.opened().await;
    world
        .accepted(&world.failure(&failed, ErrorClass::Permanent), at(12))
        .await;
    let clean_up = open(&world, 12).await.remove(0);
    world.accepted(&world.success(&clean_up), at(13)).await;
    // Deleted by its owner while its stop is at work, so that a destroy waits behind it.
    let stopping = active(&world, "s4").await;
    for (command, now) in [(Command::Stop, 14), (Command::Delete, 16)] {
        let record = CommandRecord {
            agent_id: stopping.agent_id,
            command,
            by: "operator",
            key: None,
            fresh_job_id: JobId(world.id()),
        };
        world.store.command_agent(&record, at(now)).await.unwrap();
        open(&world, now).await;
    }
    let draft = AgentId(world.id());
    unpaid(&world, draft).await;
    // Something was swept of it just now.
    sweep(&world, &over, &[server("x2", &busy.agent_id)], 2000).await;
    let seen = [
        server("s1", &over.agent_id),
        server("s1 again", &over.agent_id),
        server("x2", &busy.agent_id),
        server("s3", &settled.agent_id),
        server("second", &settled.agent_id),
        server("of a failed one", &failed.agent_id),
        server("s4", &stopping.agent_id),
        server("of a draft", &draft),
        server("of nobody", &AgentId(world.id())),
        server("garbage", "'; DROP TABLE agents; --"),
        server("no label", ""),
    ];
    let swept = sweep(&world, &over, &seen, 2001).await;
    assert_eq!(swept.queued.len(), 1);
    assert_eq!(
        world.state(over.agent_id).await,
        "deleting: destroy queued none"
    );
    let odd = swept.strays.iter();
    let mut odd: Vec<_> = odd.map(|one| (&*one.server_id, &*one.why)).collect();
    odd.sort_unstable();
    let unknown = "no agent of this id is known";
    assert_eq!(
        odd,
        [
            ("garbage", unknown),
            ("no label", unknown),
            ("of a draft", "its agent is draft and should have no server"),
            (
                "of a failed one",
                "its agent is failed and should have no server"
            ),
            ("of nobody", unknown),
            ("second", "its agent works on another server"),
        ]
    );
    let again = sweep(&world, &over, &seen, 2002).await;
    assert_eq!(again, Swept::default());
    world.check().await;
}

#[tokio::test]
async fn what_changed_a_moment_ago_is_left_alone() {
    let world = World::new().await;
    let over = gone(&world, "s1").await;
    let seen = [server("s1", &over.agent_id)];
    assert_eq!(sweep(&world, &over, &seen, 149).await, Swept::default());
    assert_eq!(sweep(&world, &over, &seen, 150).await.queued.len(), 1);
}

#[tokio::test]
async fn a_stray_is_told_once_and_gone_when_a_whole_inventory_lacks_it() {
    let world = World::new().await;
    let asked = active(&world, "s1").await;
    let client = world.client().await;
    let ask = "UPDATE attempts SET inventory_asked = true";
    client.batch_execute(ask).await.unwrap();
    let second = active(&world, "s2").await;
    let stray = server("stray", &second.agent_id);
    let told = |swept: Swept| -> Vec<String> {
        let strays = swept.strays.into_iter();
        strays.map(|stray: Stray| stray.server_id).collect()
    };
    let shown = async || -> Vec<String> {
        let strays = world
            .store
            .overview(at(0))
            .await
            .unwrap()
            .strays
            .into_iter();
        strays.map(|stray| stray.server_id).collect()
    };
    let here = std::slice::from_ref(&stray);
    assert_eq!(told(sweep(&world, &asked, here, 200).await), ["stray"]);
    assert_eq!(told(sweep(&world, &asked, here, 900).await), [""; 0]);
    // Somebody who was not asked for the whole saw only its own agent's.
    sweep(&world, &second, &[], 901).await;
    assert_eq!(shown().await, ["stray"]);
    // Its agent is busy just now, but there it is.
    let stop = CommandRecord {
        agent_id: second.agent_id,
        command: Command::Stop,
        by: "operator",
        key: None,
        fresh_job_id: JobId(world.id()),
    };
    world.store.command_agent(&stop, at(902)).await.unwrap();
    sweep(&world, &asked, here, 903).await;
    assert_eq!(shown().await, ["stray"]);
    sweep(&world, &asked, &[], 1600).await;
    assert_eq!(shown().await, [""; 0]);
    let unknown = server("stray", &AgentId(world.id()));
    assert_eq!(
        told(sweep(&world, &asked, &[unknown], 1700).await),
        ["stray"]
    );
}

#[tokio::test]
async fn one_of_many_claims_is_asked_for_the_whole_every_ten_minutes() {
    let world = World::new().await;
    for number in 0..24 {
        let agent = AgentId(world.id());
        world
            .pay(&format!("evt_{number}"), &format!("sub_{number}"), agent)
            .await;
    }
    let attempts = open(&world, 1).await;
    let config = crate::ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    };
    let claim = |attempt: &OpenedAttempt, installation: &str| ReportRecord {
        installation: installation.to_owned(),
        ..world.report(attempt, 1, ReportSaid::Progress)
    };
    let at_once = attempts[..20].iter().map(|attempt| {
        let claim = claim(attempt, "default");
        let store = Store::new(&config).unwrap();
        async move { store.apply_report(&claim, at(10)).await.unwrap().outcome }
    });
    let asked: Vec<bool> = join_all(at_once)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            crate::ReportOutcome::Accepted(accepted) => accepted.inventory,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1);
    // Whoever repeats its claim is told the same.
    for (attempt, asked) in attempts[..20].iter().zip(asked) {
        let again = world.accepted(&claim(attempt, "default"), at(700)).await;
        assert_eq!(again.inventory, asked);
    }
    let inventory = async |attempt, installation, now| {
        let accepted = world.accepted(&claim(attempt, installation), at(now)).await;
        accepted.inventory
    };
    assert!(!inventory(&attempts[20], "default", 609).await);
    assert!(inventory(&attempts[21], "another", 609).await);
    assert!(inventory(&attempts[22], "default", 610).await);
    assert!(!inventory(&attempts[23], "default", 611).await);
}

#[tokio::test]
async fn three_hundred_servers_among_many_agents_are_taken_in_one_statement() {
    let world = World::new().await;
    let client = world.client().await;
    let many = "INSERT INTO agents (agent_id, name, region, payment, state, fresh_job_id,
            created_at, updated_at)
        SELECT gen_random_uuid(), 'a', 'us-east', 'none', 'draft', gen_random_uuid(), now(), now()
        FROM generate_series(1, 5000)";
    client.batch_execute(many).await.unwrap();
    let by = active(&world, "s1").await;
    let seen: Vec<SeenServer> = (0..300)
        .map(|number| server(&number.to_string(), &AgentId(world.id())))
        .collect();
    assert_eq!(sweep(&world, &by, &seen, 100).await.strays.len(), 300);
    assert_eq!(
        world.store.overview(at(101)).await.unwrap().strays.len(),
        20
    );
    let nobody = OpenedAttempt {
        fence: Fence(99),
        ..by
    };
    assert_eq!(sweep(&world, &nobody, &[], 102).await, Swept::default());
}

fn claim(world: &World, attempt: &OpenedAttempt) -> ReportRecord {
    let mut claim = world.report(attempt, 1, ReportSaid::Progress);
    claim.facts = MachineFacts::default();
    claim
}

/// Servers and devices that the claim's reply names.
async fn told(world: &World, attempt: &OpenedAttempt, now: u64) -> (Vec<String>, Vec<String>) {
    let mut accepted = world.accepted(&claim(world, attempt), at(now)).await;
    accepted.servers.sort();
    accepted.devices.sort();
    (accepted.servers, accepted.devices)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn operations_are_told_what_attempts_reported_until_a_destroy_removed_it() {
    let world = World::new().await;
    let first = world.opened().await;
    let nothing = (Vec::new(), Vec::new());
    assert_eq!(told(&world, &first, 2).await, nothing);
    let mut lost = world.report(&first, 2, ReportSaid::Progress);
    lost.facts.server_id = Some("s1".to_owned());
    lost.facts.device_id = Some("n1".to_owned());
    world.accepted(&lost, at(3)).await;
    let mut failure = world.failure(&first, ErrorClass::Transient);
    failure.facts = MachineFacts::default();
    world.accepted(&failure, at(4)).await;
    let second = open(&world, 600).await.remove(0);
    assert_eq!(
        told(&world, &second, 600).await,
        nothing,
        "a provision looks itself"
    );
    let mut done = world.success(&second);
    done.facts.server_id = Some("s2".to_owned());
    done.facts.device_id = Some("n2".to_owned());
    world.accepted(&done, at(610)).await;
    cancel(&world, first.agent_id, 620).await;
    let destroy = open(&world, 620).await.remove(0);
    let all = (names(&["s1", "s2"]), names(&["n1", "n2"]));
    for now in [621, 622] {
        assert_eq!(
            told(&world, &destroy, now).await,
            all,
            "also when it is asked twice"
        );
    }
    let mut removed = world.success(&destroy);
    removed.facts = MachineFacts::default();
    world.accepted(&removed, at(630)).await;
    let swept = sweep(&world, &destroy, &[server("s3", &first.agent_id)], 3000).await;
    assert_eq!(swept.queued.len(), 1);
    let again = open(&world, 3000).await.remove(0);
    assert_eq!(told(&world, &again, 3001).await, nothing, "that is gone");
    world.check().await;
}
