//! Shows one agent.
//! It must not know how a status comes about.

use super::{
    failed,
    operator::{Named, Operator},
    query::Query,
};
use crate::{handler::Deps, view::AgentView};
use axum::Json;
use domain::{AgentId, Timestamp};
use host::ApiError;
use store::AgentStatus;

/// `GET /agents/{id}`.
pub(super) async fn show(
    Operator(deps): Operator,
    Named(id): Named,
    query: Query,
) -> Result<Json<AgentView>, ApiError> {
    query.finish()?;
    let now = deps.clock.now();
    let status = deps.look(id, now).await?;
    deps.nudges.remind(status.any_due, now).await;
    Ok(Json(AgentView::of(&status, now)))
}

impl Deps {
    /// The agent as it is now.
    pub(super) async fn look(&self, id: AgentId, now: Timestamp) -> Result<AgentStatus, ApiError> {
        let status = self.store.agent_status(id, now).await;
        let status = status.map_err(|error| failed("the status could not be read", &error))?;
        status.ok_or_else(no_such_agent)
    }
}

/// 404.
pub(super) fn no_such_agent() -> ApiError {
    ApiError::not_found("there is no such agent")
}
