//! Services that quote every secret they were sent, and those they cannot know, in the bodies and
//! headers of their refusals: from each call of each operation on, and for each call alone.
//! Nothing of it shows, in whatever form it was quoted.

use crate::{
    callback::Bend,
    deaths::{AT_ONCE, Blow, struck},
    door::{Doors, Instead},
    endings::SIGNAL_MAX,
    harness::{Ran, Stage},
    lab::{Moment, open},
    scene::{FENCE, Scene, moments},
    secrets::{SECRETS, assert_hidden, forms, seen},
};
use axum::{
    Json,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use contract::{Operation, Said};
use futures_util::{StreamExt, stream};
use serde_json::json;
use sim::Knob;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// The secrets that services have been told so far.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<BTreeSet<String>>>);

impl Overheard {
    /// Notes the token that a call was made with, and the auth key that its body holds.
    fn hear(&self, head: &Parts, body: &[u8]) {
        let given = head.headers.get("authorization");
        let token = given.and_then(|value| value.to_str().unwrap().strip_prefix("Bearer "));
        let mut known = self.0.lock().unwrap();
        known.extend(token.map(str::to_owned));
        let body = String::from_utf8_lossy(body);
        if let Some((_, rest)) = body.split_once("tskey-auth-") {
            let is_end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
            let rest = rest.split(is_end).next().unwrap_or_default();
            known.insert(format!("tskey-auth-{rest}"));
        }
    }

    /// Those, and the settings that are secrets.
    fn all(&self) -> BTreeSet<String> {
        let mut all = self.0.lock().unwrap().clone();
        all.extend(SECRETS.map(str::to_owned));
        all
    }

    /// All of them in all forms.
    fn quote(&self) -> String {
        let all = self.all();
        let forms: BTreeSet<String> = all.iter().flat_map(|secret| forms(secret)).collect();
        Vec::from_iter(forms).join(" ")
    }

    /// Refuses the calls that fit.
    fn refuse(
        &self,
        status: u16,
        fits: impl Fn(&Moment) -> bool + Send + Sync + 'static,
    ) -> Instead {
        let heard = self.clone();
        Arc::new(move |moment, head, body| {
            heard.hear(head, body);
            fits(moment).then(|| refusal(status, moment, &heard.quote()))
        })
    }
}

/// A refusal in the service's own shape, which quotes in each place where it can; a server error
/// is a gateway's page.
fn refusal(status: u16, moment: &Moment, quote: &str) -> Response {
    let id = [("x-correlation-id", quote.to_owned())];
    let code = StatusCode::from_u16(status).unwrap();
    if code.is_server_error() {
        return (code, id, quote.to_owned()).into_response();
    }
    let body = if is_of(moment, "TAILSCALE") {
        json!({"message": quote})
    } else if is_of(moment, "CALLBACK") {
        json!({"error": {"code": "forbidden", "message": quote}})
    } else {
        let fields = json!({"fields": [{"name": quote, "messages": [quote]}]});
        match moment.number % 3 {
            0 => json!({"error": {"code": "forbidden", "message": quote}}),
            1 => json!({"error": {"code": quote, "message": ""}}),
            _ => json!({"error": {"code": "", "message": "", "details": fields}}),
        }
    };
    (code, id, Json(body)).into_response()
}

fn service(moment: &Moment) -> &str {
    moment.call.split(' ').nth(1).unwrap()
}

fn is_of(moment: &Moment, service: &str) -> bool {
    self::service(moment) == service
}

/// Asserts that nothing secret shows but for the key in the user data and in its mask. Gives
/// whether anything was taken out.
fn assert_nothing_shows(stage: &Stage, ran: &Ran, heard: &Overheard, what: &str) -> bool {
    let mut seen = seen(stage, ran);
    for (place, text) in &mut seen {
        match *place {
            "stdout" => {
                let lines = text.lines();
                let shown = lines.filter(|line| !line.starts_with("::add-mask::tskey-auth-"));
                *text = shown.collect::<Vec<_>>().join("\n");
            }
            "user data" => {
                let all = heard.all();
                let keys = all.iter().filter(|one| one.starts_with("tskey-auth-"));
                *text = keys.fold(text.clone(), |text, key| text.replace(key, ""));
            }
            _ => {}
        }
    }
    let all = heard.all();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_hidden(&seen, &all, what);
    seen.iter().any(|(_, text)| text.contains("[redacted]"))
}

/// What is refused.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// The call and all that follow at its service, for good.
    Onward,
    /// The call alone, for a while.
    Alone,
}

