//! Shows an agent's timeline, page by page.
//! It must not know who writes it.

use super::{
    body::invalid,
    failed,
    operator::{Named, Operator},
    query::{Query, cut},
    row::EventView,
    show::no_such_agent,
};
use axum::Json;
use host::ApiError;
use serde::Serialize;

/// A page, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    events: Vec<EventView>,
    /// What `after` has to be for the next page; none on the last.
    next: Option<i64>,
}

/// `GET /agents/{id}/events`.
pub(super) async fn events(
    Operator(deps): Operator,
    Named(agent_id): Named,
    mut query: Query,
) -> Result<Json<Page>, ApiError> {
    let limit = query.limit()?;
    let after = query.value::<i64>("after")?.unwrap_or(0);
    if after < 0 {
        return Err(invalid("after", "must not be negative"));
    }
    query.finish()?;
    let asked = i64::from(limit).saturating_add(1);
    let entries = deps.store.agent_events(agent_id, after, asked).await;
    let entries = entries.map_err(|error| failed("the timeline could not be read", &error))?;
    let mut entries = entries.ok_or_else(no_such_agent)?;
    let more = cut(&mut entries, limit);
    Ok(Json(Page {
        next: entries.last().filter(|_| more).map(|entry| entry.id),
        events: entries.iter().map(EventView::of).collect(),
    }))
}
