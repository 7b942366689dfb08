//! Takes signed reports, remembers them, and lets every attempt go on.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use contract::{Reply, Report, SIGNATURE_HEADER, Verifier};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const SECRET: &str = "canary-callback-secret-0123456789abcdef";

type Reports = Arc<watch::Sender<Vec<Report>>>;

/// The receiver; it lives as long as the test's runtime.
pub(crate) struct Receiver {
    reports: Reports,
    pub(crate) url: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let reports = Reports::new(watch::Sender::new(Vec::new()));
        let router = Router::new()
            .route("/callback", post(take))
            .with_state(Arc::clone(&reports));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { reports, url }
    }

    /// Everything that was reported.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.borrow().clone()
    }

    /// The one final report.
    pub(crate) fn end(&self) -> Report {
        let reports = self.reports();
        let finals: Vec<&Report> = reports.iter().filter(|one| one.is_final()).collect();
        let [end] = *finals else {
            panic!("one final report was expected: {reports:#?}");
        };
        end.clone()
    }

    /// Waits for a report.
    pub(crate) async fn until(&self, wish: impl Fn(&Report) -> bool) {
        let mut reports = self.reports.subscribe();
        let met = reports.wait_for(|all| all.iter().any(&wish));
        let met = timeout(Duration::from_mins(1), met).await.is_ok();
        assert!(met, "waited in vain; so far: {:#?}", self.reports());
    }
}

async fn take(State(reports): State<Reports>, headers: HeaderMap, body: Bytes) -> Response {
    let signature = headers.get(SIGNATURE_HEADER);
    let signature = signature.and_then(|value| value.to_str().ok());
    let verifier = Verifier::new(vec![SECRET.as_bytes().to_vec()]).unwrap();
    match verifier.open(signature, &body, unix_seconds()) {
        Ok(report) => {
            reports.send_modify(|all| all.push(report));
            Json(Reply::default()).into_response()
        }
        Err(why) => (StatusCode::UNAUTHORIZED, why.to_string()).into_response(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runner stamps its reports with real time"
)]
fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
