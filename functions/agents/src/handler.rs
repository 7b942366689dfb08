//! The function's dependencies and paths: the operator's API, and the pages.
//! It must not know what either of them does.

use crate::{api, page};
use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    middleware::map_response,
    response::Response,
};
use host::{ApiError, Clock, Entropy, Nudges, same_secret};
use secrecy::SecretString;
use std::sync::Arc;
use store::Store;

/// What the agents function needs.
#[derive(Debug)]
pub struct Deps {
    /// The database.
    pub store: Store,
    /// The queue.
    pub nudges: Nudges,
    /// The time.
    pub clock: Clock,
    /// New ids.
    pub entropy: Entropy,
    /// The operator's token.
    pub api_token: SecretString,
    /// Signs status links.
    pub link_key: SecretString,
    /// Origin of this deployment as people reach it; links are paths only without it.
    pub public_url: Option<String>,
}

/// The function's paths.
pub fn routes(deps: Arc<Deps>) -> Router {
    let routes = api::routes().merge(page::routes()).with_state(deps);
    host::router(routes).layer(map_response(keep_nowhere))
}

/// How an agent is changes all the time and is nobody else's business: what does not say
/// otherwise is kept by no cache.
async fn keep_nowhere(mut response: Response) -> Response {
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Deps {
    /// Lets in whoever holds the operator's token.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), ApiError> {
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
