//! The customer's page behind a signed link, its live part, and the commands it offers.
//! It must not know what a status means in words.

use super::{
    moment::Moment,
    origin,
    reply::{Foot, Notice, Page, dressed, html},
    story::Story,
    words::refused,
};
use crate::{
    handler::Deps,
    link::{LinkError, Opened, open},
};
use askama::Template;
use axum::{
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::{Command, JobId, Permission, Timestamp};
use host::Nudge;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use store::{AgentStatus, CommandOutcome, CommandRecord};

/// Without script the page is read again after so many seconds.
const AGAIN_MOVING: u8 = 5;
const AGAIN_RESTING: u8 = 30;

/// What the answer to a command left in the address.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Said {
    said: Option<String>,
}

/// The whole page.
pub(crate) async fn show(
    State(deps): State<Arc<Deps>>,
    link: Result<Path<String>, PathRejection>,
    said: Result<Query<Said>, QueryRejection>,
) -> Result<Response, Notice> {
    let Path(link) = link.or(Err(Notice::UNKNOWN))?;
    let Said { said } = said.map(|Query(said)| said).unwrap_or_default();
    let now = deps.clock.now();
    let (opened, status) = deps.behind(&link, now).await?;
    let path = path(&link);
    let story = Story::of(&status, &path, now);
    let main = written(&story)?;
    let said = said
        .and_then(|word| word.parse().ok())
        .map(|why| refused(why, &status));
    let page = Page {
        title: &story.title(),
        banner: &status.name,
        main: &main,
        said: said.as_deref(),
        again: Some((
            if story.moves {
                AGAIN_MOVING
            } else {
                AGAIN_RESTING
            },
            &path,
        )),
        wide: false,
        foot: Some(Foot {
            until: Moment::day(opened.expires),
        }),
    };
    Ok(html(StatusCode::OK, &page))
}

/// The page's `<main>` alone; 304 when the caller has it already.
pub(crate) async fn now(
    State(deps): State<Arc<Deps>>,
    link: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Notice> {
    let Path(link) = link.or(Err(Notice::UNKNOWN))?;
    let now = deps.clock.now();
    let (_, status) = deps.behind(&link, now).await?;
    let path = path(&link);
    let main = written(&Story::of(&status, &path, now))?;
    let tag = format!(
        "\"{}\"",
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&main))
    );
    let known = headers.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        dressed(StatusCode::NOT_MODIFIED.into_response())
    } else {
        dressed(main.into_response())
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// A button was pressed.
pub(crate) async fn command(
    State(deps): State<Arc<Deps>>,
    asked: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Notice> {
    let Path((link, word)) = asked.or(Err(Notice::UNKNOWN))?;
    let command = offered(&word).ok_or(Notice::UNKNOWN)?;
    let now = deps.clock.now();
    let opened = deps.opened(&link, now)?;
    if !origin::is_ours(&headers, deps.public_url.as_deref()) {
        return Err(Notice::FOREIGN);
    }
    let record = CommandRecord {
        agent_id: opened.agent_id,
        command,
        by: "customer",
        key: None,
        fresh_job_id: JobId(deps.entropy.uuid_v7(now)),
    };
    let outcome = deps.store.command_agent(&record, now).await;
    let said = match outcome.map_err(|error| Notice::from(&error))? {
        CommandOutcome::Applied { queued_job_id } => {
            deps.tell_customer(queued_job_id, now).await?;
            None
        }
        // Perhaps only its nudge was lost the first time.
        CommandOutcome::Unchanged { queued_job_id } => {
            deps.tell_customer(queued_job_id, now).await?;
            Some(Permission::Done)
        }
        // So perhaps only because it was taken the first time.
        CommandOutcome::Refused {
            why, queued_job_id, ..
        } => {
            deps.tell_customer(queued_job_id, now).await?;
            Some(why)
        }
        CommandOutcome::NoSuchAgent => return Err(Notice::UNKNOWN),
        // Only a command with a key can meet another under the same key.
        CommandOutcome::KeyReused => return Err(Notice::BROKEN),
    };
    let path = path(&link);
    let to = said.map_or(path.clone(), |why| format!("{path}?said={why}"));
    Ok(dressed(Redirect::to(&to).into_response()))
}

/// Removing is not offered here.
fn offered(word: &str) -> Option<Command> {
    match word.parse().ok()? {
        command @ (Command::Retry | Command::Stop | Command::Start) => Some(command),
        Command::Delete => None,
    }
}

fn path(link: &str) -> String {
    format!("/s/{link}")
}

fn written(story: &Story<'_>) -> Result<String, Notice> {
    story.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        Notice::BROKEN
    })
}

impl Deps {
    fn opened(&self, link: &str, now: Timestamp) -> Result<Opened, Notice> {
        open(&self.link_key, link, now).map_err(|error| match error {
            LinkError::Wrong => Notice::UNKNOWN,
            LinkError::Expired { .. } => Notice::EXPIRED,
        })
    }

    /// Whose page it is and how that agent is. Who looks also sees to what is overdue.
    async fn behind(&self, link: &str, now: Timestamp) -> Result<(Opened, AgentStatus), Notice> {
        let opened = self.opened(link, now)?;
        let status = self.store.agent_status(opened.agent_id, now).await;
        let status = status.map_err(|error| Notice::from(&error))?;
        let status = status.ok_or(Notice::UNKNOWN)?;
        self.nudges.remind(status.any_due, now).await;
        Ok((opened, status))
    }

    /// Without its nudge the command could wait for long, so whoever gave it is told.
    async fn tell_customer(&self, queued: Option<JobId>, now: Timestamp) -> Result<(), Notice> {
        let Some(job_id) = queued else {
            return Ok(());
        };
        let sent = self
            .nudges
            .send(&Nudge::job(job_id, now), Duration::ZERO)
            .await;
        sent.map_err(|error| {
            tracing::error!(%job_id, %error, "a customer's command is stored, not nudged");
            Notice::UNTOLD
        })
    }
}
