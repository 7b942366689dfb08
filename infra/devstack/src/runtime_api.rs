//! The AWS Lambda Runtime API for one process (2018-06-01): next, response, error, init error.
//!
//! Each process gets an endpoint of its own, so that an answer can only come from the process
//! that has the work. Knows nothing of processes, pools or time-outs.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::AbortHandle;

/// Largest event and answer of a synchronous invocation, from Lambda's quotas.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What the function itself says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FunctionError {
    /// Kind of error, as the runtime names it.
    #[serde(rename = "errorType")]
    pub error_type: String,
    /// For people.
    #[serde(rename = "errorMessage")]
    pub message: String,
}

impl Default for FunctionError {
    fn default() -> Self {
        Self {
            error_type: "Unhandled".to_owned(),
            message: "no message".to_owned(),
        }
    }
}

/// One event on its way to the process.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: String,
    pub(crate) event: Bytes,
    pub(crate) deadline_unix_ms: u64,
    /// Told when the process has taken the event.
    pub(crate) taken: oneshot::Sender<()>,
    pub(crate) reply: oneshot::Sender<Result<Bytes, FunctionError>>,
}

/// The endpoint that one process polls. Closed on drop.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    /// `host:port` for `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: String,
    /// Where events are put in; at most one is under way.
    pub(crate) work: mpsc::Sender<Work>,
    server: AbortHandle,
}

impl RuntimeApi {
    pub(crate) async fn start(function_arn: String) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        // Without this every answer shows a false 40 ms of Nagle and delayed ACK.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let (work, queue) = mpsc::channel(1);
        let slot = Slot {
            queue: AsyncMutex::new(queue),
            pending: Mutex::new(None),
            function_arn,
        };
        let router = router(Arc::new(slot));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            address,
            work,
            server: server.abort_handle(),
        })
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Slot {
    queue: AsyncMutex<mpsc::Receiver<Work>>,
    pending: Mutex<Option<Pending>>,
    function_arn: String,
}

struct Pending {
    id: String,
    reply: oneshot::Sender<Result<Bytes, FunctionError>>,
}

impl Slot {
    fn take(&self, id: &str) -> Option<Pending> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.take_if(|pending| pending.id == id)
    }
}

fn router(slot: Arc<Slot>) -> Router {
    let runtime = Router::new()
        .route("/invocation/next", get(next))
        .route("/invocation/{id}/response", post(response))
        .route("/invocation/{id}/error", post(error))
        .route("/init/error", post(init_error))
        .with_state(slot);
    Router::new().nest("/2018-06-01/runtime", runtime)
}

async fn next(State(slot): State<Arc<Slot>>) -> Response {
    let Some(work) = slot.queue.lock().await.recv().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        ("lambda-runtime-aws-request-id", work.id.clone()),
        (
            "lambda-runtime-deadline-ms",
            work.deadline_unix_ms.to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            slot.function_arn.clone(),
        ),
        ("lambda-runtime-trace-id", format!("Root=1-{}", work.id)),
        ("content-type", "application/json".to_owned()),
    ];
    let pending = Pending {
        id: work.id,
        reply: work.reply,
    };
    *slot.pending.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
    if work.taken.send(()).is_err() {
        tracing::debug!("an event was taken that its caller has given up");
    }
    (headers, work.event).into_response()
}

async fn response(State(slot): State<Arc<Slot>>, Path(id): Path<String>, body: Body) -> Response {
    let Some(pending) = slot.take(&id) else {
        return unknown_request();
    };
    let Ok(bytes) = to_bytes(body, PAYLOAD_BYTES_MAX).await else {
        let message = "the answer is larger than 6 MB or was cut off".to_owned();
        let error_type = "Function.ResponseSizeTooLarge".to_owned();
        drop(pending.reply.send(Err(FunctionError {
            error_type,
            message,
        })));
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    drop(pending.reply.send(Ok(bytes)));
    accepted()
}

async fn error(State(slot): State<Arc<Slot>>, Path(id): Path<String>, body: Bytes) -> Response {
    let Some(pending) = slot.take(&id) else {
        return unknown_request();
    };
    let error = serde_json::from_slice(&body).unwrap_or_default();
    drop(pending.reply.send(Err(error)));
    accepted()
}

/// The process ends after this; its death is what the caller is told.
async fn init_error(body: Bytes) -> Response {
    let error: FunctionError = serde_json::from_slice(&body).unwrap_or_default();
    tracing::warn!(
        error_type = error.error_type,
        message = error.message,
        "init error"
    );
    accepted()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}

fn unknown_request() -> Response {
    let body: Value = json!({
        "errorMessage": "Invalid request ID",
        "errorType": "InvalidRequestID",
    });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
