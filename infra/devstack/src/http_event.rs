//! HTTP requests as API Gateway's HTTP API hands them to a function (payload format 2.0), and
//! the function's answer back as HTTP. Pure; no socket, no clock.

use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What an event holds beyond the request itself.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) request_id: String,
    pub(crate) unix_ms: u64,
    pub(crate) source_ip: String,
    /// Encodes every body, as AWS may do with any content type.
    pub(crate) force_base64: bool,
}

/// The event of one request.
pub(crate) fn event(request: &Parts, body: &[u8], arrival: &Arrival) -> Value {
    let path = request.uri.path();
    let query = request.uri.query().unwrap_or_default();
    let host = text(&request.headers, &HOST);
    let time = time::OffsetDateTime::from_unix_timestamp(
        i64::try_from(arrival.unix_ms / 1000).unwrap_or_default(),
    );
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&request.headers),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "devstack",
            "domainName": host,
            "domainPrefix": "devstack",
            "http": {
                "method": request.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": arrival.source_ip,
                "userAgent": text(&request.headers, &USER_AGENT),
            },
            "requestId": arrival.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.map(gateway_time).unwrap_or_default(),
            "timeEpoch": arrival.unix_ms,
        },
        "isBase64Encoded": false,
    });
    let cookies = cookies(&request.headers);
    if !cookies.is_empty() {
        set(&mut event, "cookies", cookies.into());
    }
    if !query.is_empty() {
        set(&mut event, "queryStringParameters", query_parameters(query));
    }
    if !body.is_empty() {
        match str::from_utf8(body) {
            Ok(text) if !arrival.force_base64 => set(&mut event, "body", text.into()),
            Ok(_) | Err(_) => {
                set(&mut event, "body", BASE64_STANDARD.encode(body).into());
                set(&mut event, "isBase64Encoded", true.into());
            }
        }
    }
    event
}

/// The answer of a function. Anything but an object with a status is a body of its own, sent
/// with 200.
pub(crate) fn response(answer: &[u8]) -> Response<Bytes> {
    let parsed: Option<Answer> = serde_json::from_slice(answer).ok();
    let Some(Answer {
        status_code: Some(status),
        headers,
        cookies,
        body,
        is_base64_encoded,
    }) = parsed
    else {
        return plain(StatusCode::OK, Bytes::copy_from_slice(answer));
    };
    let body = body.unwrap_or_default();
    let body = if is_base64_encoded {
        BASE64_STANDARD.decode(&body)
    } else {
        Ok(body.into())
    };
    let (Ok(status), Ok(body)) = (StatusCode::from_u16(status), body) else {
        return failure(StatusCode::BAD_GATEWAY);
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    for (name, value) in headers.unwrap_or_default() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        insert(response.headers_mut(), &name, &value);
    }
    for cookie in cookies.unwrap_or_default() {
        insert(response.headers_mut(), "set-cookie", &cookie);
    }
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().entry(CONTENT_TYPE).or_insert(json);
    response
}

/// An error that the gateway itself answers.
pub(crate) fn failure(status: StatusCode) -> Response<Bytes> {
    let message = status.canonical_reason().unwrap_or("Error");
    plain(status, json!({ "message": message }).to_string().into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: Option<u16>,
    headers: Option<Map<String, Value>>,
    cookies: Option<Vec<String>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

fn plain(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::try_from(name);
    let value = HeaderValue::try_from(value);
    if let (Ok(name), Ok(value)) = (name, value) {
        headers.append(name, value);
    }
}

fn set(event: &mut Value, key: &str, value: Value) {
    if let Some(object) = event.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().into_owned()
}

/// Lower-case names, duplicates joined by a comma, cookies apart.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let names = headers.keys().filter(|name| **name != COOKIE);
    names
        .map(|name| (name.as_str().to_owned(), joined(headers, name, ",").into()))
        .collect()
}

fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|v| String::from_utf8_lossy(v.as_bytes()))
        .collect();
    values.join(separator)
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = joined(headers, &COOKIE, ";");
    let cookies = all
        .split(';')
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty());
    cookies.map(str::to_owned).collect()
}

fn query_parameters(query: &str) -> Value {
    let mut parameters = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let joined = match parameters.get(name.as_ref()).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier},{value}"),
            None => value.into_owned(),
        };
        parameters.insert(name.into_owned(), joined.into());
    }
    parameters.into()
}

