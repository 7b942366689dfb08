//! Makes a new status link for an agent's customer.
//! It must not know how a link is signed, or what it opens.

use super::{
    body::read_nothing,
    operator::{Named, Operator},
};
use crate::{
    link::{LINK_LIFE, make},
    view::rfc3339,
};
use axum::{Json, body::Body};
use domain::Timestamp;
use host::ApiError;
use serde::Serialize;

/// A link.
#[derive(Debug, Serialize)]
pub(super) struct LinkView {
    /// Where the status page is; a path alone when `PUBLIC_URL` is not set.
    url: String,
    expires_at: String,
}

/// `POST /agents/{id}/link`.
pub(super) async fn link(
    Operator(deps): Operator,
    Named(agent_id): Named,
    body: Body,
) -> Result<Json<LinkView>, ApiError> {
    read_nothing(body).await?;
    let now = deps.clock.now();
    deps.look(agent_id, now).await?;
    // A link counts in whole seconds.
    let expires = Timestamp::from_unix_seconds(now.plus(LINK_LIFE).unix_seconds());
    let origin = deps.public_url.as_deref().unwrap_or_default();
    let token = make(&deps.link_key, agent_id, expires);
    Ok(Json(LinkView {
        url: format!("{origin}/s/{token}"),
        expires_at: rfc3339(expires),
    }))
}
