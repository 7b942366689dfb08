//! Signed reports: what they change, what they are answered, what is refused.

use crate::{
    queue::Sent,
    world::{AGENT, INSTALLATION, JOB, NOW, World, code, facts, report, sender, signed},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contract::{ErrorClass, REPORT_BYTES_MAX, Report, RunPair, Said, Sender, Step, sign};
use domain::{AgentState, JobState};
use host::Nudge;
use serde_json::json;
use std::time::Duration;
use store::ConnectConfig;

#[tokio::test]
async fn a_claim_gets_the_spec_and_a_timer_and_gets_them_again() {
    let world = World::new().await;
    let spec = json!({"agent_id": AGENT.to_string(), "operation": "provision",
        "installation": INSTALLATION, "agent_name": "Ada's agent", "region": "eu-west"});
    let reply = json!({"received": true, "continue": true, "lease_seconds": 180, "spec": spec,
        "inventory": true});
    let due = NOW.plus(Duration::from_mins(3));
    for _ in 0..2 {
        let answer = world.report(&report(1, Said::Provisioning)).await;
        assert_eq!(answer, (StatusCode::OK, reply.clone()));
        let timer = Sent {
            nudge: Nudge::job(JOB, due),
            delay_seconds: 182,
        };
        assert_eq!(world.queue.take(), [timer]);
    }
    let (status, reply) = world.report(&report(2, Said::Heartbeat)).await;
    assert_eq!((status, reply.get("spec")), (StatusCode::OK, None));
    assert_eq!(world.queue.take(), []);
    assert_eq!(world.status().await.job.unwrap().state, JobState::Running);
}

#[tokio::test]
async fn a_claim_whose_timer_cannot_be_sent_is_asked_for_again() {
    let world = World::new().await;
    world.queue.be_away(true);
    let (status, answer) = world.report(&report(1, Said::Provisioning)).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    world.queue.be_away(false);
    assert_eq!(
        world.report(&report(1, Said::Provisioning)).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn success_activates_the_agent_and_may_be_said_twice() {
    let world = World::new().await;
    world.report(&report(1, Said::Provisioning)).await;
    let step = Report {
        step: Some(Step::VmCreated),
        ..report(2, Said::Provisioning)
    };
    assert_eq!(world.report(&step).await.0, StatusCode::OK);
    let success = Report {
        facts: facts(),
        ..report(3, Said::Running)
    };
    for _ in 0..2 {
        let (status, reply) = world.report(&success).await;
        assert_eq!((status, &reply["continue"]), (StatusCode::OK, &json!(true)));
    }
    let status = world.status().await;
    assert_eq!(status.state, AgentState::Active);
    assert_eq!(status.instance.unwrap().tailscale_ip, "100.64.0.7");
}

#[tokio::test]
async fn a_failure_leaves_a_retry_and_its_nudge_and_then_the_attempt_is_over() {
    let world = World::new().await;
    world.report(&report(1, Said::Provisioning)).await;
    world.queue.take();
    let failure = Report {
        error: Some("no server to be had".to_owned()),
        error_class: Some(ErrorClass::Capacity),
        ..report(2, Said::Failed)
    };
    assert_eq!(world.report(&failure).await.0, StatusCode::OK);
    let sent = world.queue.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].nudge.job, Some(JOB));
    assert!(sent[0].delay_seconds <= 32);
    let job = world.status().await.job.unwrap();
    assert_eq!(
        (job.state, job.reason.as_deref()),
        (JobState::Queued, Some("no server to be had"))
    );
    let (status, answer) = world.report(&failure).await;
    assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "fenced"));
}

#[tokio::test]
async fn another_run_another_fence_and_other_ids_are_409() {
    let world = World::new().await;
    let claimed = Report {
        facts: facts(),
        ..report(1, Said::Provisioning)
    };
    world.report(&claimed).await;
    for sender in [sender("43", 1), sender("42", 2), Sender::FirstVersion] {
        let stranger = Report {
            sender,
            ..report(2, Said::Heartbeat)
        };
        let (status, answer) = world.report(&stranger).await;
        assert_eq!((status, code(&answer)), (StatusCode::CONFLICT, "fenced"));
    }
    let mut other = Report {
        facts: facts(),
        ..report(2, Said::Running)
    };
    other.facts.server_id = Some("8".to_owned());
    let (status, answer) = world.report(&other).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::BAD_REQUEST, "conflicting_ids")
    );
    assert_eq!(world.status().await.state, AgentState::Provisioning);
}

#[tokio::test]
async fn a_report_of_the_first_version_still_works() {
    let world = World::new().await;
    let claim = json!({"job_id": JOB.to_string(), "status": "provisioning"}).to_string();
    assert_eq!(world.post(claim.into_bytes()).await.0, StatusCode::OK);
    let done = json!({"job_id": JOB.to_string(), "status": "running", "server_id": 7,
        "server_ip": "203.0.113.7", "tailscale_ip": "100.64.0.7"});
    assert_eq!(
        world.post(done.to_string().into_bytes()).await.0,
        StatusCode::OK
    );
    assert_eq!(world.status().await.state, AgentState::Active);
}

#[tokio::test]
async fn what_is_not_signed_fresh_or_readable_changes_nothing() {
    let world = World::new().await;
    let body = report(1, Said::Provisioning).to_body().unwrap();
    let unsigned = Request::post("/callback")
        .body(Body::from(body.clone()))
        .unwrap();
    let wrong = signed(&sign(&[7; 32], &body), body.clone());
    for request in [unsigned, wrong, signed("é", body.clone())] {
        let (status, answer) = world.send(request).await;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::UNAUTHORIZED, "bad_signature")
        );
    }
    let run = RunPair {
        workflow_run_id: "42".to_owned(),
        run_attempt: 1,
    };
    let sent_at = NOW.unix_seconds() - 301;
    let old = Sender::Attempt {
        fence: 1,
        run,
        sent_at,
    };
    let old = Report {
        sender: old,
        ..report(1, Said::Provisioning)
    };
    let (status, answer) = world.report(&old).await;
    assert_eq!((status, code(&answer)), (StatusCode::UNAUTHORIZED, "stale"));
    for body in ["", "{}", r#"{"job_id":"x","status":"running"}"#] {
        let (status, answer) = world.post(body.into()).await;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::BAD_REQUEST, "malformed"),
            "{body}"
        );
    }
    let (status, answer) = world.post(vec![b' '; REPORT_BYTES_MAX + 1]).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
    );
    let unknown = Report {
        job_id: AGENT.to_string(),
        ..report(1, Said::Provisioning)
    };
    let (status, answer) = world.report(&unknown).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::NOT_FOUND, "not_found")
    );
    assert_eq!(world.status().await.job.unwrap().state, JobState::Queued);
    assert_eq!(world.queue.take(), []);
}

#[tokio::test]
async fn a_database_that_is_away_is_503() {
    let url = "postgres://127.0.0.1:9/nowhere".to_owned();
    let world = World::on(&ConnectConfig {
        url: url.into(),
        ca_pem: None,
    })
    .await;
    let (status, answer) = world.report(&report(1, Said::Provisioning)).await;
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
}
