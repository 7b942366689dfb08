//! Lets time pass that nobody has: makes the rows of a database and the messages of a queue
//! older at once, so that waits of minutes are over in seconds.
//!
//! A tool of the stage, not of the product: what is moved are moments that the product compares
//! with its clock, each by the same time, between two statements of anybody else. Processes and
//! fakes keep their own time.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::NoTls;

use crate::queue::Queue;

/// Every moment that a statement compares with the time handed in. Statements lock their agent's
/// row first, so nothing is at work while the table is locked.
const OLDER: &str = "
BEGIN;
LOCK TABLE agents IN EXCLUSIVE MODE;
UPDATE agents SET updated_at = updated_at - age, quiet_until = quiet_until - age,
    doomed_at = doomed_at - age FROM (SELECT AGE AS age) AS passed;
UPDATE attempts SET opened_at = opened_at - age, claimed_at = claimed_at - age,
    lease_until = lease_until - age FROM (SELECT AGE AS age) AS passed
WHERE finished_at IS NULL;
UPDATE jobs SET due_at = due_at - age, timer_at = timer_at - age
FROM (SELECT AGE AS age) AS passed WHERE finished_at IS NULL;
UPDATE instances SET unseen_since = unseen_since - age FROM (SELECT AGE AS age) AS passed
WHERE missing_since IS NULL;
UPDATE run_cancels SET due_at = due_at - age FROM (SELECT AGE AS age) AS passed;
UPDATE inventory_turns SET asked_at = asked_at - age FROM (SELECT AGE AS age) AS passed;
COMMIT;";

/// Makes one stack's world older.
#[derive(Debug)]
pub struct Ageing {
    database: tokio_postgres::Client,
    queue: Queue,
}

impl Ageing {
    /// Connects to the stack's database, which has the current schema.
    pub async fn connect(database_url: &str, queue: &Queue) -> Result<Self> {
        let connected = tokio_postgres::connect(database_url, NoTls).await;
        let (database, connection) = connected.context("cannot connect to let time pass")?;
        tokio::spawn(connection);
        Ok(Self {
            database,
            queue: queue.clone(),
        })
    }

    /// Lets this much time pass at once, to the millisecond.
    pub async fn pass(&self, time: Duration) -> Result<()> {
        let age = format!("interval '{} milliseconds'", time.as_millis());
        let older = OLDER.replace("AGE", &age);
        let passed = self.database.batch_execute(&older).await;
        if passed.is_err() {
            // The next try must not begin inside a transaction that failed.
            drop(self.database.batch_execute("ROLLBACK").await);
        }
        passed.context("cannot let time pass")?;
        self.queue.age(time);
        Ok(())
    }
}
