//! The HTTP front of the queue: what senders use of SQS's JSON 1.0 protocol.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::queue::Queue;
use crate::sqs_wire::{BATCH_MESSAGES_MAX, Outgoing, OutgoingBatch, SqsError, md5_hex};

/// The HTTP front of a queue. Closed on drop.
#[derive(Debug)]
pub(crate) struct QueueServer {
    /// For `AWS_ENDPOINT_URL_SQS`.
    pub(crate) endpoint: String,
    server: AbortHandle,
}

impl QueueServer {
    pub(crate) async fn start(queue: Queue) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = Router::new().route("/", post(handle)).with_state(queue);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self {
            endpoint,
            server: server.abort_handle(),
        })
    }

    /// For `JOB_QUEUE_URL`.
    pub(crate) fn queue_url(&self) -> String {
        format!("{}/000000000000/jobs", self.endpoint)
    }
}

impl Drop for QueueServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(queue): State<Queue>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|value| value.to_str().ok());
    let answer = match target.unwrap_or_default() {
        "AmazonSQS.SendMessage" => parse(&body).and_then(|message| send(&queue, &message)),
        "AmazonSQS.SendMessageBatch" => parse(&body).and_then(|batch| send_batch(&queue, batch)),
        other => Err(SqsError::unknown_operation(other)),
    };
    let json = ("content-type", "application/x-amz-json-1.0");
    match answer {
        Ok(answer) => ([json], answer.to_string()).into_response(),
        Err(error) => {
            let query = ("x-amzn-query-error", error.query_kind);
            (
                StatusCode::BAD_REQUEST,
                [json, query],
                error.body().to_string(),
            )
                .into_response()
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body).map_err(|error| SqsError::invalid_parameter(error.to_string()))
}

fn send(queue: &Queue, message: &Outgoing) -> Result<Value, SqsError> {
    message.check()?;
    let delay = Duration::from_secs(message.delay_seconds.unsigned_abs());
    let id = queue.send(&message.message_body, delay);
    Ok(json!({ "MessageId": id, "MD5OfMessageBody": md5_hex(&message.message_body) }))
}

fn send_batch(queue: &Queue, batch: OutgoingBatch) -> Result<Value, SqsError> {
    let count = batch.entries.len();
    if count == 0 || count > BATCH_MESSAGES_MAX {
        let message = format!("a batch holds 1 to {BATCH_MESSAGES_MAX} entries, not {count}");
        return Err(SqsError::invalid_parameter(message));
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in batch.entries {
        match send(queue, &entry) {
            Ok(mut sent) => {
                if let Some(object) = sent.as_object_mut() {
                    object.insert("Id".to_owned(), entry.id.into());
                }
                successful.push(sent);
            }
            Err(error) => failed.push(json!({
                "Id": entry.id, "SenderFault": true, "Code": "InvalidParameterValue",
                "Message": error.message,
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}
