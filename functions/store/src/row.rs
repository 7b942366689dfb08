//! Reads rows: columns by name, points in time, words of the domain.
//! It must not know any statement.

use crate::{StoreError, statement};
use domain::Timestamp;
use std::time::{Duration, SystemTime};
use tokio_postgres::Row;

/// A point in time as the driver takes it.
pub(crate) fn time(at: Timestamp) -> SystemTime {
    let micros = at.micros();
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        SystemTime::UNIX_EPOCH - distance
    } else {
        SystemTime::UNIX_EPOCH + distance
    }
}

/// A point in time from a row.
pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    let micros = |distance: Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => micros(before.duration()).saturating_neg(),
    })
}

/// A column of a row, with the statement's name in the error.
pub(crate) fn get<'row, T: tokio_postgres::types::FromSql<'row>>(
    from: &statement::Statement,
    row: &'row Row,
    column: &str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Row {
        statement: from.name,
        why: error.to_string(),
    })
}

/// A word of the domain in a row.
pub(crate) fn word<T: std::str::FromStr<Err: std::fmt::Display>>(
    from: &statement::Statement,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|error: T::Err| StoreError::Row {
        statement: from.name,
        why: error.to_string(),
    })
}

/// A point in time that may be missing.
pub(crate) fn maybe_time(
    from: &statement::Statement,
    row: &Row,
    column: &str,
) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<SystemTime>>(from, row, column)?.map(timestamp))
}
