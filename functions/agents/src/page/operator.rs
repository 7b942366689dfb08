//! The operator's pages: what needs attention, the agents, one agent's timeline. Read-only.
//! It must not know how the lists come about.

use super::{
    moment::Moment,
    reply::{Notice, Page, html},
    words::Tone,
};
use crate::{
    cursor::Cursor,
    handler::Deps,
    link::{LINK_LIFE, make},
};
use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use domain::{AgentId, AgentState, Timestamp};
use host::same_secret;
use serde::Deserialize;
use std::{collections::VecDeque, sync::Arc};
use store::{AgentFilter, AgentRow, AgentStatus, Overview, TimelineEntry};

/// Agents on a page.
const LISTED: usize = 50;
/// Rows of a timeline read at once, and shown at most.
const READ: i64 = 1000;
const SHOWN: usize = 2000;
/// A list of the overview that is so long may be cut (`store::Store::overview`).
const FULL: usize = 20;

const NO_AGENT: Notice = Notice {
    status: StatusCode::NOT_FOUND,
    headline: "There is no such agent",
    text: "Its id is not in the table.",
};
const NOT_READ: Notice = Notice {
    status: StatusCode::BAD_REQUEST,
    headline: "This address cannot be read",
    text: "state is a state of an agent, agent an agent's id, after a place that a list gave.",
};
const WHO: Notice = Notice {
    status: StatusCode::UNAUTHORIZED,
    headline: "For the operator only",
    text: "The password is the API token; any user name will do.",
};

/// What the address says.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    state: Option<String>,
    q: Option<String>,
    after: Option<String>,
    agent: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "operator.html")]
struct Console<'a> {
    overview: &'a Overview,
    total: i64,
    filter: &'a AgentFilter,
    agents: &'a [AgentRow],
    /// Address of the next page.
    next: Option<String>,
    now: Timestamp,
}

#[derive(Debug, Template)]
#[template(path = "agent.html")]
struct OneAgent<'a> {
    status: &'a AgentStatus,
    tone: Tone,
    timeline: &'a VecDeque<TimelineEntry>,
    is_cut: bool,
    link: String,
    until: Moment,
    now: Timestamp,
}

/// The overview, or one agent.
pub(crate) async fn operator(
    State(deps): State<Arc<Deps>>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    if !deps.admits_operator(&headers) {
        let mut response = WHO.into_response();
        let ask = HeaderValue::from_static("Basic realm=\"Slipway\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        return Err(response);
    }
    let page = match &asked {
        Ok(Query(Asked {
            agent: Some(agent), ..
        })) => deps.one_agent(agent).await,
        Ok(Query(asked)) => deps.console(asked).await,
        Err(_) => Err(NOT_READ),
    };
    page.map_err(IntoResponse::into_response)
}

impl Deps {
    /// Whether the caller holds the operator's token, as Bearer or as the password of Basic.
    /// Basic is for browsers, and for this page alone.
    fn admits_operator(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let basic = given
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, pair)| BASE64_STANDARD.decode(pair.trim()).ok())
            .and_then(|pair| String::from_utf8(pair).ok());
        let password = basic.as_deref().and_then(|pair| pair.split_once(':'));
        password.is_some_and(|(_, password)| same_secret(&self.api_token, password))
            || self.admit(headers).is_ok()
    }

    async fn console(&self, asked: &Asked) -> Result<Response, Notice> {
        let now = self.clock.now();
        let filter = filter(asked).ok_or(NOT_READ)?;
        let (overview, agents) =
            tokio::join!(self.store.overview(now), self.store.agents_page(&filter));
        let overview = overview.map_err(|error| Notice::from(&error))?;
        let mut agents = agents.map_err(|error| Notice::from(&error))?;
        self.nudges.remind(overview.any_due, now).await;
        let is_more = agents.len() > LISTED;
        agents.truncate(LISTED);
        let console = Console {
            total: overview.by_state.iter().map(|(_, agents)| agents).sum(),
            next: agents
                .last()
                .filter(|_| is_more)
                .map(|last| next(&filter, last)),
            overview: &overview,
            filter: &filter,
            agents: &agents,
            now,
        };
        page("Agents", &console)
    }

    async fn one_agent(&self, agent: &str) -> Result<Response, Notice> {
        let now = self.clock.now();
        let agent_id: AgentId = agent.parse().or(Err(NOT_READ))?;
        let status = self.store.agent_status(agent_id, now).await;
        let status = status.map_err(|error| Notice::from(&error))?;
        let status = status.ok_or(NO_AGENT)?;
        self.nudges.remind(status.any_due, now).await;
        let (timeline, is_cut) = self.timeline(agent_id).await?;
        let until = now.plus(LINK_LIFE);
        let one = OneAgent {
            tone: Tone::of(status.state),
            status: &status,
            timeline: &timeline,
            is_cut,
            link: format!("/s/{}", make(&self.link_key, agent_id, until)),
            until: Moment::day(until),
            now,
        };
        page(&status.name, &one)
    }

    /// An agent's timeline, newest first, and whether older rows were left out.
    async fn timeline(&self, id: AgentId) -> Result<(VecDeque<TimelineEntry>, bool), Notice> {
        let mut timeline: VecDeque<TimelineEntry> = VecDeque::new();
        let mut is_cut = false;
        loop {
            let after = timeline.front().map_or(0, |entry| entry.id);
            let read = self.store.agent_events(id, after, READ).await;
            let read = read.map_err(|error| Notice::from(&error))?;
            let read = read.ok_or(NO_AGENT)?;
            let is_last = i64::try_from(read.len()).is_ok_and(|rows| rows < READ);
            for entry in read {
                timeline.push_front(entry);
            }
            is_cut |= timeline.len() > SHOWN;
            timeline.truncate(SHOWN);
            if is_last {
                return Ok((timeline, is_cut));
            }
        }
    }
}

