//! A receiver of reports: verifies every signature, remembers every copy, and answers as told.
//! It keeps no attempts: what to answer is each test's matter.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use contract::{Reply, Report, SIGNATURE_HEADER, Said, Spec, Verifier};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch, time::timeout};

/// Looks different in a form and in JSON.
pub(crate) const SECRET: &str = r#"canary=callback/secret+0123"456789\abcdef"#;

/// What a report is answered with instead of the usual.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bend {
    /// This status and an error body.
    Status(u16),
    /// This status and a page, as whoever stands before the callback answers.
    Page(u16),
    /// 200 with `continue: false`.
    Stop,
    /// The connection breaks in the middle of the answer.
    Cut,
}

struct Rule {
    fits: Box<dyn Fn(&Report) -> bool + Send>,
    times: usize,
    bend: Bend,
}

#[derive(Default)]
struct Inner {
    rules: Vec<Rule>,
    bodies: Vec<String>,
    spec: Spec,
    whole_inventory: bool,
}

#[derive(Clone)]
pub(crate) struct Callback {
    inner: Arc<Mutex<Inner>>,
    reports: Arc<watch::Sender<Vec<Report>>>,
    pub(crate) url: String,
}

impl Callback {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let callback = Self {
            inner: Arc::default(),
            reports: Arc::new(watch::Sender::new(Vec::new())),
            url,
        };
        let router = callback.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        callback
    }

    /// The receiver as a service, for whoever puts something before it.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/callback", post(take))
            .with_state(self.clone())
    }

    /// Bends the next `times` reports that fit.
    pub(crate) fn bend(
        &self,
        times: usize,
        bend: Bend,
        fits: impl Fn(&Report) -> bool + Send + 'static,
    ) {
        self.inner.lock().unwrap().rules.push(Rule {
            fits: Box::new(fits),
            times,
            bend,
        });
    }

    /// What the reply to a claim carries.
    pub(crate) fn spec(&self, spec: Spec, whole_inventory: bool) {
        let mut inner = self.inner.lock().unwrap();
        inner.spec = spec;
        inner.whole_inventory = whole_inventory;
    }

    /// Every copy that came, bent ones too.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.borrow().clone()
    }

    /// Every body that came.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.inner.lock().unwrap().bodies.clone()
    }

    /// The last report that is final.
    pub(crate) fn last(&self) -> Report {
        self.reports()
            .into_iter()
            .rfind(Report::is_final)
            .expect("a final report came")
    }

    /// Waits until the reports are as wished.
    pub(crate) async fn until(&self, wish: impl FnMut(&Vec<Report>) -> bool) {
        let mut reports = self.reports.subscribe();
        let met = timeout(Duration::from_mins(1), reports.wait_for(wish)).await;
        assert!(
            met.is_ok(),
            "waited in vain; reports so far: {:#?}",
            self.reports()
        );
    }
}

async fn take(State(callback): State<Callback>, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers
        .get(SIGNATURE_HEADER)
        .and_then(|value| value.to_str().ok());
    let verifier = Verifier::new(vec![SECRET.as_bytes().to_vec()]).unwrap();
    let report = match verifier.open(signature, &body, unix_seconds()) {
        Ok(report) => report,
        Err(why) => return (StatusCode::UNAUTHORIZED, why.to_string()).into_response(),
    };
    let answer = {
        let mut inner = callback.inner.lock().unwrap();
        inner.bodies.push(String::from_utf8(body.to_vec()).unwrap());
        let rule = inner
            .rules
            .iter_mut()
            .find(|rule| rule.times > 0 && (rule.fits)(&report));
        let bend = rule.map(|rule| {
            rule.times -= 1;
            rule.bend
        });
        answer(bend, &inner, &report)
    };
    callback.reports.send_modify(|reports| reports.push(report));
    answer
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runner stamps its reports with real time"
)]
fn unix_seconds() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    i64::try_from(now).unwrap()
}

fn answer(bend: Option<Bend>, inner: &Inner, report: &Report) -> Response {
    let claim = report.said == Said::Provisioning && report.seq == 1;
    match bend {
        None => Json(Reply {
            spec: claim.then(|| inner.spec.clone()),
            inventory: claim && inner.whole_inventory,
            ..Reply::default()
        })
        .into_response(),
        Some(Bend::Status(status)) => {
            let body = serde_json::json!({"error": {"code": "x", "message": "told to refuse"}});
            (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
        }
        Some(Bend::Page(status)) => {
            let page = axum::response::Html("<h1>not what you asked for</h1>");
            (StatusCode::from_u16(status).unwrap(), page).into_response()
        }
        Some(Bend::Stop) => Json(Reply {
            go_on: false,
            ..Reply::default()
        })
        .into_response(),
        Some(Bend::Cut) => {
            let broken = futures_util::stream::iter([
                Ok(Bytes::from_static(b"{")),
                Err(std::io::Error::other("cut")),
            ]);
            Body::from_stream(broken).into_response()
        }
    }
}
