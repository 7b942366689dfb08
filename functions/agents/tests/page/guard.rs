//! Who gets in, and what every page carries.

use crate::world::World;
use agents::link::{LINK_LIFE, make};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use domain::{AgentId, ErrorClass};
use host::Nudge;
use std::time::Duration;
use uuid::Uuid;

const HOSTILE: &str = r#"</title><script>alert("1")</script> & 'x' onload=y"#;

#[tokio::test]
async fn forged_links_and_links_to_nobody_look_the_same() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    let expires = world.now().plus(LINK_LIFE);
    let nobody = make(&world.key, AgentId(Uuid::from_u128(99)), expires);
    let forged = make(&"another key".into(), world.life.agent_id, expires);
    let mut pages = Vec::new();
    for link in [nobody.as_str(), &forged, "x", "%2e%2e", "a.b"] {
        for path in [format!("/s/{link}"), format!("/s/{link}/now")] {
            let answer = world.get(&path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            pages.push(answer.text);
        }
        let sent = [("sec-fetch-site", "same-origin")];
        let answer = world.post(&format!("/s/{link}/stop"), &sent).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        pages.push(answer.text);
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "they tell which links exist");
}

#[tokio::test]
async fn an_expired_link_says_how_to_get_another_and_changes_nothing() {
    let world = World::new().await;
    world.life.activate("Ada's agent").await;
    let path = world.page();
    world.pass(LINK_LIFE.as_secs() - 1);
    assert_eq!(world.get(&path).await.status, StatusCode::OK);
    world.pass(1);
    for answer in [
        world.get(&path).await,
        world.get(&format!("{path}/now")).await,
        world
            .post(
                &format!("{path}/stop"),
                &[("sec-fetch-site", "same-origin")],
            )
            .await,
    ] {
        assert_eq!(answer.status, StatusCode::GONE);
        answer.says(&["This link has expired", "ask whoever sold you the agent"]);
        answer.never_says(&["Ada"]);
    }
    world.look().await.says(&["Your agent is running"]);
}

#[tokio::test]
async fn every_page_keeps_to_itself() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    let page = world.page();
    for (path, status) in [
        (page.clone(), 200),
        (format!("{page}/now"), 200),
        ("/s/x".to_owned(), 404),
        ("/welcome?session_id=cs_test_unknown_1".to_owned(), 200),
        (format!("/welcome?session_id={}", world.life.session()), 303),
        ("/welcome".to_owned(), 400),
        ("/".to_owned(), 401),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-robots-tag"), "noindex, nofollow");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!answer.text.contains(" style="), "{path}");
        assert!(!answer.text.contains("http:") || answer.text.contains("www.w3.org"));
    }
}

#[tokio::test]
async fn a_hostile_name_stays_a_name() {
    let world = World::new().await;
    world.life.pay(HOSTILE).await;
    let id = world.life.agent_id;
    for answer in [
        world.look().await,
        world.operator("/").await,
        world.operator(&format!("/?agent={id}")).await,
        world.operator("/?q=%3Cscript%3Ealert(1)").await,
    ] {
        assert_eq!(answer.status, StatusCode::OK);
        answer.never_says(&["<script>alert", "alert(\"1\")</script>"]);
        assert_eq!(answer.text.matches("<script>").count(), 1);
    }
    let shown = world.look().await;
    assert!(shown.text.contains("&#60;/title&#62;&#60;script&#62;alert"));
}

#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let world = World::new().await;
    world.life.activate("Ada's agent").await;
    let path = format!("{}/stop", world.page());
    for signs in [
        &[][..],
        &[("origin", "null")],
        &[("origin", "https://evil.test")],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://pages.test"),
        ],
    ] {
        let answer = world.post(&path, signs).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{signs:?}");
        answer.says(&["Nothing was changed"]);
    }
    world.look().await.says(&["Your agent is running"]);
    // A browser without Fetch Metadata, which tells the origin only.
    let own = world.post(&path, &[("origin", "https://pages.test")]).await;
    assert_eq!(own.status, StatusCode::SEE_OTHER);
    world.look().await.says(&["Stopping your agent"]);
}

