//! The operator's API: JSON over HTTP, for programs.
//! It must not know how a status comes about, or what a page looks like.

mod body;
mod command;
mod create;
mod document;
mod events;
mod link;
mod list;
mod operator;
mod query;
mod row;
mod show;

use crate::handler::Deps;
use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::Response,
    routing::{get, post},
};
use host::ApiError;
use std::sync::Arc;
use store::StoreError;

/// The API's paths.
pub(crate) fn routes() -> Router<Arc<Deps>> {
    Router::new()
        .route("/agents", get(list::list).post(create::create))
        .route("/agents/openapi.json", get(document::document))
        .route("/agents/{id}", get(show::show).delete(command::delete))
        .route("/agents/{id}/events", get(events::events))
        .route("/agents/{id}/link", post(link::link))
        .route("/agents/{id}/provision", post(command::retry))
        .route("/agents/{id}/start", post(command::start))
        .route("/agents/{id}/stop", post(command::stop))
        .layer(map_response(challenge))
}

/// A 401 has to name the scheme that would be taken (RFC 9110, 11.6.1).
async fn challenge(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// What the caller may know of a database's trouble.
fn failed(what: &'static str, error: &StoreError) -> ApiError {
    tracing::error!(%error, "{what}");
    if error.is_unavailable() {
        ApiError::unavailable("the database is not available")
    } else {
        ApiError::internal(what)
    }
}
