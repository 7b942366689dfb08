//! What a signed event says: only the fields that are used, read leniently, because Stripe adds
//! fields and values at any time and endpoints get the shape of the day they were made.
//! It knows no signature, no HTTP and no database.

use domain::{AgentId, EventId, SubscriptionId};
use serde_json::Value;
use std::str::FromStr;

/// Region of an agent whose payment names none, or none that could be one.
pub const DEFAULT_REGION: &str = "us-east";

/// Event types are words like `checkout.session.completed`.
const KIND_CHARS_MAX: usize = 255;

/// `client_reference_id` has at most 200 characters, a metadata value at most 500.
const REFERENCE_CHARS_MAX: usize = 500;

const NAME_CHARS_MAX: usize = 200;
const REGION_CHARS_MAX: usize = 32;

/// A signed event that could not be read, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is malformed: {0}")]
pub struct Malformed(pub String);

fn malformed(what: &str) -> Malformed {
    Malformed(what.to_owned())
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`.
    pub id: EventId,
    /// For example `checkout.session.completed`.
    pub kind: String,
    /// Unix seconds at which it happened; a thin event gives no number, hence `None`.
    pub created: Option<i64>,
    /// True for real money. `None` when the event does not say.
    pub livemode: Option<bool>,
    /// The subscription it is about, if it names one.
    pub subscription: Option<SubscriptionId>,
    /// What it means to us.
    pub meaning: Meaning,
}

/// What an event means to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Something was paid for: there must be an agent.
    Paid(Paid),
    /// A thin event: it carries no object, so it is only stored.
    Thin,
    /// Everything else is stored.
    Other,
}

/// A payment that asks for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// `sub_…`, or the session's `cs_…` for a one-off payment.
    pub subscription: SubscriptionId,
    /// The agent it is for, when the checkout named one. Whoever opens a payment link may set
    /// it, so it is looked up, never trusted.
    pub agent: Option<AgentId>,
    /// A reference that is no agent id, kept as it came.
    pub reference: Option<String>,
    /// Where the customer wants the machine.
    pub region: String,
    /// The agent's name for people.
    pub name: String,
}

impl Event {
    /// Reads a body whose signature holds.
    ///
    /// # Errors
    /// When it is no JSON object with an id and a type, or a payment without its session.
    pub fn parse(body: &str) -> Result<Self, Malformed> {
        let root: Value =
            serde_json::from_str(body).map_err(|error| Malformed(error.to_string()))?;
        let id = id(&root, "id").ok_or_else(|| malformed("it has no id"))?;
        let kind = kind(&root).ok_or_else(|| malformed("it has no type"))?;
        Ok(Self {
            meaning: meaning(&root, kind)?,
            id,
            kind: kind.to_owned(),
            created: root.get("created").and_then(Value::as_i64),
            livemode: root.get("livemode").and_then(Value::as_bool),
            subscription: root.pointer("/data/object").and_then(subscription),
        })
    }
}

fn meaning(root: &Value, kind: &str) -> Result<Meaning, Malformed> {
    if root.get("object").and_then(Value::as_str) == Some("v2.core.event") {
        return Ok(Meaning::Thin);
    }
    let session = root.pointer("/data/object").unwrap_or(&Value::Null);
    let paid = match kind {
        "checkout.session.completed" => paid_for(session),
        "checkout.session.async_payment_succeeded" => true,
        _ => false,
    };
    if paid {
        Paid::read(session).map(Meaning::Paid)
    } else {
        Ok(Meaning::Other)
    }
}

/// What is paid for, in every shape that names it: a subscription itself; the field of a session
/// or of an older invoice; an invoice since API version 2025-03-31; a one-off session.
fn subscription(object: &Value) -> Option<SubscriptionId> {
    let is = |word| object.get("object").and_then(Value::as_str) == Some(word);
    if is("subscription") {
        return id(object, "id");
    }
    expandable(object, "subscription")
        .or_else(|| {
            expandable(
                object.pointer("/parent/subscription_details")?,
                "subscription",
            )
        })
        .or_else(|| is("checkout.session").then(|| id(object, "id")).flatten())
}

/// A completed session may still wait for its money (`unpaid`), and one that only saves a card
/// (`mode` setup) reports `no_payment_required` although nothing was bought.
fn paid_for(session: &Value) -> bool {
    let status = session.get("payment_status").and_then(Value::as_str);
    let saves_a_card = session.get("mode").and_then(Value::as_str) == Some("setup");
    matches!(status, Some("paid" | "no_payment_required")) && !saves_a_card
}

impl Paid {
    fn read(session: &Value) -> Result<Self, Malformed> {
        let subscription = expandable(session, "subscription")
            .or_else(|| id(session, "id"))
            .ok_or_else(|| malformed("a paid checkout session has no id"))?;
        let given = [
            session.get("client_reference_id").and_then(Value::as_str),
            session
                .pointer("/metadata/agent_id")
                .and_then(Value::as_str),
        ];
        let name = session
            .pointer("/metadata/agent_name")
            .and_then(Value::as_str);
        let given = || given.iter().flatten().map(|text| text.trim());
        let reference = given()
            .find(|text| agent_id(text).is_none())
            .and_then(plain);
        Ok(Self {
            name: name
                .and_then(plain)
                .or_else(|| reference.clone())
                .unwrap_or_else(|| format!("agent of {subscription}"))
                .chars()
                .take(NAME_CHARS_MAX)
                .collect(),
            subscription,
            agent: given().find_map(agent_id),
            reference,
            region: session
                .pointer("/metadata/region")
                .and_then(Value::as_str)
                .and_then(region)
                .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        })
    }
}

fn kind(event: &Value) -> Option<&str> {
    event.get("type").and_then(Value::as_str).filter(|text| {
        (1..=KIND_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

fn id<T: FromStr>(object: &Value, field: &str) -> Option<T> {
    object
        .get(field)
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
}

/// The id in a field that holds an id, or the whole object when Stripe was asked to expand it.
fn expandable<T: FromStr>(object: &Value, field: &str) -> Option<T> {
    id(object, field).or_else(|| object.get(field).and_then(|inner| id(inner, "id")))
}

/// Only the hyphenated form is an agent id; any other text is somebody's own reference.
fn agent_id(text: &str) -> Option<AgentId> {
    text.parse().ok().filter(|AgentId(id)| !id.is_nil())
}

/// PostgreSQL's text holds no NUL, and people read this: control characters are left out.
fn plain(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(REFERENCE_CHARS_MAX)
        .collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

fn region(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (plain && !text.is_empty() && text.len() <= REGION_CHARS_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const AGENT: &str = "0192f3a4-7b1c-7def-8a90-123456789abc";

    fn session(kind: &str, session: &Value) -> Event {
        let body = json!({
            "id": "evt_1", "object": "event", "created": 1_795_219_200, "livemode": false,
            "type": kind, "data": { "object": session },
        });
        Event::parse(&body.to_string()).unwrap()
    }

    fn completed(object: &Value) -> Meaning {
        session("checkout.session.completed", object).meaning
    }

    fn paid(object: &Value) -> Paid {
        match completed(object) {
            Meaning::Paid(paid) => paid,
            Meaning::Thin | Meaning::Other => panic!("not a payment: {object}"),
        }
    }

    #[test]
    fn a_paid_session_names_its_subscription_agent_and_region() {
        let event = session(
            "checkout.session.completed",
            &json!({"id": "cs_1", "payment_status": "paid", "subscription": "sub_1",
                "client_reference_id": AGENT, "metadata": {"region": "eu-west"}, "mode": "later"}),
        );
        assert_eq!(event.id.as_str(), "evt_1");
        assert_eq!(event.created, Some(1_795_219_200));
        assert_eq!(event.livemode, Some(false));
        assert_eq!(
            event.meaning,
            Meaning::Paid(Paid {
                subscription: "sub_1".parse().unwrap(),
                agent: Some(AGENT.parse().unwrap()),
                reference: None,
                region: "eu-west".to_owned(),
                name: "agent of sub_1".to_owned(),
            })
        );
    }

    #[test]
    fn only_money_or_none_due_asks_for_an_agent() {
        for (status, mode, asks) in [
            (json!("paid"), "subscription", true),
            (json!("paid"), "payment", true),
            (json!("no_payment_required"), "subscription", true),
            (json!("no_payment_required"), "setup", false),
            (json!("unpaid"), "subscription", false),
            (json!("new_word"), "subscription", false),
            (Value::Null, "subscription", false),
        ] {
            let object = json!({"id": "cs_1", "payment_status": status, "mode": mode});
            assert_eq!(completed(&object) != Meaning::Other, asks, "{object}");
        }
        let late = session(
            "checkout.session.async_payment_succeeded",
            &json!({"id": "cs_1"}),
        );
        assert!(matches!(late.meaning, Meaning::Paid(_)));
        let failed = session(
            "checkout.session.async_payment_failed",
            &json!({"id": "cs_1"}),
        );
        assert_eq!(failed.meaning, Meaning::Other);
    }

    #[test]
    fn a_subscription_may_be_an_id_an_object_or_absent() {
        for (subscription, key) in [
            (json!("sub_1"), "sub_1"),
            (json!({"id": "sub_2", "object": "subscription"}), "sub_2"),
            (Value::Null, "cs_1"),
            (json!(""), "cs_1"),
        ] {
            let object =
                json!({"id": "cs_1", "payment_status": "paid", "subscription": subscription});
            assert_eq!(paid(&object).subscription.as_str(), key, "{object}");
        }
    }

    #[test]
    fn a_reference_is_an_agent_id_or_kept_as_it_is() {
        for (client, metadata, agent, kept) in [
            (json!(AGENT), json!({}), true, None),
            (json!(AGENT.to_uppercase()), json!({}), true, None),
            (Value::Null, json!({"agent_id": AGENT}), true, None),
            (
                json!("order 7"),
                json!({"agent_id": AGENT}),
                true,
                Some("order 7"),
            ),
            (json!("order 7"), Value::Null, false, Some("order 7")),
            (json!("a\u{0}b"), Value::Null, false, Some("ab")),
            (
                json!(uuid::fmt::Simple::from_uuid(Uuid::max()).to_string()),
                json!({}),
                false,
                Some("ffffffffffffffffffffffffffffffff"),
            ),
            (
                json!(Uuid::nil().to_string()),
                json!({}),
                false,
                Some("00000000-0000-0000-0000-000000000000"),
            ),
            (json!("  "), json!({"agent_id": 7}), false, None),
        ] {
            let object = json!({"id": "cs_1", "payment_status": "paid",
                "client_reference_id": client, "metadata": metadata});
            let paid = paid(&object);
            assert_eq!(paid.agent.is_some(), agent, "{object}");
            assert_eq!(paid.reference.as_deref(), kept, "{object}");
        }
    }

    #[test]
    fn a_name_is_given_or_made_of_what_is_known() {
        for (client, metadata, name) in [
            (
                json!(AGENT),
                json!({"agent_name": " Ada's\n agent "}),
                "Ada's agent",
            ),
            (json!("order 7"), json!({"agent_name": ""}), "order 7"),
            (Value::Null, Value::Null, "agent of cs_1"),
            (
                Value::Null,
                json!({"agent_name": "x".repeat(300)}),
                &"x".repeat(200),
            ),
        ] {
            let object = json!({"id": "cs_1", "payment_status": "paid",
                "client_reference_id": client, "metadata": metadata});
            assert_eq!(paid(&object).name, name, "{object}");
        }
    }

    #[test]
    fn an_event_names_its_subscription_in_the_shape_of_its_day() {
        for (object, key) in [
            (
                json!({"object": "subscription", "id": "sub_1"}),
                Some("sub_1"),
            ),
            (
                json!({"object": "checkout.session", "id": "cs_1"}),
                Some("cs_1"),
            ),
            (
                json!({"object": "checkout.session", "id": "cs_1", "subscription": "sub_2"}),
                Some("sub_2"),
            ),
            (
                json!({"object": "invoice", "id": "in_1", "subscription": "sub_3"}),
                Some("sub_3"),
            ),
            (
                json!({"object": "invoice", "id": "in_1", "parent":
                {"subscription_details": {"subscription": {"id": "sub_4"}}}}),
                Some("sub_4"),
            ),
            (json!({"object": "charge", "id": "ch_1"}), None),
        ] {
            let named = session("any.type", &object).subscription;
            assert_eq!(named.as_ref().map(SubscriptionId::as_str), key, "{object}");
        }
    }

    #[test]
    fn a_region_is_short_and_plain_or_the_default() {
        for (given, region) in [
            (json!("ap-southeast"), "ap-southeast"),
            (json!(" EU-West "), "eu-west"),
            (json!("mars-1"), "mars-1"),
            (json!("$(reboot)"), DEFAULT_REGION),
            (json!("x".repeat(33)), DEFAULT_REGION),
            (json!(""), DEFAULT_REGION),
            (json!(1), DEFAULT_REGION),
        ] {
            let object =
                json!({"id": "cs_1", "payment_status": "paid", "metadata": {"region": given}});
            assert_eq!(paid(&object).region, region, "{object}");
        }
    }

    #[test]
    fn thin_and_unknown_events_are_recognised() {
        let thin = json!({"id": "evt_t", "object": "v2.core.event", "livemode": true,
            "created": "2026-11-21T10:00:00.000Z", "type": "v1.checkout.session.completed",
            "related_object": {"id": "cs_1", "type": "checkout.session", "url": "/v1/…"}});
        let thin = Event::parse(&thin.to_string()).unwrap();
        assert_eq!((thin.meaning, thin.created), (Meaning::Thin, None));
        let unknown =
            Event::parse(r#"{"id":"evt_u","type":"moon.landed","livemode":"?"}"#).unwrap();
        assert_eq!((unknown.meaning, unknown.livemode), (Meaning::Other, None));
    }

    #[test]
    fn what_cannot_be_read_says_what_is_missing() {
        for (body, says) in [
            ("", "EOF"),
            ("[]", "no id"),
            ("{}", "no id"),
            (r#"{"id":"evt_1"}"#, "no type"),
            (r#"{"id":"evt\u0000","type":"x"}"#, "no id"),
            (
                r#"{"id":"evt_1","type":"checkout.session.completed","data":{"object":
                {"payment_status":"paid"}}}"#,
                "session has no id",
            ),
        ] {
            let error = Event::parse(body).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(body in ".{0,300}") {
            if let Ok(event) = Event::parse(&body) {
                proptest::prop_assert!(!event.id.as_str().is_empty());
            }
        }
    }
}
