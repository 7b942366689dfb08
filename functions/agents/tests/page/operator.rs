//! What the operator sees.

use crate::world::{TOKEN, World, between};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use domain::{ErrorClass, JobId, News};
use store::{InventoryRecord, SeenServer};
use uuid::Uuid;

#[tokio::test]
async fn a_quiet_installation_says_so() {
    let world = World::new().await;
    let empty = world.operator("/").await;
    empty.says(&["Nothing is overdue", "No agent fits."]);
    world.life.activate("Ada's agent").await;
    world.operator("/").await.says(&[
        "Nothing is overdue",
        "Ada&#39;s agent",
        "active <b>1</b>",
        "all <b>1</b>",
    ]);
}

#[tokio::test]
async fn what_needs_attention_comes_first() {
    let world = World::new().await;
    let failed = world.another(2);
    failed.pay("Bo's agent").await;
    failed.work(&["key_created"]).await;
    failed.fail(ErrorClass::Permanent, "no such image", 0).await;
    let busy = world.another(3);
    busy.pay("Cy's agent").await;
    world.pass(60);
    let overdue = world.operator("/").await;
    overdue.says(&[
        "Overdue jobs",
        "Failed agents by class",
        "permanent",
        "no such image",
    ]);
    overdue.says(&["provisioning <b>1</b>", "failed <b>1</b>"]);
    let only = world.operator("/?state=failed").await;
    only.says(&["Agents that are failed", "Bo&#39;s agent"]);
    let (_, listed) = only.main().split_once("<h2 id=\"list\"").unwrap();
    assert!(!listed.contains("Cy&#39;s agent"));
}

#[tokio::test]
async fn strays_are_shown_with_their_labels() {
    let world = World::new().await;
    let life = &world.life;
    life.pay("Ada's agent").await;
    life.work(&["key_created"]).await;
    let status = life.store.agent_status(life.agent_id, world.now()).await;
    let job = status.unwrap().unwrap().job.unwrap();
    let seen = [SeenServer {
        server_id: "4711".to_owned(),
        agent_id: "<b>nobody</b>".to_owned(),
        fence: "1".to_owned(),
    }];
    let inventory = InventoryRecord {
        job_id: job.job_id,
        fence: job.attempt.unwrap().fence,
        installation: "default",
        seen: &seen,
        fresh_job_ids: &[JobId(Uuid::from_u128(5))],
    };
    let swept = life.store.take_inventory(&inventory, world.now()).await;
    assert_eq!(swept.unwrap().strays.len(), 1);
    let page = world.operator("/").await;
    page.says(&["Servers that belong to nobody", "4711", "&#60;b&#62;nobody"]);
}

#[tokio::test]
async fn a_machine_that_is_not_there_is_shown_to_the_operator_and_offered_to_nobody() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    let status = life.store.agent_status(life.agent_id, world.now()).await;
    let status = status.unwrap().unwrap();
    let job = status.job.unwrap();
    let inventory = InventoryRecord {
        job_id: job.job_id,
        fence: job.attempt.unwrap().fence,
        installation: "default",
        seen: &[],
        fresh_job_ids: &[],
    };
    // One list alone is no proof.
    for missing in [0, 1] {
        let page = world.operator("/").await;
        page.never_says(&["not found at Hetzner"]);
        world.pass(600);
        let swept = life.store.take_inventory(&inventory, world.now()).await;
        assert_eq!(swept.unwrap().missing.len(), missing);
    }
    let server = format!("<code>{}</code>", status.instance.unwrap().server_id);
    let link = format!("<a href=\"/?agent={}\">", life.agent_id);
    let page = world.operator("/").await;
    page.says(&[
        "Servers that were not found at Hetzner, newest first",
        &server,
        &link,
    ]);
    page.never_says(&["Nothing is overdue"]);
    let page = world.operator(&format!("/?agent={}", life.agent_id)).await;
    page.says(&["was not found at Hetzner since", "its labels were changed"]);
    // Whoever owns it sees what he saw before, and cannot bring about that its data is lost.
    for _ in 0..2 {
        let page = world.look().await;
        page.says(&["Your agent is running"]);
        assert_eq!(page.buttons(), ["stop"]);
        world.press("retry").await;
    }
}

