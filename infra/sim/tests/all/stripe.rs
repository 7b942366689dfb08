//! Stripe's signature against known vectors, and the shapes of the events.

use sim::stripe::events::{
    charge_dispute, charge_refunded, checkout_session_completed, invoice_paid, subscription_event,
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