/// `21/Nov/2026:23:31:04 +0000`
fn gateway_time(time: time::OffsetDateTime) -> String {
    let month: String = time.month().to_string().chars().take(3).collect();
    let (hour, minute, second) = time.to_hms();
    let (day, year) = (time.day(), time.year());
    format!("{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{Request, request};

    fn arrival(force_base64: bool) -> Arrival {
        let (request_id, source_ip) = ("r".to_owned(), "203.0.113.9".to_owned());
        Arrival {
            request_id,
            unix_ms: 1_795_304_000_123,
            source_ip,
            force_base64,
        }
    }

    fn parts(builder: request::Builder) -> Parts {
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_event_tells_the_request() {
        let request = Request::post("/s/x?a=1&b=%20&a=2")
            .header("Stripe-Signature", "t=1")
            .header("Stripe-Signature", "v1=2")
            .header("Cookie", "a=b; c=d")
            .header("User-Agent", "Stripe/1.0");
        let event = event(&parts(request), b"{\"id\": 1}\n", &arrival(false));
        assert_eq!(event["rawPath"], "/s/x");
        assert_eq!(event["rawQueryString"], "a=1&b=%20&a=2");
        assert_eq!(
            event["queryStringParameters"],
            json!({ "a": "1,2", "b": " " })
        );
        assert_eq!(event["headers"]["stripe-signature"], "t=1,v1=2");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["cookies"], json!(["a=b", "c=d"]));
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(
            event["requestContext"]["time"],
            "21/Nov/2026:23:33:20 +0000"
        );
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("{\"id\": 1}\n"), &json!(false))
        );
    }

    #[test]
    fn what_pages_and_the_api_are_told_in_headers_arrives() {
        let told = [
            ("Authorization", "Bearer a.b=="),
            ("Idempotency-Key", "k-1"),
            ("Origin", "http://127.0.0.1:1"),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        let request = told.iter().fold(
            Request::delete("/agents/1?force=%2F"),
            |request, (name, value)| request.header(*name, *value),
        );
        let event = event(&parts(request), b"", &arrival(false));
        assert_eq!(event["requestContext"]["http"]["method"], "DELETE");
        assert_eq!(event["rawQueryString"], "force=%2F");
        for (name, value) in told {
            assert_eq!(event["headers"][name.to_lowercase()], value, "{name}");
        }
    }

    #[test]
    fn a_redirect_is_passed_on() {
        let answer = json!({
            "statusCode": 303, "headers": { "location": "/s/x?said=done" }, "body": null,
            "cookies": [], "isBase64Encoded": false,
        });
        let response = response(answer.to_string().as_bytes());
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()["location"], "/s/x?said=done");
        assert!(response.body().is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_arrive_encoded_and_so_does_text_when_forced() {
        let request = || parts(Request::post("/callback"));
        for (body, forced, expected) in [
            (&b"\xff\x00"[..], false, "/wA="),
            (&b"plain"[..], true, "cGxhaW4="),
        ] {
            let event = event(&request(), body, &arrival(forced));
            assert_eq!(
                (&event["body"], &event["isBase64Encoded"]),
                (&json!(expected), &json!(true))
            );
        }
        assert_eq!(event(&request(), b"", &arrival(true)).get("body"), None);
    }

    #[test]
    fn an_answer_becomes_http() {
        let answer = json!({
            "statusCode": 409, "headers": { "X-A": "1", "content-type": "text/html" },
            "cookies": ["a=b", "c=d"], "body": "/wA=", "isBase64Encoded": true,
        });
        let response = response(answer.to_string().as_bytes());
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()["x-a"], "1");
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.body().as_ref(), b"\xff\x00");
    }

    #[test]
    fn odd_answers_have_a_meaning_too() {
        let bare = response(b"\"hello\"");
        assert_eq!(
            (bare.status(), bare.body().as_ref()),
            (StatusCode::OK, &b"\"hello\""[..])
        );
        let no_status = response(b"{\"a\":1}");
        assert_eq!(
            (no_status.status(), no_status.body().as_ref()),
            (StatusCode::OK, &b"{\"a\":1}"[..])
        );
        assert_eq!(
            response(b"{\"statusCode\":99}").status(),
            StatusCode::BAD_GATEWAY
        );
        let bad = br#"{"statusCode":200,"body":"*","isBase64Encoded":true}"#;
        assert_eq!(response(bad).status(), StatusCode::BAD_GATEWAY);
    }
}
