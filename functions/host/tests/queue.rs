//! Nudges reach the queue with their delay; reminders are few; a queue that is away is an error.

#![cfg(test)]

#[path = "support/queue.rs"]
mod queue;

use domain::Timestamp;
use host::Nudge;
use queue::{Queue, Sent};
use std::time::Duration;

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

#[tokio::test]
async fn a_nudge_arrives_with_its_delay_of_at_most_900_seconds() {
    let queue = Queue::start().await;
    let nudges = queue.nudges();
    let nudge = Nudge::job(
        "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5".parse().unwrap(),
        START,
    );
    for (delay, delay_seconds) in [(0, 0), (1_500, 2), (900_000, 900), (7_200_000, 900)] {
        nudges
            .send(&nudge, Duration::from_millis(delay))
            .await
            .unwrap();
        assert_eq!(
            queue.take(),
            [Sent {
                nudge,
                delay_seconds
            }]
        );
    }
}

#[tokio::test]
async fn reminders_are_sent_only_when_due_and_once_in_five_seconds() {
    let queue = Queue::start().await;
    let nudges = queue.nudges();
    nudges.remind(false, START).await;
    assert_eq!(queue.take(), []);
    nudges.remind(true, START).await;
    nudges
        .clone()
        .remind(true, START.plus(Duration::from_secs(4)))
        .await;
    nudges
        .remind(true, START.plus(Duration::from_secs(5)))
        .await;
    let reminder = Sent {
        nudge: Nudge::EMPTY,
        delay_seconds: 0,
    };
    assert_eq!(queue.take(), [reminder.clone(), reminder]);
}

#[tokio::test]
async fn a_queue_that_is_away_is_an_error_in_one_line() {
    let queue = Queue::start().await;
    let nudges = queue.nudges();
    queue.be_away(true);
    let error = nudges
        .send(&Nudge::EMPTY, Duration::ZERO)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("queue") && !error.contains('\n'), "{error}");
    queue.be_away(false);
    nudges.send(&Nudge::EMPTY, Duration::ZERO).await.unwrap();
    assert_eq!(queue.take().len(), 1);
}
