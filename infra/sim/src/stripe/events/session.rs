//! Checkout sessions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{EventHead, with};

/// Whether the money is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStatus {
    /// It is.
    Paid,
    /// Not yet: a delayed payment method.
    Unpaid,
    /// Nothing to pay: trial, full discount, zero amount.
    NoPaymentRequired,
}

impl PaymentStatus {
    /// Stripe's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Unpaid => "unpaid",
            Self::NoPaymentRequired => "no_payment_required",
        }
    }
}

/// A Checkout Session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutSession {
    /// `cs_…`
    pub id: String,
    /// `sub_…`; none makes it a one-off payment (`mode: payment`).
    pub subscription: Option<String>,
    /// `cus_…`
    pub customer: Option<String>,
    /// `pi_…` of a one-off payment.
    pub payment_intent: Option<String>,
    /// Whether the money is there.
    pub payment_status: PaymentStatus,
    /// What the shop put in; a buyer can change it on a Payment Link.
    pub client_reference_id: Option<String>,
    /// Of the session alone: Stripe does not copy it to the subscription.
    pub metadata: BTreeMap<String, String>,
    /// The buyer's address.
    pub email: Option<String>,
    /// Smallest unit of the currency.
    pub amount_total: i64,
    /// Unix seconds.
    pub created: i64,
}

impl CheckoutSession {
    /// A paid session of a subscription.
    pub fn subscription(id: &str, subscription: &str, created: i64) -> Self {
        Self {
            id: id.to_owned(),
            subscription: Some(subscription.to_owned()),
            customer: Some("cus_sim".to_owned()),
            payment_intent: None,
            payment_status: PaymentStatus::Paid,
            client_reference_id: None,
            metadata: BTreeMap::new(),
            email: Some("buyer@example.com".to_owned()),
            amount_total: 2000,
            created,
        }
    }

    /// A paid session of a one-off payment.
    pub fn payment(id: &str, payment_intent: &str, created: i64) -> Self {
        Self {
            subscription: None,
            payment_intent: Some(payment_intent.to_owned()),
            ..Self::subscription(id, "", created)
        }
    }

    /// The session object with the given `status`.
    fn object(&self, status: &str, livemode: bool) -> Value {
        let subscribed = self.subscription.is_some();
        let invoice = self.subscription.as_ref().map(|id| format!("in_{id}"));
        json!({
            "id": self.id, "object": "checkout.session",
            "mode": if subscribed { "subscription" } else { "payment" }, "status": status,
            "payment_status": self.payment_status.as_str(),
            "client_reference_id": self.client_reference_id, "metadata": self.metadata,
            "customer": self.customer, "customer_account": null,
            "subscription": self.subscription, "invoice": invoice,
            "payment_intent": self.payment_intent, "amount_total": self.amount_total,
            "amount_subtotal": self.amount_total, "currency": "usd",
            "customer_details": {"email": self.email, "name": null, "phone": null},
            "customer_email": null, "created": self.created,
            "expires_at": self.created.saturating_add(86_400), "livemode": livemode,
            "payment_method_types": ["card"], "success_url": "https://shop.example.com/thanks",
        })
    }
}

/// `checkout.session.completed`, with the session's own payment status.
pub fn checkout_session_completed(head: &EventHead, session: &CheckoutSession) -> Value {
    let object = session.object("complete", head.livemode);
    head.around("checkout.session.completed", &object)
}

/// `checkout.session.async_payment_succeeded`: the delayed money came.
pub fn checkout_session_async_payment_succeeded(
    head: &EventHead,
    session: &CheckoutSession,
) -> Value {
    let paid = CheckoutSession {
        payment_status: PaymentStatus::Paid,
        ..session.clone()
    };
    let object = paid.object("complete", head.livemode);
    head.around("checkout.session.async_payment_succeeded", &object)
}

/// `checkout.session.async_payment_failed`: the delayed money will not come.
pub fn checkout_session_async_payment_failed(head: &EventHead, session: &CheckoutSession) -> Value {
    let unpaid = CheckoutSession {
        payment_status: PaymentStatus::Unpaid,
        ..session.clone()
    };
    let object = unpaid.object("complete", head.livemode);
    head.around("checkout.session.async_payment_failed", &object)
}

/// `checkout.session.expired`: nobody paid in time.
pub fn checkout_session_expired(head: &EventHead, session: &CheckoutSession) -> Value {
    let unpaid = CheckoutSession {
        payment_status: PaymentStatus::Unpaid,
        ..session.clone()
    };
    let object = unpaid.object("expired", head.livemode);
    head.around("checkout.session.expired", &object)
}

/// `checkout.session.completed` of a session that only saved a card: nothing is due, nothing was
/// bought.
pub fn checkout_session_setup_completed(head: &EventHead, session: &CheckoutSession) -> Value {
    let saved = CheckoutSession {
        subscription: None,
        payment_intent: None,
        payment_status: PaymentStatus::NoPaymentRequired,
        ..session.clone()
    };
    let setup = json!({"mode": "setup", "amount_total": null, "setup_intent": "seti_sim"});
    let object = with(saved.object("complete", head.livemode), setup);
    head.around("checkout.session.completed", &object)
}