fn page(title: &str, main: &impl Template) -> Result<Response, Notice> {
    let main = main.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        Notice::BROKEN
    })?;
    let page = Page {
        title,
        banner: "Slipway operator",
        main: &main,
        said: None,
        again: None,
        wide: true,
        foot: None,
    };
    Ok(html(StatusCode::OK, &page))
}

/// The filter that an address asks for; nothing when it cannot be read. What a form leaves
/// empty is not asked for.
fn filter(asked: &Asked) -> Option<AgentFilter> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    Some(AgentFilter {
        state: given(&asked.state)
            .map(|word| word.parse())
            .transpose()
            .ok()?,
        // No text in the database holds a control character, and PostgreSQL refuses NUL.
        text: given(&asked.q).map(|text| {
            let kept = text.trim().chars().filter(|c| !c.is_control());
            kept.take(200).collect()
        }),
        after: match given(&asked.after) {
            Some(text) => Some(text.parse::<Cursor>().ok()?.0),
            None => None,
        },
        limit: i64::try_from(LISTED).ok()?.checked_add(1)?,
    })
}

/// Address of the page after `last`.
fn next(filter: &AgentFilter, last: &AgentRow) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(state) = filter.state {
        query.append_pair("state", state.as_str());
    }
    if let Some(text) = &filter.text {
        query.append_pair("q", text);
    }
    let place = Cursor::at(last).to_string();
    format!("/?{}", query.append_pair("after", &place).finish())
}

/// What the templates ask; they hand over references to everything.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "templates pass references"
)]
impl Console<'_> {
    fn at(&self, at: &Timestamp) -> Moment {
        Moment::clock(*at, self.now)
    }

    fn is_quiet(&self) -> bool {
        let told = self.overview;
        told.overdue.is_empty()
            && told.failures.is_empty()
            && told.strays.is_empty()
            && told.missing.is_empty()
            && told.unjoined.is_empty()
            && told.conflicts.is_empty()
    }

    fn is_state(&self, state: &AgentState) -> bool {
        self.filter.state == Some(*state)
    }

    fn text(&self) -> &str {
        self.filter.text.as_deref().unwrap_or_default()
    }
}

impl OneAgent<'_> {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "templates pass references"
    )]
    fn at(&self, at: &Timestamp) -> Moment {
        Moment::clock(*at, self.now)
    }
}

/// Completes "newest" or "oldest" in the heading of an overview's list.
const fn first<T>(list: &[T]) -> &'static str {
    if list.len() < FULL { "first" } else { "20" }
}

#[expect(clippy::ref_option, reason = "templates pass references")]
fn or_none(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("–")
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "templates pass references"
)]
const fn tone(state: &AgentState) -> &'static str {
    Tone::of(*state).class()
}
