//! Lists agents, page by page.
//! It must not know how they are found.

use super::{
    body::invalid,
    failed,
    operator::Operator,
    query::{Query, cut},
    row::RowView,
};
use crate::cursor::Cursor;
use axum::Json;
use domain::AgentState;
use host::ApiError;
use serde::Serialize;
use store::AgentFilter;

const TEXT_CHARS_MAX: usize = 200;

/// A page, newest first.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    agents: Vec<RowView>,
    /// What `after` has to be for the next page; none on the last.
    next: Option<String>,
}

/// `GET /agents`.
pub(super) async fn list(
    Operator(deps): Operator,
    mut query: Query,
) -> Result<Json<Page>, ApiError> {
    let limit = query.limit()?;
    let filter = AgentFilter {
        state: query.text("state").as_deref().map(state).transpose()?,
        text: query
            .text("q")
            .as_deref()
            .map(search)
            .transpose()?
            .flatten(),
        after: query.value::<Cursor>("after")?.map(|Cursor(mark)| mark),
        limit: i64::from(limit).saturating_add(1),
    };
    query.finish()?;
    let rows = deps.store.agents_page(&filter).await;
    let mut rows = rows.map_err(|error| failed("the agents could not be listed", &error))?;
    let more = cut(&mut rows, limit);
    let last = rows.last().filter(|_| more);
    Ok(Json(Page {
        agents: rows.iter().map(RowView::of).collect(),
        next: last.map(|row| Cursor::at(row).to_string()),
    }))
}

fn state(text: &str) -> Result<AgentState, ApiError> {
    let states = AgentState::ALL.iter().copied();
    let named = states.clone().find(|state| state.as_str() == text);
    named.ok_or_else(|| {
        let words: Vec<&str> = states.map(AgentState::as_str).collect();
        invalid("state", &format!("is none of {}", words.join(", ")))
    })
}

/// A text to look for; none when it is blank.
fn search(text: &str) -> Result<Option<String>, ApiError> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid("q", "is longer than 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid("q", "holds control characters"));
    }
    Ok((!text.trim().is_empty()).then(|| text.trim().to_owned()))
}
