//! What Tailscale's refusals mean to us: one table from status to what the caller does.
//! It must not know which call was made.

use contract::ErrorClass;
use outbound::{Answer, Failure, Lost};
use serde::Deserialize;
use std::fmt;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It does not exist.
    NotFound,
    /// The credential does not allow it.
    Denied,
    /// The request itself was refused.
    Refused,
    /// The device is another tailnet's.
    Foreign,
    /// The access token ended before its time: surely not done, another token may do.
    TokenEnded,
    /// Surely not done; may work later.
    Later,
    /// No answer that says whether it was done.
    Doubt,
}

impl Kind {
    /// `said`: Tailscale itself answered. What stands before it, or a firewall on the way, may
    /// answer with a page of any status.
    const fn of(status: u16, said: bool) -> Self {
        match status {
            429 => Self::Later,
            400..=499 if !said => Self::Doubt,
            404 => Self::NotFound,
            401 => Self::TokenEnded,
            403 => Self::Denied,
            501 => Self::Foreign,
            500..=599 => Self::Doubt,
            _ => Self::Refused,
        }
    }

    /// What it means for the next attempt.
    pub(crate) const fn class(self) -> ErrorClass {
        match self {
            Self::Denied | Self::Refused | Self::Foreign => ErrorClass::Permanent,
            Self::NotFound | Self::TokenEnded | Self::Later | Self::Doubt => ErrorClass::Transient,
        }
    }
}

/// A call to Tailscale that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tailscale: {}{}",
            self.text,
            advice(self.kind, &self.text)
        )
    }
}

impl std::error::Error for Error {}

/// What a person can change, where there is something.
fn advice(kind: Kind, text: &str) -> &'static str {
    match kind {
        Kind::Denied => {
            "; check that the OAuth client has the scopes auth_keys and devices:core, both to write"
        }
        Kind::Refused if text.contains("tag") => {
            "; TAILSCALE_TAG must be in the policy's tagOwners and the OAuth client's only tag"
        }
        Kind::NotFound
        | Kind::Refused
        | Kind::Foreign
        | Kind::TokenEnded
        | Kind::Later
        | Kind::Doubt => "",
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.lost() {
            Lost::Refused => Kind::Later,
            Lost::Unknown => Kind::Doubt,
        };
        Self {
            kind,
            text: failure.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

impl Error {
    /// An error answer. Its body need not be JSON.
    pub(crate) fn of_answer(answer: &Answer) -> Self {
        let body = serde_json::from_slice::<Body>(answer.body()).ok();
        let kind = Kind::of(answer.status(), body.is_some());
        let text = body
            .map(|body| {
                if body.message.is_empty() {
                    body.error
                } else {
                    body.message
                }
            })
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "no reason given".to_owned());
        Self {
            kind,
            text: answer.complaint(&text).to_string(),
        }
    }

    /// The same of a call whose token was new: then it is not the token.
    pub(crate) fn lasting(self) -> Self {
        if self.kind != Kind::TokenEnded {
            return self;
        }
        Self {
            kind: Kind::Denied,
            ..self
        }
    }

    /// An answer that cannot be read: what was asked may have been done.
    pub(crate) const fn odd(text: String) -> Self {
        Self {
            kind: Kind::Doubt,
            text,
        }
    }

    /// An error of the token call: any refusal is about the client itself.
    pub(crate) fn of_token(self) -> Self {
        match self.kind {
            Kind::NotFound | Kind::Denied | Kind::Refused | Kind::TokenEnded => Self {
                kind: Kind::Refused,
                text: format!(
                    "{}; check TAILSCALE_OAUTH_CLIENT_ID and TAILSCALE_OAUTH_CLIENT_SECRET",
                    self.text
                ),
            },
            Kind::Foreign | Kind::Later | Kind::Doubt => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        for (status, said, kind) in [
            (400, true, Kind::Refused),
            (401, true, Kind::TokenEnded),
            (403, true, Kind::Denied),
            (403, false, Kind::Doubt),
            (404, true, Kind::NotFound),
            (404, false, Kind::Doubt),
            (429, false, Kind::Later),
            (500, true, Kind::Doubt),
            (501, true, Kind::Foreign),
            (504, false, Kind::Doubt),
        ] {
            assert_eq!(Kind::of(status, said), kind, "{status} {said}");
        }
    }
}
