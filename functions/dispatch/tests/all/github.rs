//! The client against a GitHub over HTTP: what it is asked, what it answers, and what happens
//! when the answer does not come.

use crate::world::github_config;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use contract::{Inputs, Operation};
use dispatch::{
    github::{Asked, GitHub, Seen, Started},
    settings::GitHubSettings,
};
use domain::{Sight, Timestamp};
use host::Reader;
use http::Method;
use outbound::{Client, Dice, NetworkSettings, Secrets, Transport};
use serde_json::json;
use sim::{Conclusion, Effect, Fault, FaultBody, GithubConfig, Knob, Sim, SimConfig, Vendor};

const JOB: &str = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5";

async fn world() -> Sim {
    Sim::start(SimConfig {
        github: github_config(),
        ..SimConfig::default()
    })
    .await
    .unwrap()
}

fn client(pairs: &[(&str, &str)]) -> GitHub {
    let rest = [
        ("GITHUB_REPOSITORY", "acme/agents"),
        ("CALLBACK_URL", "https://cb.test/callback"),
    ];
    let settings = GitHubSettings::read(Reader::new(pairs.iter().copied().chain(rest)));
    let network = Transport::network(&NetworkSettings::default()).unwrap();
    GitHub::new(
        Client::new(network, Secrets::new(), Dice::seeded(1)),
        settings,
    )
}

fn with_token(sim: &Sim) -> GitHub {
    let token = GithubConfig::default().token;
    client(&[
        ("GITHUB_TOKEN", &token),
        ("GITHUB_API_URL", &sim.github_url()),
    ])
}

fn inputs(fence: i64) -> Inputs {
    Inputs {
        job_id: JOB.to_owned(),
        agent_id: "0192f3a4-7b1c-7def-8a90-123456789abc".to_owned(),
        region: "eu-west".to_owned(),
        callback_url: "https://cb.test/callback".to_owned(),
        fence,
        operation: Operation::Provision,
    }
}

fn now(sim: &Sim) -> Timestamp {
    Timestamp::from_unix_seconds(sim.unix_seconds())
}

fn strike(sim: &Sim, effect: Effect) {
    sim.add_fault(Fault::once(
        Vendor::Github,
        Method::POST,
        "/dispatches",
        effect,
    ));
}

fn refused(started: Started) -> dispatch::github::Refusal {
    match started {
        Started::Refused(refusal) => refusal,
        other @ (Started::Accepted { .. } | Started::Unknown { .. }) => {
            panic!("not refused: {other:?}")
        }
    }
}

