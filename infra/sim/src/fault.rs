//! Faults laid on the road: rules that match calls and bend their outcome.
//!
//! A rule knows calls (vendor, method, part of the path), never what the vendor does with them.
//! Faults of the world itself (a failing action, a late address) are [`crate::Knob`]s.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::wire::{Call, Content, Reply};

/// One of the fakes that speak HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// `api.hetzner.cloud`
    Hetzner,
    /// `api.tailscale.com`
    Tailscale,
    /// `api.github.com`
    Github,
}

/// A rule: the first `skip` matching calls pass, the next `times` suffer the effect.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Whose calls.
    pub vendor: Vendor,
    /// Only this method; `None` = any.
    pub method: Option<Method>,
    /// Only calls whose path and query contain this text; empty = any.
    pub path_contains: String,
    /// Let this many matching calls pass first.
    pub skip: u32,
    /// Then bend this many; `u32::MAX` means for ever.
    pub times: u32,
    /// What happens to them.
    pub effect: Effect,
}

/// What a [`Fault`] does to a call.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Refuse with this answer; nothing happens in the world.
    Status {
        /// HTTP status.
        status: u16,
        /// The answer's body.
        body: FaultBody,
    },
    /// Refuse with this answer and extra headers (`retry-after`, …).
    Answer {
        /// HTTP status.
        status: u16,
        /// Extra headers.
        headers: Vec<(String, String)>,
        /// The answer's body.
        body: FaultBody,
    },
    /// Wait, then handle the call as usual.
    Delay(Duration),
    /// Handle the call at once, then hold its answer back this long.
    SlowReply(Duration),
    /// Close the connection; nothing happens in the world.
    CutBefore,
    /// Handle the call, then close the connection without an answer.
    CutAfter,
    /// Handle the call, then answer 504 in the vendor's shape.
    ReplyLost504,
    /// Handle the call, then answer something else (502 with HTML, …).
    ReplyReplaced {
        /// HTTP status.
        status: u16,
        /// The answer's body.
        body: FaultBody,
    },
}

/// A body in the vendor's shape, or none of it.
#[derive(Debug, Clone)]
pub enum FaultBody {
    /// The vendor's error envelope. Hetzner uses both; Tailscale and GitHub only the message.
    Error {
        /// Hetzner's error code.
        code: String,
        /// The text for people.
        message: String,
    },
    /// A page of a gateway, `text/html`.
    Html(String),
    /// Any JSON.
    Json(Value),
    /// Nothing.
    Empty,
}

impl Fault {
    /// A rule for every call of a vendor; narrow it with the fields.
    pub fn every(vendor: Vendor, effect: Effect) -> Self {
        Self {
            vendor,
            method: None,
            path_contains: String::new(),
            skip: 0,
            times: u32::MAX,
            effect,
        }
    }

    /// A rule for the next call that matches.
    pub fn once(vendor: Vendor, method: Method, path_contains: &str, effect: Effect) -> Self {
        Self {
            vendor,
            method: Some(method),
            path_contains: path_contains.to_owned(),
            skip: 0,
            times: 1,
            effect,
        }
    }

    /// Whether the rule is about this call; counts the call when it is.
    pub(crate) fn strikes(&mut self, vendor: Vendor, call: &Call) -> bool {
        let method_fits = self.method.as_ref().is_none_or(|m| *m == call.method);
        let fits = self.vendor == vendor
            && method_fits
            && self.times > 0
            && call.target.contains(&self.path_contains);
        if !fits {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        true
    }
}

impl Effect {
    /// A refusal in the vendor's envelope.
    pub fn refuse(status: u16, code: &str, message: &str) -> Self {
        Self::Status {
            status,
            body: FaultBody::error(code, message),
        }
    }

    /// GitHub's secondary rate limit, with or without `retry-after` (seconds).
    pub fn github_secondary_limit(status: u16, retry_after: Option<u64>) -> Self {
        let headers = retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string()));
        Self::Answer {
            status,
            headers: headers.into_iter().collect(),
            body: FaultBody::Json(json!({
                "message": "You have exceeded a secondary rate limit. Please wait a few minutes \
                            before you try again.",
                "documentation_url": "https://docs.github.com/rest/overview/\
                    rate-limits-for-the-rest-api#about-secondary-rate-limits",
                "status": status.to_string(),
            })),
        }
    }
}

impl FaultBody {
    /// An error envelope.
    pub fn error(code: &str, message: &str) -> Self {
        Self::Error {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    /// A short gateway page.
    pub fn gateway_page(title: &str) -> Self {
        Self::Html(format!(
            "<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        ))
    }

    /// The answer this body makes, in the vendor's shape.
    pub(crate) fn reply(&self, vendor: Vendor, status: u16) -> Reply {
        let body = match self {
            Self::Error { code, message } => Content::Json(envelope(vendor, status, code, message)),
            Self::Html(page) => Content::Html(page.clone()),
            Self::Json(value) => Content::Json(value.clone()),
            Self::Empty => Content::Empty,
        };
        Reply {
            status,
            headers: Vec::new(),
            body,
        }
    }
}

/// The error body of each vendor.
pub(crate) fn envelope(vendor: Vendor, status: u16, code: &str, message: &str) -> Value {
    match vendor {
        Vendor::Hetzner => {
            json!({"error": {"code": code, "message": message, "details": null}})
        }
        Vendor::Tailscale => json!({"message": message}),
        Vendor::Github => json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        }),
    }
}
