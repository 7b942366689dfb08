//! Reads the parameters of a query: each at most once, none unknown.
//! It must not know what they mean.

use super::body::invalid;
use axum::{extract::FromRequestParts, http::request::Parts};
use host::ApiError;
use std::{collections::BTreeMap, fmt, ops::RangeInclusive, str::FromStr};

/// Rows of a page.
const LIMIT: RangeInclusive<u16> = 1..=100;
const LIMIT_DEFAULT: u16 = 50;

/// Parameters that were not looked at yet.
#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let text = parts.uri.query().unwrap_or_default();
        let mut values = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let (name, value) = (name.into_owned(), value.into_owned());
            if values.insert(name.clone(), value).is_some() {
                return Err(invalid(&name, "is given twice"));
            }
        }
        Ok(Self(values))
    }
}

impl Query {
    /// A parameter's text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// A parameter as a `T`.
    pub(super) fn value<T>(&mut self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match self.text(name).map(|text| text.parse::<T>()) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(error)) => Err(invalid(name, &error.to_string())),
        }
    }

    /// How many rows are asked for.
    pub(super) fn limit(&mut self) -> Result<u16, ApiError> {
        let limit = self.value("limit")?.unwrap_or(LIMIT_DEFAULT);
        if LIMIT.contains(&limit) {
            return Ok(limit);
        }
        Err(invalid("limit", "must be from 1 to 100"))
    }

    /// Refuses what nobody asked for: a misspelt filter would show everything.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            Some(name) => Err(invalid(name, "is no parameter of this path")),
            None => Ok(()),
        }
    }
}

/// Cuts rows that were asked for with one more than `limit` back to it; whether there was more.
pub(super) fn cut<T>(rows: &mut Vec<T>, limit: u16) -> bool {
    let more = rows.len() > usize::from(limit);
    rows.truncate(usize::from(limit));
    more
}
