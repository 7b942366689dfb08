//! Reads bodies: JSON of the right type and size, nothing unknown in it, every mistake by field.
//! It must not know what the fields mean.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use host::{ApiError, read_body};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Longest text that is told about a body: it may quote it.
const TOLD_CHARS_MAX: usize = 200;

/// An object with the fields of `T`, which has to refuse unknown ones.
pub(super) async fn read_object<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    if !is_json(headers) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type: application/json is needed",
        ));
    }
    let body = read_body(body, BODY_BYTES_MAX).await?;
    // serde would take an array for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::malformed("the body is not a JSON object"));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let told: String = error.to_string().chars().take(TOLD_CHARS_MAX).collect();
        ApiError::malformed(format!("the body: {told}"))
    })
}

/// Nothing, or an empty object, which some clients send with every POST.
pub(super) async fn read_nothing(body: Body) -> Result<(), ApiError> {
    let body: Bytes = read_body(body, BODY_BYTES_MAX).await?;
    match body.trim_ascii() {
        b"" | b"{}" => Ok(()),
        _ => Err(ApiError::malformed("this path takes no body")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (values.next(), values.next());
    let essence = first
        .filter(|_| second.is_none())
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next());
    essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json"))
}

/// A text of at most `chars_max` characters; none when it is missing or null. People read it and
/// PostgreSQL keeps it: nothing blank, no control characters.
pub(super) fn text(
    field: &str,
    value: Option<Value>,
    chars_max: usize,
) -> Result<Option<String>, ApiError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let Value::String(text) = value else {
        return Err(invalid(field, "must be a string"));
    };
    if text.chars().count() > chars_max {
        let what = format!("is longer than {chars_max} characters");
        return Err(invalid(field, &what));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "holds control characters"));
    }
    if text.trim().is_empty() {
        return Err(invalid(field, "is blank"));
    }
    Ok(Some(text))
}

/// 400, naming the field or parameter that is wrong.
pub(super) fn invalid(field: &str, what: &str) -> ApiError {
    ApiError::malformed(format!("{field}: {what}"))
}
