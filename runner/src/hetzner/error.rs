//! What Hetzner's refusals mean to us: one table from status and code to what the caller does.
//! It must not know which call was made.

use contract::ErrorClass;
use outbound::{Answer, Failure, Lost};
use serde::Deserialize;
use std::fmt;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 404 `not_found`, and nothing else, means: it does not exist.
    NotFound,
    /// The name belongs to something that exists.
    NameTaken,
    /// Another action holds the server; try again soon.
    Busy,
    /// This type or location cannot be had now; another may.
    Unavailable,
    /// The account may have no more of it.
    Limit,
    /// The token does not allow it.
    Denied,
    /// The request itself was refused.
    Refused,
    /// Refused for now; may work later.
    Later,
    /// No answer that says whether it was done.
    Doubt,
}

impl Kind {
    /// Reads status and code (Hetzner: table of error codes). `text` decides where one code
    /// stands for two things.
    fn of(status: u16, code: &str, text: &str) -> Self {
        match (status, code) {
            (_, "uniqueness_error") => Self::NameTaken,
            (_, "locked" | "conflict") => Self::Busy,
            (_, "resource_unavailable" | "placement_error" | "invalid_server_type") => {
                Self::Unavailable
            }
            (_, "resource_limit_exceeded") => Self::Limit,
            (404, "not_found") => Self::NotFound,
            (_, "invalid_input") if text.contains("unsupported location") => Self::Unavailable,
            (_, "maintenance" | "rate_limit_exceeded" | "unavailable" | "service_error")
            | (429, _) => Self::Later,
            // Not Hetzner's own answer: what stands before it, or a firewall on the way, may
            // answer with a page of any status.
            (500..=599, _) | (400..=499, "") => Self::Doubt,
            (401 | 403, _) => Self::Denied,
            _ => Self::Refused,
        }
    }

    /// What it means for the next attempt.
    pub(crate) const fn class(self) -> ErrorClass {
        match self {
            Self::Limit | Self::Denied | Self::Refused => ErrorClass::Permanent,
            Self::Unavailable => ErrorClass::Capacity,
            Self::NotFound | Self::NameTaken | Self::Busy | Self::Later | Self::Doubt => {
                ErrorClass::Transient
            }
        }
    }

    /// What a person can change, where there is something.
    const fn advice(self) -> &'static str {
        match self {
            Self::Limit => "; ask Hetzner for a higher limit or remove servers, then retry",
            Self::Denied => "; check HETZNER_API_TOKEN: it must be of this project and may write",
            Self::NotFound
            | Self::NameTaken
            | Self::Busy
            | Self::Unavailable
            | Self::Refused
            | Self::Later
            | Self::Doubt => "",
        }
    }
}

/// A call to Hetzner that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    /// Refused for now: a call that changes nothing may be made again after a while.
    pub(crate) refused: bool,
    /// It may have been done all the same: no answer, or one of whatever stands before Hetzner.
    pub(crate) may_be_done: bool,
    /// The fields of the request that were found wrong (Hetzner: `details.fields`).
    pub(crate) wrong: Vec<String>,
    pub(crate) text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hetzner: {}{}", self.text, self.kind.advice())
    }
}