/// Refuses from one moment on. Gives the service if it shows that something was taken out.
async fn quoted(operation: Operation, at: Moment, spread: Spread) -> Option<String> {
    let what = format!("{operation}, {spread:?} from {at:?}");
    let mut scene = Scene::prepared(operation).await;
    let (heard, number) = (Overheard::default(), at.number);
    let service = service(&at).to_owned();
    let here = service.clone();
    let refusing = match spread {
        Spread::Alone => heard.refuse(503, move |moment| moment.number == number),
        Spread::Onward => heard.refuse(403, move |moment| {
            moment.number >= number && is_of(moment, &here)
        }),
    };
    scene.doors.answer(refusing);
    scene.doors.keep(open());
    scene.stage.set("FENCE", &FENCE.to_string());
    let ran = scene.stage.run(&[operation.as_str()]).await;
    assert!(ran.code.is_some(), "{what}: {ran:#?}");
    assert_nothing_shows(&scene.stage, &ran, &heard, &what).then_some(service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_refusal_quotes_does_not_show() {
    for operation in [
        Operation::Provision,
        Operation::Stop,
        Operation::Start,
        Operation::Destroy,
    ] {
        let moments = moments(operation).await;
        let called: BTreeSet<String> = moments.iter().map(|at| service(at).to_owned()).collect();
        let calls = moments.into_iter().filter(|moment| !moment.after);
        let scenes = calls.flat_map(|at| {
            let both = [Spread::Onward, Spread::Alone];
            both.map(|spread| quoted(operation, at.clone(), spread))
        });
        let services: BTreeSet<String> = stream::iter(scenes.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        // The quotes came as far as to where they were taken out.
        assert_eq!(services, called, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_shows_when_a_signal_meets_refusals() {
    let moments = moments(Operation::Provision).await;
    let calls = moments.into_iter().filter(|moment| !moment.after);
    let scenes = calls.map(|at| async move {
        let scene = Scene::prepared(Operation::Provision).await;
        let (heard, number) = (Overheard::default(), at.number);
        let refusing = heard.refuse(403, move |moment| moment.number >= number);
        scene.doors.answer(refusing);
        let (ran, took) = struck(&scene, &at, Blow::Interrupt).await.unwrap();
        assert!(took < SIGNAL_MAX, "{at:?}: {took:?}");
        assert_nothing_shows(&scene.stage, &ran, &heard, &format!("{at:?}"))
    });
    let shown: Vec<bool> = stream::iter(scenes.collect::<Vec<_>>())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert!(shown.contains(&true), "no quote was taken out");
}

#[tokio::test]
async fn nothing_shows_of_what_a_device_or_an_action_says() {
    let scene = Scene::prepared(Operation::Provision).await;
    let heard = Overheard::default();
    scene.stage.sim.turn(Knob::TailnetLock(heard.quote()));
    let ran = scene.stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(assert_nothing_shows(&scene.stage, &ran, &heard, "a lock"));

    let mut scene = Scene::prepared(Operation::Start).await;
    // However late the first look comes, it finds the server off, so the action is asked for.
    scene.stage.sim.turn(Knob::StartLeavesOff(1));
    let quote = heard.quote();
    scene.doors.answer(Arc::new(move |moment, head, _| {
        let id = moment.call.split("/actions?id=").nth(1)?;
        let id: u64 = id.parse().unwrap();
        let error = json!({"code": "action_failed", "message": quote});
        let action =
            json!({"id": id, "command": "start_server", "status": "error", "error": error});
        (head.method == "GET").then(|| Json(json!({"actions": [action]})).into_response())
    }));
    scene.stage.set("FENCE", &FENCE.to_string());
    let ran = scene.stage.run(&["start"]).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(assert_nothing_shows(
        &scene.stage,
        &ran,
        &heard,
        "an action"
    ));
}

#[tokio::test]
async fn the_doctor_shows_nothing_that_a_refusal_quotes() {
    for service in ["HETZNER", "TAILSCALE", "CALLBACK"] {
        for status in [401, 403, 422] {
            let mut stage = Stage::new().await;
            let doors = Doors::before(&mut stage).await;
            let heartbeat = |report: &contract::Report| report.said == Said::Heartbeat;
            stage.callback.bend(1, Bend::Status(404), heartbeat);
            let heard = Overheard::default();
            doors.answer(heard.refuse(status, move |moment| is_of(moment, service)));
            let ran = stage.run(&["doctor"]).await;
            assert_eq!(ran.code, Some(1), "{ran:#?}");
            let taken_out = assert_nothing_shows(&stage, &ran, &heard, service);
            // Of the callback the doctor shows no more than the status.
            assert_eq!(taken_out, service != "CALLBACK", "{ran:#?}");
        }
    }
}

#[tokio::test]
async fn secrets_that_the_operation_does_not_need_do_not_show_either() {
    let mut stage = Stage::new().await;
    let doors = Doors::before(&mut stage).await;
    let heard = Overheard::default();
    doors.answer(heard.refuse(403, |_| true));
    let ran = stage.run(&["report-failure"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(assert_nothing_shows(&stage, &ran, &heard, "report-failure"));

    // What is wrong with other settings is told to the callback, whose answer quotes the token.
    stage.set("HETZNER_SSH_KEY_ID", "");
    doors.keep(open());
    doors.answer(heard.refuse(403, |moment| moment.number > 1));
    let ran = stage.run(&["provision"]).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(assert_nothing_shows(
        &stage,
        &ran,
        &heard,
        "a wrong setting"
    ));
}
