//! Pages as responses: the head and the script that all share, and the headers that keep a page
//! to itself. It must not know what a page says.

use askama::Template;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../templates/page.css");
const SCRIPT: &str = include_str!("../../templates/page.js");

/// Nothing is loaded from anywhere; only our own style and script run, known by their hashes.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    // A hash in base64 is always a header value; without the policy no page may go out.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// A whole page around its `<main>`.
#[derive(Debug, Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    /// Title of the window.
    pub(crate) title: &'a str,
    /// What stands at the very top.
    pub(crate) banner: &'a str,
    /// The `<main>` element, ready.
    pub(crate) main: &'a str,
    /// What an answer to a command says, once.
    pub(crate) said: Option<&'a str>,
    /// Without script the page is read again after so many seconds, at this address.
    pub(crate) again: Option<(u8, &'a str)>,
    /// Wide, for tables.
    pub(crate) wide: bool,
    /// The last line.
    pub(crate) foot: Option<Foot>,
}

/// The last line of a customer's page.
#[derive(Debug)]
pub(crate) struct Foot {
    /// Until when the link works.
    pub(crate) until: super::moment::Moment,
}

/// Something short to say instead of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice {
    /// The answer's status.
    pub(crate) status: StatusCode,
    /// What is the matter.
    pub(crate) headline: &'static str,
    /// What to do about it.
    pub(crate) text: &'static str,
}

impl Notice {
    /// The link was never made here, or its agent is not: nobody learns which.
    pub(crate) const UNKNOWN: Self = Self {
        status: StatusCode::NOT_FOUND,
        headline: "There is nothing here",
        text: "This address is not complete or not right. Please open the link exactly as you \
               got it, or ask whoever sold you the agent for a new one.",
    };
    /// The link is past its life.
    pub(crate) const EXPIRED: Self = Self {
        status: StatusCode::GONE,
        headline: "This link has expired",
        text: "Your agent is not affected. Links to this page work for 30 days; ask whoever sold \
               you the agent for a new one.",
    };
    /// The form came from somewhere else.
    pub(crate) const FOREIGN: Self = Self {
        status: StatusCode::FORBIDDEN,
        headline: "Nothing was changed",
        text: "The request did not come from this page. Please open your agent's page and press \
               the button there.",
    };
    /// The database does not answer.
    pub(crate) const AWAY: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headline: "We cannot look it up just now",
        text: "Your agent is not affected. Please try again in a minute.",
    };
    /// A fault of this program or its data.
    pub(crate) const BROKEN: Self = Self {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        headline: "Something went wrong on our side",
        text: "Your agent is not affected. If this stays, tell whoever sold you the agent.",
    };
    /// The command is stored, but nobody could be told.
    pub(crate) const UNTOLD: Self = Self {
        status: StatusCode::SERVICE_UNAVAILABLE,
        headline: "It may take a while",
        text: "What you asked for is stored, but we could not start it at once. It begins by \
               itself a little later; you can also go back and press the button again.",
    };
}

impl From<&store::StoreError> for Notice {
    fn from(error: &store::StoreError) -> Self {
        tracing::error!(%error, "a page could not be read");
        if error.is_unavailable() {
            Self::AWAY
        } else {
            Self::BROKEN
        }
    }
}

impl IntoResponse for Notice {
    fn into_response(self) -> Response {
        let Ok(main) = self.render() else {
            return self.status.into_response();
        };
        let page = Page {
            title: self.headline,
            banner: "Your agent",
            main: &main,
            said: None,
            again: None,
            wide: false,
            foot: None,
        };
        html(self.status, &page)
    }
}

/// A page with all its headers.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => dressed((status, text).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The answer with the headers of a page.
pub(crate) fn dressed(mut response: Response) -> Response {
    const FIXED: [(HeaderName, &str); 7] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        // No other origin learns an address, and ours still learns whose form it is: of
        // `no-referrer` the browser makes `Origin: null` (Fetch: append a request Origin header).
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_stand_in_the_page_as_they_were_hashed() {
        let page = Page {
            title: "T",
            banner: "B",
            main: "<main></main>",
            said: None,
            again: None,
            wide: false,
            foot: None,
        };
        let html = page.render().unwrap();
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        assert!(html.contains(&format!("<script>{SCRIPT}</script>")));
        let policy = POLICY.to_str().unwrap();
        assert!(policy.contains(&hash(STYLE)) && policy.contains(&hash(SCRIPT)));
    }
}
