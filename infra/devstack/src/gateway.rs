//! The HTTP front: the public paths of DESIGN §5, each handed to its function.
//!
//! Stands where API Gateway stands; decides by path alone and changes no body.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::entropy;
use crate::function::{Function, InvokeError};
use crate::http_event::{Arrival, event, failure, response};
use crate::runtime_api::PAYLOAD_BYTES_MAX;

/// The functions behind the front.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    /// `POST /webhooks/stripe`
    pub(crate) stripe_webhook: Function,
    /// `POST /callback`
    pub(crate) callback: Function,
    /// `/agents…`, `/welcome`, `/s/…`, `/`
    pub(crate) agents: Function,
}

impl Routes {
    /// Which function a request belongs to, if any.
    fn find(&self, method: &Method, path: &str) -> Option<&Function> {
        match path {
            "/webhooks/stripe" => (method == Method::POST).then_some(&self.stripe_webhook),
            "/callback" => (method == Method::POST).then_some(&self.callback),
            "/" | "/welcome" | "/agents" => Some(&self.agents),
            path if path.starts_with("/agents/") || path.starts_with("/s/") => Some(&self.agents),
            _ => None,
        }
    }
}

/// A running front. Closed on drop.
#[derive(Debug)]
pub(crate) struct Gateway {
    server: AbortHandle,
}

struct Front {
    routes: Routes,
    clock: Clock,
    force_base64: bool,
}

impl Gateway {
    /// Serves on a listener already bound, because the functions have to know the address
    /// before they exist.
    pub(crate) fn start(
        listener: TcpListener,
        routes: Routes,
        clock: Clock,
        force_base64: bool,
    ) -> Self {
        let front = Arc::new(Front {
            routes,
            clock,
            force_base64,
        });
        let paths = Router::new().fallback(handle).with_state(front);
        let service = paths.into_make_service_with_connect_info::<SocketAddr>();
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let server = tokio::spawn(async move { axum::serve(listener, service).await });
        Self {
            server: server.abort_handle(),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Binds the front's address: a port of the caller's choice, or any free one for 0.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

async fn handle(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(function) = front.routes.find(&parts.method, parts.uri.path()) else {
        return failure(StatusCode::NOT_FOUND).map(Body::from);
    };
    let Ok(body) = to_bytes(body, PAYLOAD_BYTES_MAX).await else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE).map(Body::from);
    };
    let arrival = Arrival {
        request_id: entropy::uuid().to_string(),
        unix_ms: front.clock.unix_ms(),
        source_ip: peer.ip().to_string(),
        force_base64: front.force_base64,
    };
    let event = Bytes::from(event(&parts, &body, &arrival).to_string());
    let answer = match function.invoke(event).await {
        Ok(answer) => response(&answer),
        Err(error) => {
            tracing::warn!(function = function.name(), %error, "invocation failed");
            failure(status_of(&error))
        }
    };
    answer.map(Body::from)
}

/// What the caller of a failed function sees.
fn status_of(error: &InvokeError) -> StatusCode {
    match error {
        InvokeError::TimedOut(_) => StatusCode::SERVICE_UNAVAILABLE,
        InvokeError::Function(_) | InvokeError::Died { .. } | InvokeError::Start(_) => {
            StatusCode::BAD_GATEWAY
        }
    }
}
