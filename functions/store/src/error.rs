//! What can go wrong with the database, by what the caller does about it.

use std::error::Error;
use tokio_postgres::error::DbError;

/// An error of the store. Its text never holds a parameter's value or the connection's secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or did not answer in time: try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection ended while a statement was under way: whether it took effect is unknown.
    #[error("the connection to the database was lost: {0}")]
    Lost(String),
    /// The connection settings cannot work: somebody has to change them.
    #[error("{0}")]
    Settings(String),
    /// The database refused a statement: a fault of this program or of its schema.
    #[error("the database refused {statement}: {message}")]
    Refused {
        /// Name of the statement.
        statement: &'static str,
        /// The database's words, without values.
        message: String,
        /// SQLSTATE.
        code: String,
    },
    /// A row holds something this program does not understand.
    #[error("{statement} answered something not understood: {why}")]
    Row {
        /// Name of the statement.
        statement: &'static str,
        /// What was wrong.
        why: String,
    },
    /// The schema could not be brought up to date.
    #[error("the migration failed: {0}")]
    Migration(String),
}

impl StoreError {
    /// Whether the same call may work later without anybody changing anything.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Lost(_) => true,
            Self::Settings(_) | Self::Refused { .. } | Self::Row { .. } | Self::Migration(_) => {
                false
            }
        }
    }

    /// Repeating the statement at once may help: another transaction came between, and the
    /// repeat sees what that one did; or the connection was dead.
    pub(crate) fn is_worth_a_repeat(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                // unique violation, foreign key violation, serialisation failure, deadlock
                matches!(code.as_str(), "23505" | "23503" | "40001" | "40P01")
            }
            Self::Lost(_) => true,
            Self::Unavailable(_) | Self::Settings(_) | Self::Row { .. } | Self::Migration(_) => {
                false
            }
        }
    }

    pub(crate) fn from_postgres(statement: &'static str, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // Class 57P: the server is stopping or starting; 08: the connection is broken.
            Some(refusal) if is_of(refusal, &["57P", "08"]) => {
                Self::Lost(refusal.message().to_owned())
            }
            // Class 53: the server is out of something.
            Some(refusal) if is_of(refusal, &["53"]) => {
                Self::Unavailable(refusal.message().to_owned())
            }
            Some(refusal) => Self::Refused {
                statement,
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            },
            None => Self::Lost(chain(error)),
        }
    }
}

fn is_of(refusal: &DbError, classes: &[&str]) -> bool {
    classes
        .iter()
        .any(|class| refusal.code().code().starts_with(class))
}

/// All causes in one line: the outermost alone says only that something failed.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_line = cause.to_string();
        if !line.contains(&cause_line) {
            line = format!("{line}: {cause_line}");
        }
        next = cause.source();
    }
    line
}