#[tokio::test]
async fn nothing_but_the_three_commands_is_offered() {
    let world = World::new().await;
    world.life.activate("Ada's agent").await;
    for word in ["delete", "destroy", "now", "Stop", "provision"] {
        let answer = world.press(word).await;
        let refused = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        assert!(
            refused.contains(&answer.status),
            "{word}: {}",
            answer.status
        );
    }
    let read = world.get(&format!("{}/stop", world.page())).await;
    assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED);
    world.look().await.says(&["Your agent is running"]);
}

#[tokio::test]
async fn basic_opens_the_operators_page_and_nothing_else() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    assert_eq!(world.operator("/").await.status, StatusCode::OK);
    let id = world.life.agent_id;
    let shut = world.operator(&format!("/agents/{id}")).await;
    assert_eq!(shut.status, StatusCode::UNAUTHORIZED);
    for (authorization, status) in [
        ("Bearer operator-token", 200),
        ("Bearer operator-tokem", 401),
        // "x:operator-tokem", "operator-token", "x:operator-token " and no base64.
        ("Basic eDpvcGVyYXRvci10b2tlbQ==", 401),
        ("Basic b3BlcmF0b3ItdG9rZW4=", 401),
        ("Basic eDpvcGVyYXRvci10b2tlbiA=", 401),
        ("Basic operator-token", 401),
        ("Digest eDpvcGVyYXRvci10b2tlbg==", 401),
    ] {
        let request = Request::get("/").header("authorization", authorization);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{authorization}");
        if status == 401 {
            let asked = answer.header("www-authenticate");
            assert!(asked.starts_with("Basic realm="), "{asked}");
            answer.never_says(&["Ada"]);
        }
    }
}

#[tokio::test]
async fn whoever_looks_sees_to_what_is_overdue() {
    let world = World::new().await;
    world.life.pay("Ada's agent").await;
    let page = world.page();
    let id = world.life.agent_id;
    for (path, status) in [
        (page.clone(), StatusCode::OK),
        (format!("{page}/now"), StatusCode::OK),
        ("/".to_owned(), StatusCode::OK),
        (format!("/?agent={id}"), StatusCode::OK),
        (
            "/welcome?session_id=cs_test_unknown_1".to_owned(),
            StatusCode::OK,
        ),
        (
            format!("/welcome?session_id={}", world.life.session()),
            StatusCode::SEE_OTHER,
        ),
    ] {
        world.pass(60);
        world.queue.take();
        assert_eq!(world.operator(&path).await.status, status);
        let sent = world.queue.take();
        assert_eq!(sent.len(), 1, "{path}");
        assert_eq!(sent[0].nudge, Nudge::EMPTY);
    }
}

#[tokio::test]
async fn a_command_that_nobody_can_be_told_of_says_so_and_may_be_repeated() {
    let world = World::new().await;
    world.life.activate("Ada's agent").await;
    world.queue.be_away(true);
    let lost = world.press("stop").await;
    assert_eq!(lost.status, StatusCode::SERVICE_UNAVAILABLE);
    lost.says(&["What you asked for is stored"]);
    world.queue.be_away(false);
    world.queue.take();
    let again = world.press("stop").await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    let sent = world.queue.take();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].nudge.job.is_some());
    assert_eq!(Duration::from_secs(sent[0].delay_seconds), Duration::ZERO);
}

#[tokio::test]
async fn a_retry_that_nobody_could_be_told_of_is_told_by_its_repeat() {
    let world = World::new().await;
    let life = &world.life;
    life.pay("Ada's agent").await;
    life.work(&["key_created"]).await;
    life.fail(ErrorClass::Permanent, "no such image", 0).await;
    life.work(&["deleted"]).await;
    life.succeed(false).await;
    world.queue.be_away(true);
    for _ in 0..2 {
        let lost = world.press("retry").await;
        assert_eq!(lost.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    world.queue.be_away(false);
    world.queue.take();
    // It is refused, because it was taken before.
    let again = world.press("retry").await;
    assert_eq!(
        again.header("location"),
        format!("{}?said=busy", world.page())
    );
    let sent = world.queue.take();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].nudge.job.is_some());
}
