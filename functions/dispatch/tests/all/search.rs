//! The search for a run by its name, in virtual time.

use bytes::Bytes;
use dispatch::{
    github::{GitHub, Seen},
    settings::GitHubSettings,
};
use domain::{Sight, Timestamp};
use host::Reader;
use outbound::{Client, Dice, Secrets, Transport};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tokio::time::{Instant, sleep};
use tower::service_fn;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A GitHub with full pages of other people's runs, and the wanted one on the last it gives.
fn github(page_takes: Duration) -> GitHub {
    let transport = Transport::service(service_fn(move |call: http::Request<Bytes>| async move {
        sleep(page_takes).await;
        let last = call
            .uri()
            .query()
            .is_some_and(|query| query.ends_with("&page=20"));
        let name = |place| {
            if last && place == 0 {
                "wanted"
            } else {
                "other"
            }
        };
        let runs: Vec<Value> = (0..50)
            .map(|place| json!({"id": place, "display_title": name(place), "status": "queued"}))
            .collect();
        let body = json!({"total_count": 1000, "workflow_runs": runs}).to_string();
        Ok::<_, Infallible>(http::Response::new(Bytes::from(body)))
    }));
    let settings = GitHubSettings::read(Reader::new([
        ("GITHUB_TOKEN", "t"),
        ("GITHUB_REPOSITORY", "acme/agents"),
        ("CALLBACK_URL", "https://cb.test/callback"),
    ]));
    GitHub::new(
        Client::new(transport, Secrets::new(), Dice::seeded(1)),
        settings,
    )
}

#[tokio::test(start_paused = true)]
async fn a_run_is_found_on_the_last_page() {
    let seen = github(Duration::from_millis(350))
        .look_for("wanted", NOW, NOW)
        .await;
    let sight = Sight::Alive;
    assert_eq!(
        seen,
        Seen {
            sight,
            alive: vec![0]
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_search_that_would_outlast_the_invocation_is_given_up() {
    for page_takes in [1, 3, 3600] {
        let began = Instant::now();
        let github = github(Duration::from_secs(page_takes));
        let seen = github.look_for("wanted", NOW, NOW).await;
        assert_eq!(seen.sight, Sight::Unknown, "{page_takes} s a page");
        assert!(began.elapsed() <= Duration::from_secs(8));
    }
}
