//! The rules of the fake GitHub, in virtual time.

use axum::body::Body;
use base64::Engine as _;
use http::Request;
use serde_json::{Value, json};
use sim::{Conclusion, Concurrency, Knob, RunEvent, Sim, SimConfig, Vendor};

use crate::help::{Got, config, github, github_with, pass, send};

const WORKFLOW: &str = "/repos/acme/agents/actions/workflows/provision-agent.yml";
const RUNS: &str = "/repos/acme/agents/actions/runs";

fn inputs(job: &str, agent: &str) -> Value {
    json!({"job_id": job, "agent_id": agent, "callback_url": "https://cb.example.com/callback"})
}

async fn dispatch(sim: &Sim, job: &str, agent: &str) -> u64 {
    let body = json!({"ref": "main", "inputs": inputs(job, agent), "return_run_details": true});
    let got = github(sim, &format!("POST {WORKFLOW}/dispatches"), Some(body)).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.body["workflow_run_id"].as_u64().unwrap()
}

fn status(sim: &Sim, run: u64) -> (String, Option<Conclusion>) {
    let world = sim.world();
    let run = world.runs.iter().find(|r| r.id == run).unwrap();
    (run.status.clone(), run.conclusion)
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_answers_by_version_and_wish() {
    let sim = Sim::in_process(config());
    let token = SimConfig::default().github.token;
    let path = format!("POST {WORKFLOW}/dispatches");
    let body = |details: Option<bool>| {
        let mut body = json!({"ref": "main", "inputs": inputs("j", "a")});
        if let Some(details) = details {
            body["return_run_details"] = json!(details);
        }
        Some(body)
    };
    let plain = github(&sim, &path, body(None)).await;
    assert_eq!((plain.status, &plain.body), (204, &Value::Null));
    let refused = github(&sim, &path, body(Some(false))).await;
    assert_eq!(refused.status, 204);
    let detailed = github(&sim, &path, body(Some(true))).await;
    assert_eq!(detailed.status, 200);
    assert!(
        detailed.body["run_url"]
            .as_str()
            .unwrap()
            .ends_with("/16000000003")
    );
    let newer = github_with(&sim, (&token, "2026-03-10"), (&path, body(None))).await;
    assert_eq!(newer.status, 200);
    let odd = github_with(&sim, (&token, "2031-01-01"), (&path, body(None))).await;
    assert_eq!(odd.status, 400);
    assert_eq!(sim.world().runs.len(), 4);
    assert_eq!(sim.world().runs[0].name, "provision j f1");
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_is_refused_for_its_inputs_ref_and_workflow() {
    let sim = Sim::in_process(config());
    let path = format!("POST {WORKFLOW}/dispatches");
    let send = async |body: Value| github(&sim, &path, Some(body)).await;
    let with = |name: &str, value: Value| {
        let mut inputs = inputs("j", "a");
        inputs[name] = value;
        json!({"ref": "main", "inputs": inputs})
    };
    let check = |got: &Got, message: &str| {
        assert_eq!(got.status, 422, "{got:?}");
        assert!(got.message().contains(message), "{}", got.message());
        assert_eq!(got.body["status"], "422");
    };
    let got = send(with("colour", json!("red"))).await;
    check(&got, "Unexpected inputs provided: [\"colour\"]");
    let got = send(json!({"ref": "main", "inputs": {"job_id": "j"}})).await;
    check(&got, "Required input 'agent_id' not provided");
    let got = send(with("operation", json!("explode"))).await;
    check(
        &got,
        "Provided value 'explode' for input 'operation' not in the list",
    );
    let got = send(with("fence", json!(2))).await;
    check(&got, "is not a string");
    let got = send(with("region", json!("x".repeat(70_000)))).await;
    check(&got, "too large");
    let got = send(json!({"ref": "dev", "inputs": inputs("j", "a")})).await;
    check(&got, "No ref found for: dev");
    let got = send(json!({"inputs": inputs("j", "a")})).await;
    check(&got, "\"ref\" wasn't supplied");
    let got = send(json!({"ref": "main", "colour": 1})).await;
    check(&got, "is not a permitted key");
    sim.turn(Knob::WorkflowDisabled(true));
    let got = send(with("fence", json!("2"))).await;
    check(&got, "disabled workflow");
    sim.turn(Knob::WorkflowDisabled(false));
    sim.turn(Knob::NoTrigger(true));
    let got = send(with("fence", json!("2"))).await;
    check(&got, "does not have 'workflow_dispatch' trigger");
    assert!(sim.world().runs.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_door_checks_agent_token_and_repository() {
    let sim = Sim::in_process(config());
    let target = RUNS;
    let nameless = Request::get(target).body(Body::empty()).unwrap();
    let got = send(&sim, Vendor::Github, nameless).await;
    assert_eq!(got.status, 403);
    assert!(got.message().contains("User-Agent"));
    let got = github_with(
        &sim,
        ("wrong", "2022-11-28"),
        (&format!("GET {RUNS}"), None),
    )
    .await;
    assert_eq!((got.status, got.message()), (401, "Bad credentials"));
    let got = github(&sim, "GET /repos/acme/other/actions/runs", None).await;
    assert_eq!((got.status, got.message()), (404, "Not Found"));
    let got = github(
        &sim,
        "GET /repos/acme/agents/actions/workflows/x.yml/runs",
        None,
    )
    .await;
    assert_eq!(got.status, 404);
    sim.turn(Knob::WorkflowHidden(true));
    let got = github(&sim, &format!("GET {RUNS}"), None).await;
    assert_eq!(got.status, 404);
    assert_eq!(got.header("x-ratelimit-limit"), "5000");
    sim.turn(Knob::GithubRemaining(0));
    let got = github(&sim, &format!("GET {RUNS}"), None).await;
    assert_eq!(
        (got.status, got.header("x-ratelimit-remaining")),
        (403, "0")
    );
    let reset: i64 = got.header("x-ratelimit-reset").parse().unwrap();
    assert_eq!(reset, sim.unix_seconds() + 3600);
}

#[tokio::test(start_paused = true)]
async fn a_run_starts_after_its_delay_with_defaults_filled_in() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let id = dispatch(&sim, "j1", "a1").await;
    assert_eq!(sim.configured_run_delay(id).unwrap().as_secs(), 6);
    assert!(events.try_recv().is_err());
    let RunEvent::Dispatched(run) = events.recv().await.unwrap() else {
        panic!("a dispatch comes first");
    };
    assert_eq!(sim.world().at.as_secs(), 6);
    assert_eq!((run.run_id, run.run_attempt), (id, 1));
    assert_eq!(run.inputs["region"], "us-east");
    assert_eq!(run.inputs["operation"], "provision");
    assert_eq!(run.git_ref, "main");
    assert_eq!(status(&sim, id).0, "queued");
    sim.run_started(id);
    assert_eq!(status(&sim, id).0, "in_progress");
    let jobs = github(&sim, &format!("GET {RUNS}/{id}/jobs"), None).await;
    assert_eq!(jobs.body["jobs"][0]["status"], "in_progress");
    sim.run_finished(id, Conclusion::Success);
    let got = github(&sim, &format!("GET {RUNS}/{id}"), None).await;
    assert_eq!(got.body["status"], "completed");
    assert_eq!(got.body["conclusion"], "success");
    assert_eq!(got.body["display_title"], "provision j1 f1");
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_agent_wait_for_each_other_in_order_of_arrival() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let first = dispatch(&sim, "j1", "A").await;
    let second = dispatch(&sim, "j2", "a").await;
    let third = dispatch(&sim, "j3", "a").await;
    let other = dispatch(&sim, "j4", "b").await;
    pass(60).await;
    let mut started = Vec::new();
    while let Ok(RunEvent::Dispatched(run)) = events.try_recv() {
        started.push(run.run_id);
    }
    assert_eq!(started, [first, other]);
    assert_eq!(status(&sim, second).0, "pending");
    sim.run_started(first);
    sim.run_finished(first, Conclusion::Failure);
    let Some(RunEvent::Dispatched(next)) = events.recv().await else {
        panic!("the next run starts");
    };
    assert_eq!(next.run_id, second);
    assert_eq!(status(&sim, third).0, "pending");
}

#[tokio::test(start_paused = true)]
async fn a_plain_concurrency_group_drops_the_older_waiting_run() {
    let mut config = config();
    config.github.concurrency = Concurrency::LatestWaits;
    let sim = Sim::in_process(config);
    dispatch(&sim, "j1", "a").await;
    let second = dispatch(&sim, "j2", "a").await;
    let third = dispatch(&sim, "j3", "a").await;
    assert_eq!(
        status(&sim, second),
        ("completed".to_owned(), Some(Conclusion::Cancelled))
    );
    assert_eq!(status(&sim, third).0, "pending");
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_waiting_runs_tells_started_ones_and_refuses_finished_ones() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let waiting = dispatch(&sim, "j1", "a").await;
    let got = github(&sim, &format!("POST {RUNS}/{waiting}/cancel"), None).await;
    assert_eq!((got.status, &got.body), (202, &json!({})));
    assert_eq!(status(&sim, waiting).1, Some(Conclusion::Cancelled));
    let got = github(&sim, &format!("POST {RUNS}/{waiting}/cancel"), None).await;
    assert_eq!(got.status, 409);

    let started = dispatch(&sim, "j2", "b").await;
    events.recv().await.unwrap();
    sim.run_started(started);
    github(&sim, &format!("POST {RUNS}/{started}/cancel"), None).await;
    let told = events.recv().await.unwrap();
    assert_eq!(
        told,
        RunEvent::Cancel {
            run_id: started,
            force: false
        }
    );
    assert_eq!(status(&sim, started).0, "in_progress");
    pass(299).await;
    assert_eq!(status(&sim, started).0, "in_progress");
    pass(2).await;
    assert_eq!(
        status(&sim, started).1,
        Some(Conclusion::Cancelled),
        "the server ends it"
    );

    let stubborn = dispatch(&sim, "j3", "c").await;
    events.recv().await.unwrap();
    sim.run_started(stubborn);
    github(&sim, &format!("POST {RUNS}/{stubborn}/force-cancel"), None).await;
    let told = events.recv().await.unwrap();
    assert_eq!(
        told,
        RunEvent::Cancel {
            run_id: stubborn,
            force: true
        }
    );
    pass(6).await;
    assert_eq!(status(&sim, stubborn).0, "completed");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_takes_too_long_is_cancelled() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let id = dispatch(&sim, "j", "a").await;
    events.recv().await.unwrap();
    sim.run_started(id);
    let told = events.recv().await.unwrap();
    assert_eq!(
        told,
        RunEvent::Cancel {
            run_id: id,
            force: false
        }
    );
    assert_eq!(sim.world().at.as_secs(), 6 + 15 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_rerun_keeps_id_and_inputs_and_counts_the_attempt() {
    let sim = Sim::in_process(config());
    let mut events = sim.take_runs();
    let id = dispatch(&sim, "j", "a").await;
    assert!(
        !sim.rerun_by_hand(id),
        "only a completed run can be run again"
    );
    events.recv().await.unwrap();
    sim.run_finished(id, Conclusion::Failure);
    let got = github(&sim, &format!("POST {RUNS}/{id}/rerun"), None).await;
    assert_eq!(got.status, 201);
    let Some(RunEvent::Dispatched(run)) = events.recv().await else {
        panic!("the run starts again");
    };
    assert_eq!((run.run_id, run.run_attempt), (id, 2));
    assert_eq!(run.inputs["job_id"], "j");
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_by_event_branch_status_and_time_in_pages() {
    let sim = Sim::in_process(config());
    for number in 0..3 {
        dispatch(&sim, &format!("j{number}"), &format!("a{number}")).await;
        pass(10).await;
    }
    let list = async |query: &str| {
        let got = github(&sim, &format!("GET {WORKFLOW}/runs?{query}"), None).await;
        assert_eq!(got.status, 200, "{query}: {got:?}");
        got.body["total_count"].as_u64().unwrap()
    };
    assert_eq!(list("event=workflow_dispatch&branch=main").await, 3);
    assert_eq!(list("event=push").await, 0);
    assert_eq!(list("status=queued").await, 3);
    assert_eq!(list("status=completed").await, 0);
    assert_eq!(list("created=%3E%3D2026-11-21T10:00:10Z").await, 2);
    assert_eq!(list("created=%3C2026-11-21T10:00:10Z").await, 1);
    assert_eq!(
        list("created=2026-11-21T10:00:05Z..2026-11-21T10:00:15Z").await,
        1
    );
    assert_eq!(list("created=2026-11-21").await, 3);
    let got = github(&sim, &format!("GET {RUNS}?per_page=2"), None).await;
    let names = got.body["workflow_runs"].as_array().unwrap();
    assert_eq!(names[0]["display_title"], "provision j2 f1", "newest first");
    assert!(got.header("link").contains("page=2"));
    for run in names {
        let bytes = run.to_string().len();
        assert!((10_000..14_000).contains(&bytes), "{bytes}: {run}");
    }
}

/// A token of an App, as its shape and claims go.
fn app_jwt(issuer: &str, from: i64, to: i64) -> String {
    let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let header = part(br#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = json!({"iss": issuer, "iat": from, "exp": to}).to_string();
    format!("{header}.{}.{}", part(claims.as_bytes()), part(&[7; 256]))
}

#[tokio::test(start_paused = true)]
async fn an_app_gets_a_long_token_that_works_for_an_hour() {
    let sim = Sim::in_process(config());
    let now = sim.unix_seconds();
    let as_app = async |jwt: &str, target: &str, body: Option<Value>| {
        github_with(&sim, (jwt, "2022-11-28"), (target, body)).await
    };
    let find = "GET /repos/acme/agents/installation";
    for (issuer, issued, expires) in [
        ("1", now - 60, now + 300),
        ("424242", now + 30, now + 300),
        ("424242", now - 60, now + 660),
        ("424242", now - 60, now - 1),
    ] {
        let got = as_app(&app_jwt(issuer, issued, expires), find, None).await;
        assert_eq!(got.status, 401, "{issuer} {issued} {expires}");
    }
    assert_eq!(as_app("not.a.jwt", find, None).await.status, 401);
    let jwt = app_jwt("424242", now - 60, now + 540);
    let installation = as_app(&jwt, find, None).await;
    let id = installation.body["id"].as_u64().unwrap();
    let make = format!("POST /app/installations/{id}/access_tokens");
    let more = Some(json!({"permissions": {"contents": "write"}}));
    assert_eq!(as_app(&jwt, &make, more).await.status, 422);
    let wish = Some(json!({"repositories": ["agents"], "permissions": {"actions": "write"}}));
    let granted = as_app(&jwt, &make, wish).await;
    assert_eq!(granted.status, 201, "{granted:?}");
    assert_eq!(granted.body["expires_at"], "2026-11-21T11:00:00Z");
    let token = granted.body["token"].as_str().unwrap();
    assert!(token.starts_with("ghs_") && token.len() > 200 && token.contains('.'));
    let list = format!("GET {RUNS}");
    assert_eq!(as_app(token, &list, None).await.status, 200);
    pass(3600).await;
    assert_eq!(as_app(token, &list, None).await.status, 401);
}
