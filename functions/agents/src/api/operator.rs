//! Who asks, about which agent, and under which key: read before anything of a body is.
//! It must not know what is asked.

use super::body::invalid;
use crate::handler::Deps;
use axum::{
    extract::{FromRequestParts, Path},
    http::{StatusCode, request::Parts},
};
use domain::AgentId;
use host::ApiError;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use store::CommandKey;

const KEY_HEADER: &str = "idempotency-key";
const KEY_CHARS_MAX: usize = 255;

/// The operator, known by the token. Nobody else gets at what the function can do.
#[derive(Debug)]
pub(super) struct Operator(pub(super) Arc<Deps>);

impl FromRequestParts<Arc<Deps>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, deps: &Arc<Deps>) -> Result<Self, ApiError> {
        deps.admit(&parts.headers)?;
        Ok(Self(Arc::clone(deps)))
    }
}

/// The agent in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named(pub(super) AgentId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| invalid("id", &rejection.body_text()))?;
        let id = id.parse::<AgentId>();
        id.map(Self)
            .map_err(|error| invalid("id", &error.to_string()))
    }
}

/// The `Idempotency-Key`, if one was sent.
#[derive(Debug)]
pub(super) struct Key(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(KEY_HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.to_str().ok().filter(|key| {
            let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
            visible && (1..=KEY_CHARS_MAX).contains(&key.len())
        });
        match (key, values.next()) {
            (Some(key), None) => Ok(Self(Some(key.to_owned()))),
            (Some(_), Some(_)) => Err(wrong("is given twice")),
            (None, _) => Err(wrong("1 to 255 visible ASCII characters are needed")),
        }
    }
}

fn wrong(what: &str) -> ApiError {
    invalid("Idempotency-Key", what)
}

impl Key {
    /// The key together with what it was sent for: the same texts for requests that mean the
    /// same.
    pub(super) fn of(self, what: &str, body: &str) -> Option<CommandKey> {
        let digest = Sha256::digest(format!("{what}\n{body}"));
        self.0.map(|key| CommandKey {
            key,
            request: hex::encode(digest),
        })
    }
}

/// The answer to a key that came with another request before.
pub(super) fn key_reused() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "this Idempotency-Key came with another request before; take a new one",
    )
}
