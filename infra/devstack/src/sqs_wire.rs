//! SQS on the wire: requests and answers of its JSON 1.0 protocol, and the event in which a
//! function gets messages. Pure; holds no queue.

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest message, from SQS's quotas.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Longest delay in seconds, from SQS's quotas.
pub(crate) const DELAY_SECONDS_MAX: i64 = 900;
/// Most messages of one batch.
pub(crate) const BATCH_MESSAGES_MAX: usize = 10;

/// One message to be queued.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Outgoing {
    /// Only in batches: how the caller names the entry.
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) message_body: String,
    #[serde(default)]
    pub(crate) delay_seconds: i64,
}

/// Entries of `SendMessageBatch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OutgoingBatch {
    pub(crate) entries: Vec<Outgoing>,
}

/// An answer of the service that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqsError {
    pub(crate) kind: &'static str,
    /// What the older query protocol calls it; the SDK reads this from a header.
    pub(crate) query_kind: &'static str,
    pub(crate) message: String,
}

impl SqsError {
    pub(crate) fn body(&self) -> Value {
        json!({ "__type": self.kind, "message": self.message })
    }

    pub(crate) fn invalid_parameter(message: String) -> Self {
        let kind = "com.amazonaws.sqs#InvalidParameterValueException";
        Self {
            kind,
            query_kind: "InvalidParameterValue;Sender",
            message,
        }
    }

    pub(crate) fn unknown_operation(target: &str) -> Self {
        Self {
            kind: "com.amazonaws.sqs#UnsupportedOperation",
            query_kind: "AWS.SimpleQueueService.UnsupportedOperation;Sender",
            message: format!("this queue does not know {target}"),
        }
    }
}

impl Outgoing {
    /// Refuses what SQS would refuse.
    pub(crate) fn check(&self) -> Result<(), SqsError> {
        if !(0..=DELAY_SECONDS_MAX).contains(&self.delay_seconds) {
            return Err(SqsError::invalid_parameter(format!(
                "Value {} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be \
                 >= 0 and <= {DELAY_SECONDS_MAX}.",
                self.delay_seconds
            )));
        }
        let length = self.message_body.len();
        if length == 0 || length > MESSAGE_BYTES_MAX {
            return Err(SqsError::invalid_parameter(format!(
                "One or more parameters are invalid. Reason: Message must be 1 to \
                 {MESSAGE_BYTES_MAX} bytes long."
            )));
        }
        Ok(())
    }
}

/// One message as a function sees it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) message_id: String,
    pub(crate) receipt_handle: String,
    pub(crate) body: String,
    pub(crate) receive_count: u32,
    pub(crate) sent_unix_ms: u64,
    pub(crate) first_received_unix_ms: u64,
}

/// The event of one batch. Numbers in `attributes` are strings.
pub(crate) fn event(records: &[Record]) -> Bytes {
    let records: Vec<Value> = records.iter().map(record).collect();
    json!({ "Records": records }).to_string().into()
}

fn record(record: &Record) -> Value {
    json!({
        "messageId": record.message_id,
        "receiptHandle": record.receipt_handle,
        "body": record.body,
        "attributes": {
            "ApproximateReceiveCount": record.receive_count.to_string(),
            "SentTimestamp": record.sent_unix_ms.to_string(),
            "SenderId": "devstack",
            "ApproximateFirstReceiveTimestamp": record.first_received_unix_ms.to_string(),
        },
        "messageAttributes": {},
        "md5OfBody": md5_hex(&record.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:jobs",
        "awsRegion": "us-east-1",
    })
}

/// Which messages of a batch failed: the named ones, or all when the answer is malformed or
/// names one that was not in it.
pub(crate) fn failures<'a>(answer: &[u8], ids: &'a [String]) -> Vec<&'a String> {
    let all = || ids.iter().collect();
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return all();
    };
    let Some(failures) = answer
        .get("batchItemFailures")
        .filter(|list| !list.is_null())
    else {
        return Vec::new();
    };
    let Some(failures) = failures.as_array() else {
        return all();
    };
    let named: Option<Vec<_>> = failures
        .iter()
        .map(|failure| {
            let id = failure.get("itemIdentifier")?.as_str()?;
            ids.iter().find(|known| *known == id)
        })
        .collect();
    named.unwrap_or_else(all)
}

/// The digest by which the SDK checks that the service understood the body.
pub(crate) fn md5_hex(body: &str) -> String {
    hex::encode(Md5::digest(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_sizes_are_checked() {
        let message = |body: &str, delay_seconds| Outgoing {
            id: String::new(),
            message_body: body.to_owned(),
            delay_seconds,
        };
        assert_eq!(message("x", 0).check(), Ok(()));
        assert_eq!(message("x", 900).check(), Ok(()));
        for bad in [message("x", 901), message("x", -1), message("", 0)] {
            let error = bad.check().unwrap_err();
            assert_eq!(error.query_kind, "InvalidParameterValue;Sender");
        }
    }

    #[test]
    fn a_batch_answer_names_its_failures() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let failed = |answer: &str| {
            failures(answer.as_bytes(), &ids)
                .into_iter()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            failed(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#),
            ["b"]
        );
        for fine in [
            "null",
            "{}",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
        ] {
            assert!(failed(fine).is_empty(), "{fine}");
        }
        let whole = [
            "nonsense",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
            r#"{"batchItemFailures":[{}]}"#,
        ];
        for bad in whole {
            assert_eq!(failed(bad), ["a", "b"], "{bad}");
        }
    }

    #[test]
    fn the_digest_is_md5_in_hex() {
        assert_eq!(md5_hex("hello"), "5d41402abc4b2a76b9719d911017c592");
    }
}