#[tokio::test]
async fn a_run_is_started_with_its_inputs_and_its_id_is_known() {
    let sim = world().await;
    let started = with_token(&sim).start(&inputs(3), now(&sim)).await;
    let runs = sim.world().runs;
    assert_eq!(runs.len(), 1);
    assert_eq!(
        started,
        Started::Accepted {
            run_id: Some(runs[0].id)
        }
    );
    assert_eq!(runs[0].name, inputs(3).run_name());
    for (name, value) in inputs(3).pairs() {
        assert_eq!(runs[0].inputs[name], value);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_run_details_is_asked_once_without() {
    let sim = world().await;
    let github = with_token(&sim);
    let message = "Invalid request.\n\n\"return_run_details\" is not a permitted key.";
    let body = FaultBody::Json(json!({"message": message, "status": "422"}));
    strike(&sim, Effect::Status { status: 422, body });
    for _ in 0..2 {
        let started = github.start(&inputs(1), now(&sim)).await;
        assert_eq!(started, Started::Accepted { run_id: None });
    }
    let calls = sim.world().calls.len();
    assert_eq!(calls, 3, "the second start does not ask for details again");
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_nothing_is_sent_twice() {
    for (effect, runs) in [
        (Effect::CutAfter, 1),
        (Effect::CutBefore, 0),
        (Effect::ReplyLost504, 1),
        (
            Effect::Status {
                status: 502,
                body: FaultBody::Html("<h1>Unicorn!</h1>".to_owned()),
            },
            0,
        ),
    ] {
        let sim = world().await;
        let shown = format!("{effect:?}");
        strike(&sim, effect);
        let started = with_token(&sim).start(&inputs(1), now(&sim)).await;
        assert!(
            matches!(started, Started::Unknown { .. }),
            "{shown}: {started:?}"
        );
        assert_eq!(sim.world().runs.len(), runs, "{shown}");
    }
}

#[tokio::test]
async fn refusals_name_what_to_change_and_never_the_token() {
    let sim = world().await;
    let url = sim.github_url();
    let token = GithubConfig::default().token;
    let wrong = client(&[
        ("GITHUB_TOKEN", "ghp_hunter2hunter2"),
        ("GITHUB_API_URL", &url),
    ]);
    let refusal = refused(wrong.start(&inputs(1), now(&sim)).await);
    assert!(
        refusal.reason.starts_with("GITHUB_TOKEN was refused (401)"),
        "{}",
        refusal.reason
    );
    assert!(!refusal.reason.contains("hunter2"));

    let nobody = client(&[
        ("GITHUB_TOKEN", &token),
        ("GITHUB_API_URL", "http://127.0.0.1:9"),
    ]);
    let refusal = refused(nobody.start(&inputs(1), now(&sim)).await);
    assert!(
        refusal.reason.starts_with("GITHUB_API_URL"),
        "{}",
        refusal.reason
    );

    let unset = client(&[("GITHUB_API_URL", &url)]);
    let refusal = refused(unset.start(&inputs(1), now(&sim)).await);
    assert!(
        refusal.reason.contains("GITHUB_TOKEN: is missing"),
        "{}",
        refusal.reason
    );

    sim.turn(Knob::GithubRemaining(0));
    let limited = refused(with_token(&sim).start(&inputs(1), now(&sim)).await);
    assert!(
        limited.after.is_some() && limited.reason.contains("rate limit"),
        "{limited:?}"
    );
    assert_eq!(sim.world().runs, []);
}

#[tokio::test]
async fn runs_are_found_by_id_and_by_name_and_stopped() {
    let sim = world().await;
    let github = with_token(&sim);
    let opened = now(&sim);
    let name = inputs(1).run_name();
    let none = Seen {
        sight: Sight::None,
        alive: vec![],
    };
    assert_eq!(github.look_for(&name, opened, now(&sim)).await, none);
    github.start(&inputs(1), opened).await;
    github.start(&inputs(2), opened).await;
    let id = sim.world().runs[0].id;
    let alive = Seen {
        sight: Sight::Alive,
        alive: vec![id],
    };
    assert_eq!(github.look_for(&name, opened, now(&sim)).await, alive);
    assert_eq!(github.look_at(id, now(&sim)).await, alive);
    assert_eq!(github.look_at(1, now(&sim)).await, none);
    assert_eq!(github.cancel(id, now(&sim)).await, Asked::Taken);
    assert!(sim.world().runs[0].cancel_requested);
    assert_eq!(github.force_cancel(id, now(&sim)).await, Asked::Taken);
    sim.run_finished(id, Conclusion::Cancelled);
    assert_eq!(github.cancel(id, now(&sim)).await, Asked::Declined);
    assert_eq!(github.force_cancel(id, now(&sim)).await, Asked::Declined);
    assert_eq!(github.cancel(1, now(&sim)).await, Asked::Gone);
    let over = Seen {
        sight: Sight::Over,
        alive: vec![],
    };
    assert_eq!(github.look_at(id, now(&sim)).await, over);
    assert_eq!(github.look_for(&name, opened, now(&sim)).await, over);
    let unknown = Seen {
        sight: Sight::Unknown,
        alive: vec![],
    };
    assert_eq!(client(&[]).look_at(id, now(&sim)).await, unknown);
    assert_eq!(client(&[]).cancel(id, now(&sim)).await, Asked::Unknown);
    sim.turn(Knob::GithubRemaining(0));
    assert_eq!(github.cancel(id, now(&sim)).await, Asked::Unknown);
}

#[tokio::test]
async fn a_run_is_found_behind_more_runs_than_one_answer_may_hold() {
    let sim = world().await;
    let github = with_token(&sim);
    let opened = now(&sim);
    // As many as a burst of customers starts; the list shows the newest first.
    for fence in 1..=120 {
        let started = github.start(&inputs(fence), opened).await;
        assert!(matches!(started, Started::Accepted { .. }), "{started:?}");
    }
    let oldest = sim.world().runs[0].id;
    let seen = github
        .look_for(&inputs(1).run_name(), opened, now(&sim))
        .await;
    let alive = Seen {
        sight: Sight::Alive,
        alive: vec![oldest],
    };
    assert_eq!(seen, alive);
    let none = github.look_for("no such run", opened, now(&sim)).await;
    assert_eq!(none.sight, Sight::None);
}

fn app_key() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let text = BASE64_STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

#[tokio::test]
async fn an_app_buys_a_token_once_and_another_when_it_is_refused() {
    let sim = world().await;
    let app = GithubConfig::default().app_id;
    let url = sim.github_url();
    let key = app_key().replace('\n', "\\n");
    let github = client(&[
        ("GITHUB_APP_ID", &app),
        ("GITHUB_APP_PRIVATE_KEY", &key),
        ("GITHUB_API_URL", &url),
    ]);
    for fence in 1..=3 {
        let started = github.start(&inputs(fence), now(&sim)).await;
        assert!(
            matches!(started, Started::Accepted { run_id: Some(_) }),
            "{started:?}"
        );
    }
    let bought = |sim: &Sim| {
        sim.world()
            .calls
            .iter()
            .filter(|call| call.path.ends_with("/access_tokens"))
            .count()
    };
    assert_eq!(bought(&sim), 1);
    let body = FaultBody::Json(json!({"message": "Bad credentials"}));
    strike(&sim, Effect::Status { status: 401, body });
    let refusal = refused(github.start(&inputs(4), now(&sim)).await);
    assert!(
        refusal.reason.contains("GITHUB_APP_ID"),
        "{}",
        refusal.reason
    );
    let started = github.start(&inputs(4), now(&sim)).await;
    assert!(matches!(started, Started::Accepted { .. }), "{started:?}");
    assert_eq!(bought(&sim), 2);

    let mut asked = Vec::new();
    let stranger = client(&[
        ("GITHUB_APP_ID", "1"),
        ("GITHUB_APP_PRIVATE_KEY", &app_key()),
        ("GITHUB_API_URL", &url),
    ]);
    for _ in 0..2 {
        let before = sim.world().calls.len();
        let refusal = refused(stranger.start(&inputs(5), now(&sim)).await);
        assert!(
            refusal.reason.contains("GITHUB_APP_PRIVATE_KEY"),
            "{}",
            refusal.reason
        );
        asked.push(sim.world().calls.len() - before);
    }
    assert_eq!(asked, [1, 0], "a refusal is shared for a while");
}
