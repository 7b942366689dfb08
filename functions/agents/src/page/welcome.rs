//! Where Stripe sends the buyer after the checkout: waits until the payment's event was heard,
//! then leads to the agent's page. It must not know what an agent's page says.

use super::reply::{Notice, Page, html};
use crate::{
    handler::Deps,
    link::{LINK_LIFE, make},
};
use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use domain::Timestamp;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// A session leads to its agent's page for this long after it was made: the address stays in
/// the browser's history.
const GOOD_FOR: Duration = Duration::from_hours(24);
/// A page that waits longer says whom to ask.
const PATIENCE: Duration = Duration::from_mins(3);
/// Without script the page is read again after so many seconds.
const AGAIN: u8 = 2;

const INCOMPLETE: Notice = Notice {
    status: StatusCode::BAD_REQUEST,
    headline: "This address is not complete",
    text: "It should name your checkout. Please go back to the checkout's last page, or ask \
           whoever sold you the agent for a link.",
};
const TOO_LATE: Notice = Notice {
    status: StatusCode::GONE,
    headline: "This address has done its work",
    text: "It leads to your agent for one day after the checkout. Please open the link to your \
           agent's page, or ask whoever sold you the agent for a new one.",
};

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    session_id: Option<String>,
    /// Since when the page has been waiting, in seconds; the page itself adds it.
    since: Option<i64>,
}

#[derive(Debug, Template)]
#[template(path = "welcome.html")]
struct Waiting<'a> {
    path: &'a str,
    late: bool,
}

/// The agent's page, or a page that waits for it.
pub(crate) async fn welcome(
    State(deps): State<Arc<Deps>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Notice> {
    let now = deps.clock.now();
    let Query(asked) = asked.or(Err(INCOMPLETE))?;
    let session = asked.session_id.filter(|id| is_session(id));
    let session = session.ok_or(INCOMPLETE)?;
    let checkout = deps.store.checkout(&session, now).await;
    let (checkout, any_due) = checkout.map_err(|error| Notice::from(&error))?;
    deps.nudges.remind(any_due, now).await;
    let Some(checkout) = checkout else {
        return waiting(&session, asked.since, now);
    };
    if checkout.made_at.plus(GOOD_FOR) <= now {
        return Err(TOO_LATE);
    }
    let link = make(&deps.link_key, checkout.agent_id, now.plus(LINK_LIFE));
    let to = Redirect::to(&format!("/s/{link}"));
    Ok(super::reply::dressed(to.into_response()))
}

/// Whether this can be the id of a checkout session (Stripe: `cs_`, opaque, at most 255 long).
fn is_session(id: &str) -> bool {
    let rest = id.strip_prefix("cs_").unwrap_or_default();
    let fits = (8..=252).contains(&rest.len());
    fits && rest
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn waiting(session: &str, since: Option<i64>, now: Timestamp) -> Result<Response, Notice> {
    let since = since.unwrap_or_else(|| now.unix_seconds());
    let path = format!("/welcome?session_id={session}&since={since}");
    let waited = now.since(Timestamp::from_unix_seconds(since));
    let waiting = Waiting {
        path: &path,
        late: waited >= PATIENCE,
    };
    let main = waiting.render().or(Err(Notice::BROKEN))?;
    let page = Page {
        title: "Waiting for your payment",
        banner: "Your agent",
        main: &main,
        said: None,
        again: Some((AGAIN, &path)),
        wide: false,
        foot: None,
    };
    Ok(html(StatusCode::OK, &page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_sessions_are_looked_up() {
        for id in ["cs_test_a1B2c3D4e5", "cs_live_a1B2c3D4e5", "cs_12345678"] {
            assert!(is_session(id), "{id}");
        }
        let long = format!("cs_{}", "a".repeat(253));
        for id in [
            "",
            "cs_",
            "cs_1",
            "sub_12345678",
            "{CHECKOUT_SESSION_ID}",
            "cs_test_a1'--x",
            "cs_test_\u{e4}bcdefgh",
            "cs_test a1B2c3D4",
            &long,
        ] {
            assert!(!is_session(id), "{id}");
        }
    }
}
