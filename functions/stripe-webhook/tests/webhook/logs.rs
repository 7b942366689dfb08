//! What the log says, and what it never says.

use crate::{
    story::{Shape, Story},
    world::{World, ok},
};
use serde_json::{Value, json};
use sim::stripe::{EventHead, events::every_kind};
use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
};

thread_local! {
    /// What was logged in this thread; each test has its own.
    static SAID: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SAID.with_borrow_mut(|said| said.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what is logged, as the function would print it. One subscriber for all threads:
    /// with one per thread, what another thread does not want is not asked for here either.
    fn begin() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_writer(|| Self)
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
    }

    /// What was logged since the last call.
    fn take() -> String {
        String::from_utf8(SAID.take()).unwrap()
    }
}

/// The event with a canary in every field that a person could have filled.
fn personal(mut event: Value) -> Value {
    let object = event.pointer_mut("/data/object").unwrap();
    let fields = object.as_object_mut().unwrap();
    for field in [
        "client_reference_id",
        "customer_email",
        "description",
        "receipt_email",
    ] {
        fields.insert(field.to_owned(), json!("canary@example.com"));
    }
    let told = json!({"name": "Canary", "email": "canary@example.com"});
    fields.insert("customer_details".to_owned(), told);
    fields.insert("metadata".to_owned(), json!({"agent_name": "Canary's"}));
    event
}

#[tokio::test]
async fn no_log_line_holds_a_customers_data() {
    let world = World::new().await;
    Log::begin();
    for (number, event) in every_kind(&EventHead::new("evt", 1))
        .into_iter()
        .enumerate()
    {
        let mut event = personal(event);
        event["id"] = json!(format!("evt_{number}"));
        world.hear([&event]).await;
        let said = Log::take();
        assert!(said.contains(&format!("evt_{number}")), "{said}");
        assert!(said.contains(event["type"].as_str().unwrap()), "{said}");
        assert!(!said.to_lowercase().contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn what_the_operator_has_to_know_is_logged() {
    let world = World::new().await;
    let story = Story::subscribed(1, Shape::New);
    Log::begin();
    let thin = json!({"id": "evt_2", "object": "v2.core.event", "livemode": false,
        "created": "2026-11-21T10:00:00.000Z", "type": "v1.charge.refunded"});
    for (event, says) in [
        (story.charge(1, "refunded", 2000), "whose payment"),
        (
            story.subscription(2, "updated", "frozen\u{1b}[2J"),
            "frozen",
        ),
        (story.dispute(3, "updated", "appeal_lost"), "unknown status"),
        (story.warning(4), "suspects fraud"),
        (thin, "a thin event"),
    ] {
        assert_eq!(world.post(event.to_string()).await, ok());
        let said = Log::take();
        assert!(said.contains(says) && !said.contains('\u{1b}'), "{said}");
    }
    world.post(r#"{"id":"evt_1"}"#).await;
    assert!(Log::take().contains("it has no type"));
    world.hear([&story.checkout(5)]).await;
    let mut other = story.checkout(6);
    other["data"]["object"]["subscription"] = json!("sub_other");
    Log::take();
    world.hear([&other]).await;
    assert!(Log::take().contains("belongs to another subscription"));
}
