//! Every answer of a function is JSON, errors of its routes, its paths and its bodies included.

#![cfg(test)]

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    response::IntoResponse,
    routing::post,
};
use host::{ApiError, read_body};
use serde_json::{Value, json};
use tower::ServiceExt;

const LIMIT: usize = 8;

async fn echo(body: Body) -> Result<impl IntoResponse, ApiError> {
    read_body(body, LIMIT).await
}

async fn ask(method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let router = host::router(Router::new().route("/echo", post(echo)));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    (
        status,
        to_bytes(response.into_body(), 4096).await.unwrap().to_vec(),
    )
}

fn error(body: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let word = |field: &str| body["error"][field].as_str().unwrap().to_owned();
    assert_eq!(
        body,
        json!({"error": {"code": word("code"), "message": word("message")}})
    );
    (word("code"), word("message"))
}

#[tokio::test]
async fn a_body_of_the_limit_is_read_and_one_byte_more_is_413() {
    assert_eq!(
        ask("POST", "/echo", "12345678").await,
        (StatusCode::OK, b"12345678".to_vec())
    );
    let (status, body) = ask("POST", "/echo", "123456789").await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        error(&body),
        ("too_large".into(), "the body is longer than 8 bytes".into())
    );
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let (status, body) = ask("POST", "/elsewhere?token=x", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        error(&body),
        ("not_found".into(), "there is nothing at /elsewhere".into())
    );
    let (status, body) = ask("GET", "/echo", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        error(&body),
        (
            "method_not_allowed".into(),
            "/echo does not take GET".into()
        )
    );
}
