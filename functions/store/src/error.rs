//! What can go wrong with the database, by what the caller does about it.

use thiserror::Error;

/// An error of the store. Its text never holds a parameter's value or the connection's secret.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database cannot be reached or did not answer in time: try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
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
            Self::Unavailable(_) => true,
            Self::Settings(_) | Self::Refused { .. } | Self::Row { .. } | Self::Migration(_) => {
                false
            }
        }
    }

    /// Another transaction came between: repeating the statement sees what that one did.
    pub(crate) fn came_between(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                // unique violation, foreign key violation, serialisation failure, deadlock
                matches!(code.as_str(), "23505" | "23503" | "40001" | "40P01")
            }
            Self::Unavailable(_) | Self::Settings(_) | Self::Row { .. } | Self::Migration(_) => {
                false
            }
        }
    }

    pub(crate) fn from_postgres(statement: &'static str, error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // Class 57P: the server is stopping or starting; 53: it is out of something;
            // 08: the connection is broken.
            Some(refusal)
                if ["57P", "53", "08"]
                    .iter()
                    .any(|c| refusal.code().code().starts_with(c)) =>
            {
                Self::Unavailable(refusal.message().to_owned())
            }
            Some(refusal) => Self::Refused {
                statement,
                message: refusal.message().to_owned(),
                code: refusal.code().code().to_owned(),
            },
            None if error.is_closed() => Self::Unavailable("the connection was closed".to_owned()),
            None => Self::Unavailable(error.to_string()),
        }
    }
}
