//! What a customer does with the pages. The scenarios are in `scenarios.mjs`.

use crate::{chromium::play, site::Site};

async fn play_on_a_fresh_site(scenario: &str) -> String {
    let site = Site::start().await;
    play(scenario, &site.told()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_live() {
    let said = play_on_a_fresh_site("live").await;
    assert!(said.contains("from report to sight"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_and_retried_by_its_button() {
    play_on_a_fresh_site("failure").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn focus_and_a_half_pressed_button_survive_updates() {
    play_on_a_fresh_site("touch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_is_enough() {
    play_on_a_fresh_site("keyboard").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_link_says_so() {
    play_on_a_fresh_site("expired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_out_of_reach_is_told_and_comes_back() {
    play_on_a_fresh_site("offline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_script() {
    play_on_a_fresh_site("plain").await;
}
