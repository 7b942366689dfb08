//! From the checkout to the agent's page.

use crate::world::World;
use axum::http::StatusCode;

fn path(world: &World) -> String {
    format!("/welcome?session_id={}", world.life.session())
}

#[tokio::test]
async fn it_waits_for_the_event_then_leads_to_the_page_for_a_day() {
    let world = World::new().await;
    let path = path(&world);
    let waiting = world.get(&path).await;
    assert_eq!(waiting.status, StatusCode::OK);
    waiting.says(&["Thank you! Confirming your payment", "data-moves"]);
    let again = format!("content=\"2;url={path}&#38;since=1800000000\"");
    assert!(waiting.text.contains(&again), "{}", waiting.text);

    world.life.pay("Ada's agent").await;
    let found = world.get(&path).await;
    assert_eq!(found.status, StatusCode::SEE_OTHER);
    let page = found.header("location").to_owned();
    world.get(&page).await.says(&["Setting up your agent"]);
    world.pass(24 * 3600 - 1);
    assert_eq!(world.get(&path).await.status, StatusCode::SEE_OTHER);
    world.pass(1);
    let late = world.get(&path).await;
    assert_eq!(late.status, StatusCode::GONE);
    late.says(&[
        "one day after the checkout",
        "ask whoever sold you the agent",
    ]);
}

#[tokio::test]
async fn who_waits_long_is_told_whom_to_ask() {
    let world = World::new().await;
    let path = format!("{}&since=1800000000", path(&world));
    world.pass(179);
    world.get(&path).await.says(&["Thank you!"]);
    world.pass(1);
    let late = world.get(&path).await;
    late.says(&["Your payment is not confirmed yet", "ask whoever sold you"]);
    assert!(late.text.contains("since=1800000000"));
}

#[tokio::test]
async fn what_is_no_session_is_told_so() {
    let world = World::new().await;
    for query in [
        "",
        "?session_id=",
        "?session_id=%7BCHECKOUT_SESSION_ID%7D",
        "?session_id=cs_%3Cscript%3E",
        "?session_id=sub_1234567890",
        "?other=cs_test_1234567890",
    ] {
        let answer = world.get(&format!("/welcome{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        answer.says(&["This address is not complete"]);
    }
    for query in [
        "session_id=a&session_id=b",
        "session_id=cs_test_12345678&since=x",
    ] {
        let answer = world.get(&format!("/welcome?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