#[tokio::test]
async fn a_list_that_may_be_cut_says_so() {
    let world = World::new().await;
    for number in 1..=21 {
        world.another(number).stripe_says(News::Active).await;
        world.pass(1);
        let heading = if number < 20 {
            "no agent, newest first</h2>"
        } else {
            "no agent, newest 20</h2>"
        };
        if number >= 19 {
            world.operator("/").await.says(&[heading]);
        }
    }
    let cut = world.operator("/").await;
    let shown = |number: u64| {
        let subscription = format!("sub_{}", world.another(number).agent_id);
        cut.main().contains(&subscription)
    };
    assert!(!shown(1), "the oldest is left out");
    assert!((2..=21).all(shown));
}

#[tokio::test]
async fn lists_are_filtered_and_paged_without_losing_or_doubling_any() {
    let world = World::new().await;
    for number in 1..=120 {
        world
            .another(number)
            .draft(&format!("agent {number:03}"))
            .await;
        world.pass(number % 2);
    }
    let mut path = "/?q=agent".to_owned();
    let mut names = Vec::new();
    loop {
        let page = world.operator(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let rows = page.main().split(">agent ").skip(1);
        names.extend(rows.map(|row| row.split_once('<').unwrap().0.to_owned()));
        let next = between(page.main(), "<a href=\"/?q=agent&#38;after=", "\"");
        let Some(next) = next else { break };
        // The API reads the same places.
        let request = Request::get(format!("/agents?after={next}"));
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{next}");
        path = format!("/?q=agent&after={next}");
    }
    assert_eq!(names.len(), 120);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 120);
    // A NUL, which no text of the database may hold.
    let found = world.operator("/?q=agent%00+077&state=draft").await;
    found.says(&[
        "agent 077",
        "value=\"agent 077\"",
        "<option selected>draft</option>",
    ]);
    found.never_says(&["agent 076"]);
    world
        .operator("/?state=active&q=")
        .await
        .says(&["No agent fits."]);
}

#[tokio::test]
async fn an_agents_timeline_is_one_click_away_newest_first() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    let id = life.agent_id;
    let list = world.operator("/").await;
    list.says(&[&format!("<a href=\"/?agent={id}\">Ada&#39;s agent</a>")]);
    let page = world.operator(&format!("/?agent={id}")).await;
    page.says(&[
        "Timeline, newest first",
        "203.0.113.7",
        "100.64.0.7",
        "vm_created",
        "stripe evt_",
        "runner 43/1",
        "Job: provision, succeeded",
    ]);
    let at = |word: &str| page.main().rfind(word).unwrap();
    assert!(at("<td>healthy</td>") < at("<td>key_created</td>"));
    let link = between(page.main(), "<a href=\"/s/", "\"").unwrap();
    world
        .get(&format!("/s/{link}"))
        .await
        .says(&["Your agent is running"]);
}

#[tokio::test]
async fn a_long_timeline_shows_its_newest_rows() {
    let world = World::new().await;
    let life = &world.life;
    life.activate("Ada's agent").await;
    for _ in 0..350 {
        world.press("stop").await;
        world.press("start").await;
    }
    let page = world.operator(&format!("/?agent={}", life.agent_id)).await;
    page.says(&["Only the newest rows"]);
    assert_eq!(page.main().matches("<tr><td><time").count(), 2000);
    page.never_says(&["stripe evt_"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let world = World::new().await;
    for (query, status) in [
        ("state=happy", 400),
        ("after=x", 400),
        ("after=1.x", 400),
        ("agent=x", 400),
        ("state=a&state=b", 400),
        ("agent=00000000-0000-0000-0000-000000000009", 404),
    ] {
        let answer = world.operator(&format!("/?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
    }
}
