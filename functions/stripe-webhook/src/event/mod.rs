//! What a signed event says: only the fields that are used, read leniently, because Stripe adds
//! fields and values at any time and endpoints get the shape of the day they were made.
//! It knows no signature, no HTTP and no database.

mod charge;
mod checkout;
mod fields;
mod invoice;
mod session;
mod subscription;

pub use checkout::{Checkout, DEFAULT_REGION};

use domain::{EventId, News, SubscriptionId};
use fields::{expandable, id, seconds, text};
use serde_json::Value;

/// Event types are words like `checkout.session.completed`.
const KIND_CHARS_MAX: usize = 255;

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
    /// What it means to us.
    pub meaning: Meaning,
}

/// What an event means to us. The default is an event that is only stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning {
    /// What is paid for, if it is named: `sub_…`, or the session's `cs_…` for a one-off payment.
    pub subscription: Option<SubscriptionId>,
    /// The charge, payment intent and invoice it names, all of the same payment: no repeats,
    /// at most [`REFERENCES_MAX`].
    pub references: Vec<String>,
    /// What it says about the money.
    pub news: Option<News>,
    /// The dispute that the news is about.
    pub dispute: Option<String>,
    /// The checkout it is about.
    pub checkout: Option<Checkout>,
    /// One line for the customer: why nothing is paid.
    pub reason: Option<&'static str>,
    /// What the operator has to hear.
    pub notice: Option<Notice>,
}

/// Most references that are taken from one event.
pub const REFERENCES_MAX: usize = 20;

/// Something that changes nothing and that the operator has to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A thin event carries no object, and we hold no key to fetch it: the endpoint is set up
    /// wrongly.
    Thin,
    /// A status that was not known when this was written.
    UnknownStatus(String),
    /// The card's issuer suspects fraud: a dispute is likely (Stripe: early fraud warning).
    FraudWarning,
}

impl Event {
    /// Reads a body whose signature holds.
    ///
    /// # Errors
    /// When it is no JSON object with an id and a type, or says something about money without
    /// naming whose.
    pub fn parse(body: &str) -> Result<Self, Malformed> {
        let root: Value =
            serde_json::from_str(body).map_err(|error| Malformed(error.to_string()))?;
        let id = id(&root, "id").ok_or_else(|| malformed("it has no id"))?;
        let kind = kind(&root).ok_or_else(|| malformed("it has no type"))?;
        Ok(Self {
            meaning: meaning(&root, kind)?,
            id,
            kind: kind.to_owned(),
            created: seconds(&root, "created"),
            livemode: root.get("livemode").and_then(Value::as_bool),
        })
    }
}

/// The type's first words say which object is inside, the last what happened to it.
fn meaning(root: &Value, kind: &str) -> Result<Meaning, Malformed> {
    if text(root, "object") == Some("v2.core.event") {
        return Ok(Meaning {
            notice: Some(Notice::Thin),
            ..Meaning::default()
        });
    }
    let object = root.pointer("/data/object").unwrap_or(&Value::Null);
    let (about, happened) = kind.rsplit_once('.').unwrap_or((kind, ""));
    match about {
        "checkout.session" => session::meaning(happened, object),
        "customer.subscription" => subscription::meaning(happened, object),
        "invoice" => Ok(invoice::meaning(happened, object)),
        "invoice_payment" => Ok(invoice::payment(object)),
        "charge" => charge::meaning(happened, object),
        "charge.dispute" => charge::dispute(object),
        "refund" | "charge.refund" => Ok(charge::of_a_charge(object)),
        "payment_intent" => Ok(charge::payment_intent(object)),
        "radar.early_fraud_warning" => Ok(charge::fraud_warning(object)),
        _ => Ok(Meaning {
            subscription: expandable(object, "subscription"),
            ..Meaning::default()
        }),
    }
}

fn kind(event: &Value) -> Option<&str> {
    text(event, "type").filter(|text| {
        (1..=KIND_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What an event of this type around this object means.
    pub(super) fn told(kind: &str, object: &Value) -> Meaning {
        read(kind, object).unwrap()
    }

    /// The same, where it may be malformed.
    pub(super) fn read(kind: &str, object: &Value) -> Result<Meaning, Malformed> {
        let body = json!({"id": "evt_1", "object": "event", "created": 1_795_219_200,
            "livemode": false, "type": kind, "data": {"object": object}});
        Event::parse(&body.to_string()).map(|event| event.meaning)
    }

    #[test]
    fn an_event_tells_its_id_type_time_and_mode() {
        let body = r#"{"id":"evt_1","type":"charge.succeeded","created":7,"livemode":true}"#;
        let event = Event::parse(body).unwrap();
        assert_eq!(event.id.as_str(), "evt_1");
        assert_eq!(event.kind, "charge.succeeded");
        assert_eq!((event.created, event.livemode), (Some(7), Some(true)));
    }

    #[test]
    fn thin_and_unknown_events_are_recognised() {
        let thin = json!({"id": "evt_t", "object": "v2.core.event", "livemode": true,
            "created": "2026-11-21T10:00:00.000Z", "type": "v1.checkout.session.completed",
            "related_object": {"id": "cs_1", "type": "checkout.session", "url": "/v1/…"}});
        let thin = Event::parse(&thin.to_string()).unwrap();
        let notice = Some(Notice::Thin);
        assert_eq!(
            thin.meaning,
            Meaning {
                notice,
                ..Meaning::default()
            }
        );
        assert_eq!(thin.created, None);
        let unknown =
            Event::parse(r#"{"id":"evt_u","type":"moon.landed","livemode":"?"}"#).unwrap();
        assert_eq!(
            (unknown.meaning, unknown.livemode),
            (Meaning::default(), None)
        );
    }

    #[test]
    fn an_event_that_is_only_stored_may_name_its_subscription() {
        for (object, key) in [
            (json!({"subscription": "sub_1"}), Some("sub_1")),
            (json!({"subscription": {"id": "sub_2"}}), Some("sub_2")),
            (json!({"subscription": null}), None),
            (json!("not even an object"), None),
        ] {
            let named = told("invoiceitem.created", &object).subscription;
            assert_eq!(named.as_ref().map(SubscriptionId::as_str), key, "{object}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_is_missing() {
        for (body, says) in [
            ("", "EOF"),
            ("[]", "no id"),
            ("{}", "no id"),
            (r#"{"id":"evt_1"}"#, "no type"),
            (r#"{"id":"evt\u0000","type":"x"}"#, "no id"),
            (r#"{"id":"evt_1","type":"a b"}"#, "no type"),
        ] {
            let error = Event::parse(body).unwrap_err().to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn objects_that_are_no_objects_break_nothing() {
        for kind in [
            "checkout.session.completed",
            "checkout.session.expired",
            "customer.subscription.updated",
            "customer.subscription.deleted",
            "invoice.paid",
            "invoice.payment_failed",
            "invoice_payment.paid",
            "charge.refunded",
            "charge.dispute.created",
            "refund.failed",
            "payment_intent.succeeded",
            "radar.early_fraud_warning.created",
            "moon.landed",
        ] {
            for object in [json!(null), json!([]), json!("x"), json!({"id": 7})] {
                if let Ok(meaning) = read(kind, &object) {
                    assert_eq!(meaning.news, None, "{kind}: {object}");
                }
            }
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
