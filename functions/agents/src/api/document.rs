//! Hands out the `OpenAPI` document of this API. Nothing in it is secret.
//! It must not know whether the API keeps to it: tests do.

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};

const DOCUMENT: &str = include_str!("openapi.json");
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// `GET /agents/openapi.json`.
pub(super) async fn document() -> impl IntoResponse {
    (JSON, DOCUMENT)
}
