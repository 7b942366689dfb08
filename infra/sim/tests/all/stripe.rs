//! Stripe's signature against known vectors, and the shapes of the events.

use std::collections::BTreeSet;

use serde_json::Value;
use sim::stripe::events::{
    charge_dispute, charge_event, charge_refunded, checkout_session_completed,
    checkout_session_setup_completed, every_kind, invoice_paid, invoice_payment_paid,
    payment_intent_event, subscription_event,
};
use sim::stripe::{
    CheckoutSession, EventHead, Invoice, InvoiceShape, PaymentStatus, Signer, Subscription,
};

#[test]
fn the_signature_is_that_of_the_published_scheme() {
    // Both vectors were made with Stripe's own libraries; the pair shows that white space counts.
    let signer = Signer::new("whsec_test");
    let spaced = br#"{"id": "evt_1", "object": "event", "type": "x", "data": {"object": {}}}"#;
    let dense = br#"{"id":"evt_1","object":"event","type":"x","data":{"object":{}}}"#;
    assert_eq!(
        signer.sign(spaced, 1_700_000_000),
        "t=1700000000,v1=4d07955913822b6ffeea434a156758d125c1ab64a757d6892d56300ade82ddac"
    );
    assert_eq!(
        signer.v1(dense, 1_700_000_000),
        "642e6beb2dbc243ef2c883582986bceb107bc787735fee9d0e5619fd0f02e320"
    );
    let rolling = signer.sign_rolling(&[Signer::new("whsec_old")], dense, 1);
    assert_eq!(rolling.matches(",v1=").count(), 2);
    assert!(rolling.starts_with(&signer.sign(dense, 1)));
    assert!(signer.sign_with_v0(dense, 1).contains(",v0="));
    assert!(!format!("{signer:?}").contains("whsec"));
}

#[test]
fn events_have_the_shape_of_their_version() {
    let head = EventHead::new("evt_1", 1_795_255_200);
    let mut session = CheckoutSession::subscription("cs_1", "sub_1", 1_795_255_200);
    session.payment_status = PaymentStatus::Unpaid;
    let event = checkout_session_completed(&head, &session);
    assert_eq!(event["type"], "checkout.session.completed");
    let object = &event["data"]["object"];
    assert_eq!(
        (&object["payment_status"], &object["mode"]),
        (&"unpaid".into(), &"subscription".into())
    );
    session.subscription = None;
    let one_off = checkout_session_completed(&head, &session);
    assert_eq!(one_off["data"]["object"]["mode"], "payment");

    let mut invoice = Invoice::new("in_1", "sub_1", "subscription_cycle");
    let event = invoice_paid(&head, &invoice);
    let parent = event.pointer("/data/object/parent/subscription_details/subscription");
    assert_eq!(parent.unwrap(), "sub_1");
    assert!(event["data"]["object"].get("subscription").is_none());
    invoice.shape = InvoiceShape::TopLevel;
    let event = invoice_paid(&head, &invoice);
    assert_eq!(event["data"]["object"]["subscription"], "sub_1");
    assert!(event["data"]["object"].get("parent").is_none());

    let subscription = Subscription::new("sub_1", "canceled", 1_795_255_200);
    let event = subscription_event(&head, "deleted", &subscription);
    assert_eq!(event["type"], "customer.subscription.deleted");
    assert_eq!(event["data"]["object"]["ended_at"], 1_795_255_200);
    let item = &event["data"]["object"]["items"]["data"][0];
    assert!(item["current_period_end"].is_i64());

    assert_eq!(
        charge_refunded(&head, "pi_1", 2000)["data"]["object"]["refunded"],
        true
    );
    assert_eq!(
        charge_refunded(&head, "pi_1", 500)["data"]["object"]["refunded"],
        false
    );
    assert_eq!(
        charge_dispute(&head, "pi_1", "won")["type"],
        "charge.dispute.closed"
    );
    let thin = head.thin("checkout.session.completed", ("checkout.session", "cs_1"));
    assert_eq!(thin["object"], "v2.core.event");
    assert!(thin.get("data").is_none());
}

