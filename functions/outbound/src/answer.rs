//! How a call ended: an answer with any status, or no answer.
//! It must not show a query, a header or a secret.

use crate::Secrets;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::fmt;

/// Longest piece of a provider's text that an error carries, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// A whole answer, whatever its status.
#[derive(Clone)]
pub struct Answer {
    pub(crate) call: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) secrets: Secrets,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Answer({}: {}, {} bytes)",
            self.call,
            self.status,
            self.body.len()
        )
    }
}

impl Answer {
    /// The status.
    pub const fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// A header's value, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body. May hold secrets: never log it.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// A complaint that says where the body is not what was expected, without quoting it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Complaint> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            self.complaint(&format!(
                "the answer is not as expected: {:?} at {place}",
                error.classify()
            ))
        })
    }

    /// An error about this answer: the call, its status, and `text` of the provider's,
    /// shortened to one line and without secrets.
    pub fn complaint(&self, text: &str) -> Complaint {
        self.complaint_with(text, "")
    }

    /// The same, and `facts` behind it (a code, an id to quote), which no long text pushes out.
    pub fn complaint_with(&self, text: &str, facts: &str) -> Complaint {
        let clean = |text: &str| one_line(&self.secrets.redact(text));
        Complaint {
            call: self.call.clone(),
            status: self.status(),
            text: format!("{}{}", clean(text), clean(facts)),
        }
    }
}

/// An answer that is an error to the caller. Shows method, host, path, status and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    call: String,
    status: u16,
    text: String,
}

impl Complaint {
    /// The answer's status.
    pub const fn status(&self) -> u16 {
        self.status
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, text } = self;
        write!(f, "{call} answered {status}: {text}")
    }
}

impl std::error::Error for Complaint {}

/// Whether a call that got no answer may have been processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Surely not processed: it could not be sent.
    Refused,
    /// Sent, and no whole answer came: it may have been processed.
    Unknown,
}

/// A call that got no answer. Shows method, host, path and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub(crate) call: String,
    pub(crate) lost: Lost,
    pub(crate) why: String,
}

impl Failure {
    /// Whether the call may have been processed.
    pub const fn lost(&self) -> Lost {
        self.lost
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lost {
            Lost::Refused => write!(f, "{} could not be sent: {}", self.call, self.why),
            Lost::Unknown => write!(f, "{} got no answer: {}", self.call, self.why),
        }
    }
}

impl std::error::Error for Failure {}

/// One line of at most [`TEXT_CHARS_MAX`] characters, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (count, letter) in text.trim_end().chars().enumerate() {
        if count == TEXT_CHARS_MAX {
            line.push('…');
            break;
        }
        line.push(if letter.is_control() { ' ' } else { letter });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_single() {
        assert_eq!(one_line("a\nb\u{1b}[1m "), "a b [1m");
        let long = one_line(&"x".repeat(5000));
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX + 1);
    }
}