impl std::error::Error for Error {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.lost() {
            Lost::Refused => Kind::Later,
            Lost::Unknown => Kind::Doubt,
        };
        Self {
            kind,
            refused: kind == Kind::Later,
            may_be_done: kind == Kind::Doubt,
            wrong: Vec::new(),
            text: failure.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

impl Error {
    /// An error answer. Its body need not be JSON: gateways send pages.
    pub(crate) fn of_answer(answer: &Answer) -> Self {
        let body = serde_json::from_slice::<Envelope>(answer.body())
            .map(|found| found.error)
            .ok();
        let (code, text, wrong) = match body {
            Some(body) => {
                let (wrong, said) = fields(body.details.as_ref());
                (body.code, format!("{}{said}", body.message), wrong)
            }
            None => (String::new(), "no reason given".to_owned(), Vec::new()),
        };
        let mut facts = String::new();
        if !code.is_empty() {
            facts = format!(" ({code})");
        }
        if let Some(id) = answer.header("x-correlation-id") {
            facts = format!("{facts} [correlation id {id}]");
        }
        let kind = Kind::of(answer.status(), &code, &text);
        Self {
            kind,
            refused: kind == Kind::Later || answer.status() == 503,
            may_be_done: kind == Kind::Doubt || answer.status() >= 500,
            wrong,
            text: answer.complaint_with(&text, &facts).to_string(),
        }
    }

    /// A success that cannot be read: it may have done what was asked.
    pub(crate) fn unreadable(complaint: &outbound::Complaint) -> Self {
        Self {
            kind: Kind::Doubt,
            refused: false,
            may_be_done: true,
            wrong: Vec::new(),
            text: complaint.to_string(),
        }
    }
}

impl Error {
    /// A success that names no action to watch.
    pub(crate) fn nameless(what: &str) -> Self {
        Self {
            kind: Kind::Doubt,
            refused: false,
            may_be_done: true,
            wrong: Vec::new(),
            text: format!("the answer to {what} names no action"),
        }
    }
}

/// `details.fields` of `invalid_input`: the fields' names, and what is wrong with each.
fn fields(details: Option<&serde_json::Value>) -> (Vec<String>, String) {
    let list = details.and_then(|details| details.get("fields")?.as_array());
    let found = list.into_iter().flatten().filter_map(|field| {
        let name = field.get("name")?.as_str()?;
        let messages = field
            .get("messages")
            .and_then(|messages| messages.as_array());
        let texts: Vec<&str> = messages
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_str())
            .collect();
        Some((name.to_owned(), format!(" [{name}: {}]", texts.join(", "))))
    });
    found.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        for (status, code, text, kind) in [
            (401, "unauthorized", "", Kind::Denied),
            (403, "token_readonly", "", Kind::Denied),
            (403, "forbidden", "", Kind::Denied),
            (
                403,
                "resource_limit_exceeded",
                "server limit exceeded",
                Kind::Limit,
            ),
            (403, "maintenance", "", Kind::Later),
            (404, "not_found", "", Kind::NotFound),
            (404, "", "a page of a proxy", Kind::Doubt),
            (403, "", "a page of a firewall", Kind::Doubt),
            (409, "uniqueness_error", "", Kind::NameTaken),
            (409, "conflict", "", Kind::Busy),
            (
                412,
                "resource_unavailable",
                "server location disabled",
                Kind::Unavailable,
            ),
            (412, "placement_error", "", Kind::Unavailable),
            (422, "invalid_server_type", "", Kind::Unavailable),
            (
                422,
                "invalid_input",
                "unsupported location for server type",
                Kind::Unavailable,
            ),
            (422, "invalid_input", "image not found", Kind::Refused),
            (422, "service_error", "", Kind::Later),
            (423, "locked", "", Kind::Busy),
            (423, "protected", "", Kind::Refused),
            (429, "rate_limit_exceeded", "", Kind::Later),
            (429, "", "", Kind::Later),
            (500, "server_error", "", Kind::Doubt),
            (502, "", "", Kind::Doubt),
            (503, "unavailable", "", Kind::Later),
            (504, "timeout", "", Kind::Doubt),
        ] {
            assert_eq!(Kind::of(status, code, text), kind, "{status} {code} {text}");
        }
    }

    #[test]
    fn only_what_can_pass_by_itself_is_tried_again() {
        assert_eq!(Kind::Limit.class(), ErrorClass::Permanent);
        assert_eq!(Kind::Unavailable.class(), ErrorClass::Capacity);
        assert_eq!(Kind::Doubt.class(), ErrorClass::Transient);
    }

    #[test]
    fn fields_are_named() {
        let details = serde_json::json!({"fields": [{"name": "image", "messages": ["no", "way"]}]});
        let (wrong, said) = fields(Some(&details));
        assert_eq!(
            (wrong, &*said),
            (vec!["image".to_owned()], " [image: no, way]")
        );
        for nothing in [Some(&serde_json::json!({})), None] {
            assert_eq!(fields(nothing), (Vec::new(), String::new()));
        }
    }
}
