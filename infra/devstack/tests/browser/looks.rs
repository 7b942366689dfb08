//! Every page fits, reads and contrasts, on a phone and on a desk, by day and by night. The
//! pictures go to `target/screenshots`, for people.

use crate::{chromium::play, life::PROVISION, site::Site};
use domain::{ErrorClass, News};
use serde_json::json;
use std::{fs, path::Path, time::Duration};

const MINUTE: Duration = Duration::from_mins(1);

/// Agents in the states that are looked at; their pages by name.
async fn peopled(site: &Site) -> serde_json::Value {
    let active = site.another(10, MINUTE * 300);
    active.pay("Kit, research").await;
    active.work(&PROVISION[..1]).await;
    active.be_later(Duration::from_secs(40));
    active.step("vm_created").await;
    active.be_later(Duration::from_secs(31));
    active.step("enrolled").await;
    active.be_later(Duration::from_secs(62));
    active.step("ansible_complete").await;
    active.step("healthy").await;
    active.be_later(Duration::from_secs(4));
    active.succeed(false).await;

    let waiting = site.another(12, Duration::from_secs(5));
    waiting.pay("Lumen, support desk").await;
    waiting.work(&["key_created"]).await;
    let error = "no location of eu-central sells cpx11 now";
    waiting.fail(ErrorClass::Capacity, error, 3).await;

    let suspended = site.another(13, MINUTE * 200);
    suspended.activate("Otto, bookkeeping").await;
    suspended.be_later(MINUTE * 100);
    suspended.stripe_says(News::PastDue).await;
    suspended.work(&["stopped"]).await;
    suspended.succeed(false).await;

    let now = site.another(14, Duration::from_secs(20));
    now.pay("Ada, inbox and calendar").await;
    now.work(&PROVISION[..2]).await;
    let failed = site.another(11, MINUTE * 12);
    failed.pay("Juno, night shift").await;
    failed.work(&["key_created"]).await;
    failed
        .fail(ErrorClass::Permanent, "HETZNER_SSH_KEY_ID names no key", 0)
        .await;

    let overdue = site.another(15, MINUTE * 2);
    overdue.pay("Max, <b>reports</b>").await;
    let draft = site.another(16, MINUTE * 3);
    draft
        .draft("A name that is rather long, as people like to give them when nobody says no")
        .await;
    let awaited = site.another(17, MINUTE * 60);
    awaited.pay_later("Ina, orders").await;
    let expired = site.another(18, MINUTE * 70);
    expired.draft("Ole, newsletters").await;
    expired.checkout_expired().await;
    let disputed = site.another(19, MINUTE * 80);
    disputed.activate("Pia, travel").await;
    disputed.be_later(MINUTE);
    disputed.stripe_says(News::Disputed).await;
    disputed.work(&["stopped"]).await;
    disputed.succeed(false).await;
    let page = |agent_id| site.link(agent_id, true);
    json!({
        "provisioning": page(now.agent_id),
        "active": page(active.agent_id),
        "failed": page(failed.agent_id),
        "waiting": page(waiting.agent_id),
        "suspended": page(suspended.agent_id),
        "draft": page(draft.agent_id),
        "awaited": page(awaited.agent_id),
        "checkout-expired": page(expired.agent_id),
        "disputed": page(disputed.agent_id),
        "expired": site.link(active.agent_id, false),
        "welcome": format!("{}/welcome?session_id=cs_test_not_heard_of", site.url),
        "welcome-late": format!("{}/welcome?session_id=cs_test_not_heard_of&since=0", site.url),
        "operator": format!("{}/", site.url),
        "operator-agent": format!("{}/?agent={}", site.url, failed.agent_id),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_reads_and_contrasts() {
    let site = Site::start().await;
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
    fs::create_dir_all(&out).unwrap();
    let mut told = site.told();
    told["pages"] = peopled(&site).await;
    told["out"] = json!(out.canonicalize().unwrap());
    play("looks", &told).await;
    let pictures = fs::read_dir(out).unwrap().count();
    assert!(pictures >= 56, "only {pictures} pictures");
}
