//! What the schema itself refuses, and that its rules are the domain's.

use super::world::{World, at};
use domain::{
    AgentState, AttemptState, Ending, Existing, JobKind, JobState, Machine, Payment, Wish,
};
use std::fmt::Display;

async fn refused(world: &World, sql: &str) -> String {
    let client = world.client().await;
    match client.batch_execute(sql).await {
        Ok(()) => panic!("{sql} was not refused"),
        Err(error) => error.as_db_error().unwrap().message().to_owned(),
    }
}

#[tokio::test]
async fn illegal_states_are_refused() {
    let world = World::new().await;
    let attempt = world.opened().await;
    world.accepted(&world.success(&attempt), at(5)).await;
    for (sql, why) in [
        (
            "UPDATE jobs SET state = 'queued', finished_at = NULL",
            "illegal change of job",
        ),
        (
            "UPDATE attempts SET state = 'claimed', finished_at = NULL",
            "illegal change of attempt",
        ),
        (
            "DELETE FROM instances; UPDATE agents SET reason = 'x'",
            "without an instance",
        ),
        ("UPDATE jobs SET state = 'running'", "jobs_check"),
        ("UPDATE attempts SET state = 'lost'", "attempts_state_check"),
        ("UPDATE agents SET fence = 0, live_fence = 1", "agents"),
    ] {
        let message = refused(&world, sql).await;
        assert!(message.contains(why), "{sql}: {message}");
    }
    world.check().await;
}

#[tokio::test]
async fn an_agent_has_one_live_attempt_and_one_open_job_of_a_kind() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let (agent, job) = (attempt.agent_id, attempt.job_id);
    let second_attempt = format!(
        "INSERT INTO attempts
             (agent_id, fence, job_id, number, state, opened_by, opened_at, updated_at)
         VALUES ('{agent}', 2, '{job}', 2, 'intended', '{job}', now(), now())"
    );
    assert!(
        refused(&world, &second_attempt)
            .await
            .contains("attempts_one_live_per_agent")
    );
    let second_job = format!(
        "INSERT INTO jobs (job_id, agent_id, kind, state, due_at, timer_at, created_at, updated_at)
         VALUES (gen_random_uuid(), '{agent}', 'provision', 'queued', now(), now(), now(), now())"
    );
    assert!(
        refused(&world, &second_job)
            .await
            .contains("jobs_one_open_per_kind")
    );
}

#[tokio::test]
async fn a_state_written_by_hand_follows_the_facts_all_the_same() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let client = world.client().await;
    client
        .batch_execute("UPDATE agents SET state = 'active'")
        .await
        .unwrap();
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision queued intended"
    );
    world.check().await;
}

#[tokio::test]
async fn a_migration_settles_agents_whose_facts_mean_something_else_now() {
    let world = World::new().await;
    let attempt = world.opened().await;
    let client = world.client().await;
    let before = "SET session_replication_role = replica;
        UPDATE agents SET state = 'failed'; SET session_replication_role = origin";
    client.batch_execute(before).await.unwrap();
    let config = crate::ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    };
    crate::migrate(&config).await.unwrap();
    assert_eq!(
        world.state(attempt.agent_id).await,
        "provisioning: provision queued intended"
    );
    world.check().await;
}

#[tokio::test]
async fn every_word_of_the_rules_may_stand_in_a_row() {
    let world = World::new().await;
    let client = world.client().await;
    let text = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1";
    for (name, words) in [
        ("agents_existing_check", quoted(Existing::ALL)),
        ("agents_payment_check", quoted(Payment::ALL)),
        ("agents_wish_check", quoted(Wish::ALL)),
        ("agents_gave_up_check", quoted(JobKind::ALL)),
        ("agents_live_check", quoted(JobKind::ALL)),
        ("agents_state_check", quoted(AgentState::ALL)),
        ("jobs_state_check", quoted(JobState::ALL)),
        ("attempts_state_check", quoted(AttemptState::ALL)),
    ] {
        let check: String = client.query_one(text, &[&name]).await.unwrap().get(0);
        for word in words {
            assert!(check.contains(&word), "{name} lacks {word}");
        }
    }
}

fn quoted<T: Display>(words: &[T]) -> Vec<String> {
    words.iter().map(|word| format!("'{word}'")).collect()
}

fn legal<M: Machine + Display>() -> Vec<[String; 3]> {
    let first = M::FIRST
        .iter()
        .map(|new| [M::NAME.to_owned(), String::new(), new.to_string()]);
    let pairs = M::LEGAL.iter().flat_map(|(old, followers)| {
        followers
            .iter()
            .map(|new| [M::NAME.to_owned(), old.to_string(), new.to_string()])
    });
    first.chain(pairs).collect()
}

#[tokio::test]
async fn the_rules_in_the_database_are_the_domains() {
    let world = World::new().await;
    crate::migrate(&crate::ConnectConfig {
        url: world.url.clone().into(),
        ca_pem: None,
    })
    .await
    .unwrap();
    let client = world.client().await;
    let rows = client
        .query("SELECT machine, old, new FROM legal_change", &[])
        .await
        .unwrap();
    let mut found: Vec<[String; 3]> = rows
        .iter()
        .map(|row| [row.get(0), row.get(1), row.get(2)])
        .collect();
    let mut expected = legal::<AgentState>();
    expected.extend(legal::<JobState>());
    expected.extend(legal::<AttemptState>());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let text = "SELECT concat_ws('/', payment, wish, existing, gave_up, live, config_pending,
            next_job, state) FROM decision
        UNION ALL SELECT concat_ws('/', kind, ending, before, after) FROM effect
        UNION ALL SELECT concat_ws('/', payment, age, rank) FROM payment_order";
    let rows = client.query(text, &[]).await.unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut expected = rules();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// The rules as the domain has them, one line each.
fn rules() -> Vec<String> {
    let name = |kind: Option<JobKind>| kind.map_or("none", JobKind::as_str);
    let decisions = domain::decisions().map(|(f, next, state)| {
        let pending = if f.config_pending { "t" } else { "f" };
        let (gave_up, live, next) = (name(f.gave_up), name(f.live), name(next));
        format!(
            "{}/{}/{}/{gave_up}/{live}/{pending}/{next}/{state}",
            f.payment, f.wish, f.existing
        )
    });
    let payments = Payment::ALL
        .iter()
        .map(|payment| format!("{payment}/{}/{}", payment.age(), payment.rank()));
    let mut rules: Vec<String> = decisions.chain(payments).collect();
    for kind in JobKind::ALL {
        for ending in Ending::ALL {
            for before in Existing::ALL {
                let after = domain::effect(*kind, *ending, *before);
                rules.push(format!("{kind}/{ending}/{before}/{after}"));
            }
        }
    }
    rules
}
