//! A call to be made: method, address, headers, body, deadline and what may be repeated.
//! It must not show its headers, query or body to anybody.

use crate::{DEADLINE_MAX, Repeat};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{fmt, time::Duration};
use url::{Url, form_urlencoded};

/// How long one try of an idempotent call may take before the next try.
const TRY_MAX: Duration = Duration::from_secs(10);

/// A call to be made. A mistake in it (an address that is none, say) shows when it is sent.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) address: Result<Url, String>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) deadline: Duration,
    pub(crate) repeat: Repeat,
    pub(crate) kept: &'static [u16],
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.call())
    }
}

impl Request {
    /// A GET: idempotent, repeated as such.
    pub fn get(address: &str) -> Self {
        Self::new(Method::GET, address, Repeat::Idempotent)
    }

    /// A PUT: idempotent, repeated as such.
    pub fn put(address: &str) -> Self {
        Self::new(Method::PUT, address, Repeat::Idempotent)
    }

    /// A DELETE: idempotent, repeated as such.
    pub fn delete(address: &str) -> Self {
        Self::new(Method::DELETE, address, Repeat::Idempotent)
    }

    /// A POST: repeated only when it was surely not processed.
    pub fn post(address: &str) -> Self {
        Self::new(Method::POST, address, Repeat::Unprocessed)
    }

    fn new(method: Method, address: &str, repeat: Repeat) -> Self {
        let address = Url::parse(address).map_err(|error| format!("not an address: {error}"));
        Self {
            method,
            address,
            headers: Vec::new(),
            body: Bytes::new(),
            deadline: DEADLINE_MAX,
            repeat,
            kept: &[],
        }
    }

    /// Adds a name and a value to the query, encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(url) = &mut self.address {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => self.headers.push((name, value)),
            _ => self.address = Err(format!("header {name:?} cannot be sent")),
        }
        self
    }

    /// Adds `Authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer(mut self, token: &SecretString) -> Self {
        match HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.push((header::AUTHORIZATION, value));
            }
            Err(_) => self.address = Err("the token holds characters no header can".to_owned()),
        }
        self
    }

    /// Sets the body and its content type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers
            .push((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body("application/json", bytes),
            Err(error) => {
                self.address = Err(format!("the body is not JSON: {error}"));
                self
            }
        }
    }

    /// Sets a form as body.
    #[must_use]
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.body("application/x-www-form-urlencoded", form)
    }

    /// Bounds the whole call, repeats included. Never more than [`DEADLINE_MAX`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.min(DEADLINE_MAX);
        self
    }

    /// Says what may be repeated.
    #[must_use]
    pub const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Has answers of these statuses given back at once instead of repeated: for callers that
    /// pace themselves.
    #[must_use]
    pub const fn keep(mut self, statuses: &'static [u16]) -> Self {
        self.kept = statuses;
        self
    }

    /// Method, host and path: what errors and logs may show.
    pub(crate) fn call(&self) -> String {
        let Ok(url) = &self.address else {
            return format!("{} (no address)", self.method);
        };
        let host = url.host_str().unwrap_or("");
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!("{} {host}{port}{}", self.method, url.path())
    }

    pub(crate) fn keeps(&self, status: http::StatusCode) -> bool {
        self.kept.contains(&status.as_u16())
    }

    pub(crate) fn one_try_max(&self) -> Duration {
        match self.repeat {
            Repeat::Idempotent => TRY_MAX,
            Repeat::Never | Repeat::Unprocessed => self.deadline,
        }
    }

    pub(crate) fn to_http(&self) -> Result<http::Request<Bytes>, String> {
        let url = self.address.as_ref().map_err(Clone::clone)?;
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(url.as_str());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(self.body.clone())
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_method_host_and_path_are_shown() {
        let request = Request::get("https://user:pw@host.test:81/a/b?token=secret")
            .query("x", "a b&c")
            .bearer(&SecretString::from("hidden"));
        assert_eq!(format!("{request:?}"), "Request(GET host.test:81/a/b)");
        let sent = request.to_http().unwrap();
        assert_eq!(sent.uri().query(), Some("token=secret&x=a+b%26c"));
    }

    #[test]
    fn mistakes_show_when_sent() {
        for request in [
            Request::get("no address"),
            Request::get("http://h/").header("a b", "c"),
            Request::get("http://h/").header("a", "b\nc"),
            Request::get("http://h/").bearer(&SecretString::from("a\nb")),
        ] {
            assert!(request.to_http().is_err());
        }
    }

    #[test]
    fn no_deadline_is_longer_than_the_longest() {
        let request = Request::get("http://h/").deadline(Duration::from_hours(1));
        assert_eq!(request.deadline, DEADLINE_MAX);
    }
}
