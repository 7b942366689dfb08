//! The way of a call: read it, let a fault strike, let the vendor answer, send or cut.
//!
//! Knows sockets and tasks, and no vendor's rules.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

use crate::fault::{Effect, FaultBody, Vendor};
use crate::sim::Shared;
use crate::state::State;
use crate::wire::{Call, Content, Reply};
use crate::world::CallRecord;
use crate::{github, hetzner, tailscale};

/// Marks an answer that must never arrive, as a response extension: the listener closes the
/// connection instead; whoever drives a router in process has to treat it as a lost connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

/// The base path of a vendor's URLs.
pub(crate) fn base_path(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Hetzner => "/v1",
        Vendor::Tailscale => "/api/v2",
        Vendor::Github => "",
    }
}

/// A vendor as a service.
pub(crate) fn router(shared: Arc<Shared>, vendor: Vendor) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move { handle(&shared, vendor, request).await }
    })
}

/// Accepts connections until the task is aborted; the connections end with it.
pub(crate) fn listen(listener: TcpListener, router: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(stream, router.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

/// Serves one connection. Errors end it, which is all that can be done about them here.
async fn connection(stream: TcpStream, router: Router) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer: Result<Response<Body>, Infallible> =
                router.oneshot(request.map(Body::new)).await;
            match answer {
                Ok(response) if response.extensions().get::<Cut>().is_some() => Err(CutShort),
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    drop(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// Why a connection was closed without an answer.
#[derive(Debug)]
struct CutShort;

impl std::fmt::Display for CutShort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fault cut the connection")
    }
}

impl std::error::Error for CutShort {}

/// Handles one call from first byte to answer.
async fn handle(shared: &Shared, vendor: Vendor, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        return cut();
    };
    let call = call_of(vendor, &parts, body);
    // Answered and logged in one moment of the world, or the log would tell a later one.
    let undisturbed = shared.with(|state| {
        let mut faults = state.faults.iter_mut();
        let fault = faults.find_map(|fault| fault.strikes(vendor, &call).then_some(&*fault));
        if let Some(fault) = fault {
            return Err(fault.effect.clone());
        }
        let reply = answer(state, vendor, &call);
        log(state, vendor, &call, Some(&reply), false);
        Ok(reply)
    });
    let reply = match undisturbed {
        Ok(reply) => Some(reply),
        Err(effect) => {
            let reply = bent(shared, vendor, &call, effect).await;
            shared.with(|state| log(state, vendor, &call, reply.as_ref(), true));
            reply
        }
    };
    shared.moved();
    reply.map_or_else(cut, response_of)
}

/// The outcome of a call that a fault strikes; `None` = no answer at all.
async fn bent(shared: &Shared, vendor: Vendor, call: &Call, effect: Effect) -> Option<Reply> {
    let answered = || shared.with(|state| answer(state, vendor, call));
    match effect {
        Effect::Status { status, body } => Some(refusal(shared, vendor, call, &body, status)),
        Effect::Answer {
            status,
            headers,
            body,
        } => {
            let mut reply = refusal(shared, vendor, call, &body, status);
            reply.headers.retain(|(name, _)| {
                let replaced = |(new, _): &(String, String)| new.eq_ignore_ascii_case(name);
                !headers.iter().any(replaced)
            });
            reply.headers.extend(headers);
            Some(reply)
        }
        Effect::Delay(time) => {
            tokio::time::sleep(time).await;
            Some(answered())
        }
        Effect::SlowReply(time) => {
            let reply = answered();
            tokio::time::sleep(time).await;
            Some(reply)
        }
        Effect::CutBefore => None,
        Effect::CutAfter => {
            drop(answered());
            None
        }
        Effect::ReplyLost504 => {
            drop(answered());
            let body = FaultBody::error("timeout", "the gateway gave up waiting");
            Some(refusal(shared, vendor, call, &body, 504))
        }
        Effect::ReplyReplaced { status, body } => {
            drop(answered());
            Some(refusal(shared, vendor, call, &body, status))
        }
    }
}

/// The vendor's own answer.
fn answer(state: &mut State, vendor: Vendor, call: &Call) -> Reply {
    match vendor {
        Vendor::Hetzner => hetzner::answer(state, call),
        Vendor::Tailscale => tailscale::answer(state, call),
        Vendor::Github => github::answer(state, call),
    }
}

/// A fault's answer with the headers that the vendor puts on every JSON answer.
fn refusal(shared: &Shared, vendor: Vendor, call: &Call, body: &FaultBody, status: u16) -> Reply {
    let reply = body.reply(vendor, status);
    if matches!(reply.body, Content::Html(_)) {
        return reply;
    }
    shared.with(|state| match vendor {
        Vendor::Hetzner => hetzner::limits::stamp(state, call, reply),
        Vendor::Github => github::limits::stamp(state, reply),
        Vendor::Tailscale => reply,
    })
}

/// Writes the call into the log, without what authorised it.
fn log(state: &mut State, vendor: Vendor, call: &Call, reply: Option<&Reply>, bent: bool) {
    let scheme = call.header("authorization").map(|text| {
        let scheme = text.split(' ').next().unwrap_or_default();
        format!("{scheme} [redacted]")
    });
    state.calls.push(CallRecord {
        at: state.now,
        vendor,
        method: call.method.clone(),
        path: call.target.clone(),
        status: reply.map(|reply| reply.status),
        authorization: scheme,
        bent,
    });
}

/// Takes a request apart.
fn call_of(vendor: Vendor, parts: &http::request::Parts, body: Bytes) -> Call {
    let path = parts.uri.path();
    let inner = path.strip_prefix(base_path(vendor)).unwrap_or("/");
    let segments = inner.split('/').filter(|segment| !segment.is_empty());
    let query = parts.uri.query().unwrap_or_default();
    let target = parts.uri.path_and_query();
    let host = parts.headers.get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    Call {
        host: host.or(authority).unwrap_or_default().to_owned(),
        method: parts.method.clone(),
        target: target.map_or_else(|| path.to_owned(), ToString::to_string),
        segments: segments.map(percent_decoded).collect(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: parts.headers.clone(),
        body,
    }
}

/// A path segment with its `%xx` resolved (`+` stays itself in a path).
fn percent_decoded(segment: &str) -> String {
    let form = format!("s={}", segment.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(form.as_bytes());
    pairs
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// The answer that never arrives.
fn cut() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
    response.extensions_mut().insert(Cut);
    response
}

/// Puts a reply into HTTP.
fn response_of(reply: Reply) -> Response<Body> {
    let (kind, body) = match reply.body {
        Content::Empty => (None, Body::empty()),
        Content::Json(value) => (
            Some("application/json; charset=utf-8"),
            Body::from(value.to_string()),
        ),
        Content::Html(page) => (Some("text/html"), Body::from(page)),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in reply.headers {
        let name = http::HeaderName::try_from(name.to_ascii_lowercase());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    response
}
