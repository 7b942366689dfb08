//! The operator's view of one agent.
//! It must not know how a status comes about.

use crate::view::AgentView;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, header},
    routing::get,
};
use domain::AgentId;
use host::{ApiError, Clock, Nudges, same_secret};
use secrecy::SecretString;
use std::sync::Arc;
use store::{Store, StoreError};

/// What the agents function needs.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The queue.
    pub nudges: Nudges,
    /// The time.
    pub clock: Clock,
    /// The operator's token.
    pub api_token: SecretString,
}

/// The function's paths.
pub fn routes(deps: Arc<Deps>) -> Router {
    host::router(
        Router::new()
            .route("/agents/{id}", get(show))
            .with_state(deps),
    )
}

async fn show(
    State(deps): State<Arc<Deps>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<AgentView>, ApiError> {
    deps.admit(&headers)?;
    let id: AgentId = id
        .parse()
        .map_err(|error| ApiError::malformed(format!("{error}")))?;
    let now = deps.clock.now();
    let status = deps
        .store
        .agent_status(id, now)
        .await
        .map_err(|error| failed(id, &error))?;
    let status = status.ok_or_else(|| ApiError::not_found("there is no such agent"))?;
    deps.nudges.remind(status.any_due, now).await;
    Ok(Json(AgentView::of(&status, now)))
}

impl Deps {
    /// Lets in whoever holds the operator's token.
    fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = given
            .and_then(|text| text.split_once(' '))
            .and_then(|(scheme, token)| {
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
        if token.is_some_and(|token| same_secret(&self.api_token, token)) {
            return Ok(());
        }
        Err(ApiError::unauthorized(
            "Authorization: Bearer with the API_TOKEN is needed",
        ))
    }
}

fn failed(agent_id: AgentId, error: &StoreError) -> ApiError {
    tracing::error!(%agent_id, %error, "the status could not be read");
    if error.is_unavailable() {
        ApiError::unavailable("the database is not available")
    } else {
        ApiError::internal("the status could not be read")
    }
}
