//! What the operator commands, and what becomes of it.

use crate::{
    queue::Sent,
    world::{AGENT, Answer, JOB, World, at, command, done, operator, send},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use domain::{AgentId, Fence, JobId, News};
use futures_util::future::join_all;
use host::Nudge;
use serde_json::{Value, json};
use store::{InventoryRecord, ReportSaid};
use uuid::Uuid;

fn path(end: &str) -> String {
    format!("/agents/{AGENT}{end}")
}

fn job(agent: &Value) -> JobId {
    agent["job"]["job_id"].as_str().unwrap().parse().unwrap()
}

/// The nudge of a job that was queued at 10.
fn nudge(job: JobId) -> Sent {
    Sent {
        nudge: Nudge::job(job, at(10)),
        delay_seconds: 0,
    }
}

#[tokio::test]
async fn an_agent_is_stopped_started_and_deleted() {
    let world = World::new().await;
    world.activate().await;

    let stopping = world.post(&path("/stop"), None).await.expect(202);
    assert_eq!(stopping["status"], "stopping");
    assert_eq!(stopping["wish"], "stop");
    assert_eq!(stopping["job"]["kind"], "stop");
    assert_eq!(world.queue.take(), [nudge(job(&stopping))]);
    world.open().await;
    world
        .report_of(job(&stopping), Fence(2), 1, (None, done()))
        .await;
    assert_eq!(world.agent().await["status"], "paused");

    let starting = world.post(&path("/start"), None).await.expect(202);
    assert_eq!(starting["status"], "starting");
    assert_eq!(world.queue.take(), [nudge(job(&starting))]);

    let deleting = world.delete(&path(""), None).await.expect(202);
    assert_eq!(deleting["status"], "deleting");
    assert_eq!(deleting["job"]["kind"], "destroy");
    assert_eq!(world.queue.take(), [nudge(job(&deleting))]);
    world.open().await;
    world
        .report_of(job(&deleting), Fence(3), 1, (None, done()))
        .await;
    assert_eq!(world.agent().await["status"], "deleted");
    assert_eq!(
        world.store.contradictions().await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_machine_that_is_missing_is_made_anew_when_the_operator_says_so() {
    let world = World::new().await;
    world.pay(at(9)).await;
    world.open().await;
    world.report(1, None, ReportSaid::Progress).await;
    world.report(2, None, done()).await;
    let active = world.agent().await;
    assert_eq!(active["instance"]["missing_since"], Value::Null);
    assert_eq!(active["allowed"], json!(["stop", "delete"]));
    let inventory = InventoryRecord {
        job_id: JOB,
        fence: Fence(1),
        installation: "default",
        seen: &[],
        fresh_job_ids: &[],
    };
    let list = async |now| {
        world
            .store
            .take_inventory(&inventory, at(now))
            .await
            .unwrap()
    };
    assert_eq!(list(300).await.missing, [], "one list is no proof");
    assert_eq!(world.agent().await["allowed"], json!(["stop", "delete"]));
    assert_eq!(list(600).await.missing.len(), 1);
    let missing = world.agent().await;
    assert_eq!(missing["status"], "active");
    assert_eq!(missing["instance"]["missing_since"], "2027-01-15T08:10:00Z");
    assert_eq!(missing["allowed"], json!(["retry", "stop", "delete"]));
    world.queue.take();
    let making = world.post(&path("/provision"), None).await.expect(202);
    assert_eq!(making["status"], "provisioning");
    assert_eq!(making["job"]["kind"], "provision");
    assert_eq!(making["instance"], Value::Null, "the old one is given up");
    assert_eq!(world.queue.take(), [nudge(job(&making))]);
}

#[tokio::test]
async fn what_is_so_already_changes_nothing() {
    let world = World::new().await;
    world.activate().await;
    let active = world.post(&path("/start"), None).await.expect(200);
    assert_eq!(active["status"], "active");
    assert_eq!(world.queue.take(), []);

    let first = world.post(&path("/stop"), None).await.expect(202);
    let again = world.post(&path("/stop"), None).await.expect(200);
    assert_eq!(again, first);
    // The job waits still, and its nudge may have been lost.
    assert_eq!(world.queue.take(), [nudge(job(&first)), nudge(job(&first))]);

    world.delete(&path(""), None).await.expect(202);
    world.delete(&path(""), None).await.expect(200);
}

#[tokio::test]
async fn a_refusal_says_what_stands_in_the_way() {
    let world = World::new().await;
    world.pay(at(9)).await;
    let told = world
        .post(&path("/provision"), None)
        .await
        .refused(409, "busy");
    assert!(told.ends_with("provision is at work"), "{told}");
    world.open().await;
    world.report(1, None, done()).await;
    world
        .post(&path("/provision"), None)
        .await
        .refused(409, "nothing_to_do");

    world.stripe_says(News::PastDue, 200).await;
    let told = world
        .post(&path("/start"), None)
        .await
        .refused(409, "payment_missing");
    assert!(told.contains("cannot be started"), "{told}");

    world.delete(&path(""), None).await.expect(202);
    for end in ["/provision", "/stop", "/start"] {
        let told = world.post(&path(end), None).await.refused(409, "gone");
        assert!(told.contains("is at work"), "{told}");
    }
}

#[tokio::test]
async fn a_draft_can_only_be_deleted() {
    let world = World::new().await;
    let body = r#"{"name": "draft"}"#;
    let request = operator(Method::POST, "/agents").header("content-type", "application/json");
    let made = world
        .send(request.body(Body::from(body)).unwrap())
        .await
        .expect(201);
    let path = format!("/agents/{}", made["agent_id"].as_str().unwrap());
    for end in ["/provision", "/stop", "/start"] {
        let told = world.post(&format!("{path}{end}"), None).await;
        told.refused(409, "payment_missing");
    }
    assert_eq!(
        world.delete(&path, None).await.expect(202)["status"],
        "deleted"
    );
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn what_was_given_up_is_tried_again() {
    let world = World::new().await;
    world.give_up().await;
    let failed = world.agent().await;
    assert_eq!(failed["reason"], "the image is not known");
    assert_eq!(failed["job"]["kind"], "destroy");
    world.open().await;
    world
        .report_of(job(&failed), Fence(2), 1, (None, done()))
        .await;

    let cleaned = world.agent().await;
    assert_eq!(
        (&cleaned["status"], &cleaned["reason"]),
        (&"failed".into(), &failed["reason"])
    );
    assert_eq!(cleaned["allowed"], json!(["retry", "delete"]));
    let told = world
        .post(&path("/stop"), None)
        .await
        .refused(409, "nothing_to_do");
    assert_eq!(told, "the agent has no machine that could be stopped");
    let again = world.post(&path("/provision"), None).await.expect(202);
    assert_eq!(
        (&again["status"], &again["reason"]),
        (&"provisioning".into(), &Value::Null)
    );
    assert_eq!(world.queue.take(), [nudge(job(&again))]);
    world
        .post(&path("/provision"), None)
        .await
        .refused(409, "busy");
}

#[tokio::test]
async fn nobody_is_not_commanded() {
    let world = World::new().await;
    let nobody = AgentId(Uuid::from_u128(77));
    for end in ["/provision", "/stop", "/start", "/link"] {
        let told = world
            .post(&format!("/agents/{nobody}{end}"), Some("k"))
            .await;
        told.refused(404, "not_found");
        let told = world.post(&format!("/agents/7{end}"), None).await;
        told.refused(400, "malformed");
    }
    let told = world.delete(&format!("/agents/{nobody}"), None).await;
    told.refused(404, "not_found");
}

#[tokio::test]
async fn the_same_key_gets_the_same_status_and_the_agent_as_it_is_now() {
    let world = World::new().await;
    world.activate().await;
    let first = world.post(&path("/stop"), Some("key-1")).await.expect(202);
    assert_eq!(first["status"], "stopping");
    world.post(&path("/start"), Some("key-2")).await.expect(202);
    world.queue.take();

    let again = world.post(&path("/stop"), Some("key-1")).await.expect(202);
    assert_eq!(again["wish"], "run", "a repeat changes nothing");
    let unchanged = world.post(&path("/start"), Some("key-3")).await.expect(200);
    world.post(&path("/stop"), None).await.expect(202);
    let again = world.post(&path("/start"), Some("key-3")).await.expect(200);
    assert_eq!(
        (&unchanged["wish"], &again["wish"]),
        (&"run".into(), &"stop".into())
    );

    world
        .post(&path("/provision"), Some("key-4"))
        .await
        .refused(409, "busy");
    world.delete(&path(""), None).await.expect(202);
    world
        .post(&path("/provision"), Some("key-4"))
        .await
        .refused(409, "busy");
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let world = World::new().await;
    world.activate().await;
    world.post(&path("/stop"), Some("key")).await.expect(202);
    let code = "idempotency_key_reused";
    world
        .post(&path("/start"), Some("key"))
        .await
        .refused(422, code);
    world
        .delete(&path(""), Some("key"))
        .await
        .refused(422, code);
    let other = AgentId(Uuid::from_u128(0x50));
    world.pay_for(other, "sub_2", at(9)).await;
    let told = world
        .post(&format!("/agents/{other}/stop"), Some("key"))
        .await;
    told.refused(422, code);
    assert_eq!(world.agent().await["wish"], "stop");
    // A different spelling of the same agent is the same request.
    let shouted = AGENT.to_string().to_uppercase();
    world
        .post(&format!("/agents/{shouted}/stop"), Some("key"))
        .await
        .expect(202);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let world = World::new().await;
    world.activate().await;
    world.post(&path("/stop"), Some("key")).await.expect(202);
    world.be_at(24 * 3600 + 11);
    world.post(&path("/start"), Some("key")).await.expect(202);
}

#[tokio::test]
async fn only_visible_ascii_is_a_key() {
    let world = World::new().await;
    world.activate().await;
    let long = "x".repeat(256);
    for key in ["", "a b", long.as_str(), "\u{e9}"] {
        let request = operator(Method::POST, &path("/stop"));
        let request = request.header("idempotency-key", key.as_bytes());
        let told = world.send(request.body(Body::empty()).unwrap()).await;
        let told = told.refused(400, "malformed");
        assert!(told.starts_with("Idempotency-Key: "), "{told}");
    }
    let twice = operator(Method::POST, &path("/stop"))
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    let told = world.send(twice.body(Body::empty()).unwrap()).await;
    assert_eq!(
        told.refused(400, "malformed"),
        "Idempotency-Key: is given twice"
    );
    assert_eq!(world.agent().await["wish"], "run");
    world
        .post(&path("/stop"), Some(&"~".repeat(255)))
        .await
        .expect(202);
}

#[tokio::test]
async fn a_command_takes_no_body() {
    let world = World::new().await;
    world.activate().await;
    let with = |body: &str| {
        let request = operator(Method::POST, &path("/stop"));
        request.body(Body::from(body.to_owned())).unwrap()
    };
    world
        .send(with(r#"{"force": true}"#))
        .await
        .refused(400, "malformed");
    world
        .send(with(&" ".repeat(16_385)))
        .await
        .refused(413, "too_large");
    assert_eq!(world.agent().await["wish"], "run");
    world.send(with("{}\n")).await.expect(202);
}

#[tokio::test]
async fn a_command_that_could_not_be_told_is_told_by_its_repeat() {
    let world = World::new().await;
    world.activate().await;
    for (key, expected) in [(Some("key"), 202), (None, 200)] {
        world.queue.be_away(true);
        world
            .post(&path("/stop"), key)
            .await
            .refused(503, "unavailable");
        world.queue.be_away(false);
        let stopping = world.post(&path("/stop"), key).await.expect(expected);
        assert_eq!(world.queue.take(), [nudge(job(&stopping))]);
    }
}

#[tokio::test]
async fn a_retry_that_could_not_be_told_is_told_by_its_repeat() {
    let world = World::new().await;
    world.give_up().await;
    let cleanup = job(&world.agent().await);
    world.open().await;
    world.report_of(cleanup, Fence(2), 1, (None, done())).await;
    for key in [None, Some("key")] {
        world.queue.be_away(true);
        for _ in 0..2 {
            let lost = world.post(&path("/provision"), key).await;
            lost.refused(503, "unavailable");
        }
        world.queue.be_away(false);
        // It is refused, because it was taken before.
        let repeat = world.post(&path("/provision"), key).await;
        repeat.refused(409, "busy");
        let queued = job(&world.agent().await);
        assert_eq!(world.queue.take(), [nudge(queued)]);
    }
}

async fn at_once(world: &World, request: impl Fn() -> Request<Body>) -> Vec<Answer> {
    let processes = (0..4).map(|_| world.process());
    let asked =
        processes.flat_map(|router| [send(router.clone(), request()), send(router, request())]);
    join_all(asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_commands_at_once_one_changes_something() {
    let world = World::new().await;
    world.activate().await;
    let answers = at_once(&world, || command(Method::POST, &path("/stop"), None)).await;
    let mut statuses: Vec<StatusCode> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(
        statuses.iter().filter(|status| **status == 202).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        7,
        "{statuses:?}"
    );
    let jobs: Vec<JobId> = answers.iter().map(|answer| job(&answer.body)).collect();
    assert!(
        jobs.iter().all(|job| *job == jobs[0] && *job != JOB),
        "{jobs:?}"
    );

    world.post(&path("/start"), None).await.expect(202);
    let keyed = || command(Method::DELETE, &path(""), Some("key"));
    for answer in at_once(&world, keyed).await {
        assert_eq!(answer.expect(202)["wish"], "delete");
    }
}
