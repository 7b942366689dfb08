//! Remembers runs that have to end until GitHub says that they are over, for dispatch.

use crate::{
    OverdueAttempt, Store, StoreError,
    row::{get, time},
    statement,
};
use domain::Timestamp;

/// A run that has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCancel {
    /// GitHub's id.
    pub run_id: u64,
    /// How often it was asked to.
    pub asked: i16,
}

impl Store {
    /// Runs that have to end and are to be looked at now, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn due_run_cancels(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<RunCancel>, StoreError> {
        let from = &statement::DUE_RUN_CANCELS;
        let rows = self.query(from, &[&time(now), &limit]).await?;
        rows.iter()
            .map(|row| {
                let run_id: &str = get(from, row, "run_id")?;
                Ok(RunCancel {
                    run_id: run_id.parse().map_err(|_not_a_number| StoreError::Row {
                        statement: from.name,
                        why: "run_id is too large".to_owned(),
                    })?,
                    asked: get(from, row, "asked")?,
                })
            })
            .collect()
    }

    /// A run was asked to end and is looked at again at `next`; none when it is over.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn keep_run_cancel(
        &self,
        run_id: u64,
        next: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.query(
            &statement::KEEP_RUN_CANCEL,
            &[&run_id.to_string(), &next.map(time)],
        )
        .await?;
        Ok(())
    }

    /// The run of a claimed attempt has to end.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn cancel_run(
        &self,
        attempt: &OverdueAttempt,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.query(
            &statement::CANCEL_RUN,
            &[&attempt.agent_id.0, &attempt.fence.0, &time(now)],
        )
        .await?;
        Ok(())
    }
}