#[test]
fn what_paid_an_invoice_is_named_where_its_version_names_it() {
    let (now, old) = (
        EventHead::new("evt_1", 7),
        EventHead::before_basil("evt_1", 7),
    );
    let mut invoice = Invoice {
        payment_intent: Some("pi_1".to_owned()),
        ..Invoice::new("in_1", "sub_1", "subscription_cycle")
    };
    let field = |event: &Value, pointer: &str| event["data"]["object"].pointer(pointer).cloned();
    assert_eq!(
        field(&invoice_paid(&now, &invoice), "/payment_intent"),
        None
    );
    invoice.shape = InvoiceShape::Payments;
    let listed = invoice_paid(&now, &invoice);
    let intent = field(&listed, "/payments/data/0/payment/payment_intent");
    assert_eq!(intent, Some("pi_1".into()));
    invoice.shape = InvoiceShape::TopLevel;
    let named = invoice_paid(&old, &invoice);
    assert_eq!(field(&named, "/charge"), Some("ch_pi_1".into()));
    assert_eq!(field(&named, "/payment_intent"), Some("pi_1".into()));

    let payment = invoice_payment_paid(&now, "in_1", "pi_1");
    assert_eq!(field(&payment, "/invoice"), Some("in_1".into()));
    assert_eq!(
        field(&payment, "/payment/payment_intent"),
        Some("pi_1".into())
    );
    for (head, invoice) in [(&now, None), (&old, Some("in_1".into()))] {
        let charge = charge_event(head, "refunded", ("pi_1", Some("in_1")), 2000);
        assert_eq!(field(&charge, "/invoice"), invoice);
        let intent = payment_intent_event(head, "succeeded", ("pi_1", Some("in_1")));
        assert_eq!(field(&intent, "/invoice"), invoice);
    }
}

#[test]
fn a_pause_is_told_by_the_status_and_its_details_since_endive() {
    let paused = Subscription::new("sub_1", "paused", 7);
    let details = |head: &EventHead, subscription: &Subscription| {
        let event = subscription_event(head, "updated", subscription);
        let object = &event["data"]["object"];
        (
            object["status"].clone(),
            object.get("status_details").is_some(),
        )
    };
    let now = EventHead::new("evt_1", 7);
    assert_eq!(details(&now, &paused), ("paused".into(), true));
    let old = EventHead::before_basil("evt_1", 7);
    assert_eq!(details(&old, &paused), ("paused".into(), false));
    let collection = Subscription {
        collection_paused: true,
        ..Subscription::new("sub_1", "active", 7)
    };
    assert_eq!(details(&now, &collection), ("active".into(), false));
    let event = subscription_event(&now, "updated", &collection);
    assert_eq!(
        event["data"]["object"]["pause_collection"]["behavior"],
        "void"
    );
}

#[test]
fn a_session_that_saves_a_card_buys_nothing() {
    let session = CheckoutSession::payment("cs_1", "pi_1", 7);
    let event = checkout_session_setup_completed(&EventHead::new("evt_1", 7), &session);
    let object = &event["data"]["object"];
    assert_eq!(
        (&object["mode"], &object["payment_intent"]),
        (&"setup".into(), &Value::Null)
    );
    assert_eq!(object["payment_status"], "no_payment_required");
}

#[test]
fn every_kind_is_there_in_both_shapes() {
    for (head, kinds) in [
        (EventHead::new("evt_1", 7), 30),
        (EventHead::before_basil("evt_1", 7), 29),
    ] {
        let all = every_kind(&head);
        let names: BTreeSet<&str> = all
            .iter()
            .filter_map(|event| event["type"].as_str())
            .collect();
        assert_eq!(names.len(), kinds, "{names:?}");
        for event in &all {
            assert_eq!(event["api_version"], head.api_version.as_str());
            assert!(event["data"]["object"]["id"].is_string(), "{event}");
        }
    }
}
