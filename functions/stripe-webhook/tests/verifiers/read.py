# Reads events as Stripe's Python library types them.
# In: JSON list of {payload, header, secret}. Out: JSON list of {kind, subscription, references,
# strange}: what each names, and the fields that Stripe's classes do not have.
import json
import sys

import stripe


def fields(kind):
    return {name for base in kind.__mro__ for name in getattr(base, "__annotations__", {})}


def id_of(value):
    return value if value is None or isinstance(value, str) else value.id


def of_session(session):
    if session.mode == "setup" or session.status == "expired":
        return None, []
    key = id_of(session.subscription) or session.id
    return key, [session.payment_intent, session.invoice]


def of_invoice(invoice):
    paid_by = [p.payment for p in invoice.payments.data] if "payments" in invoice.to_dict() else []
    named = [p.payment_intent for p in paid_by]
    return invoice.parent.subscription_details.subscription, [invoice.id, *named]


READ = {
    stripe.checkout.Session: of_session,
    stripe.Subscription: lambda o: (o.id, [o.latest_invoice]),
    stripe.Invoice: of_invoice,
    stripe.InvoicePayment: lambda o: (None, [o.invoice, o.payment.payment_intent]),
    stripe.PaymentIntent: lambda o: (None, [o.id, o.latest_charge]),
    stripe.Charge: lambda o: (None, [o.id, o.payment_intent]),
    stripe.Refund: lambda o: (None, [o.charge, o.payment_intent]),
    stripe.Dispute: lambda o: (None, [o.charge, o.payment_intent]),
    stripe.radar.EarlyFraudWarning: lambda o: (None, [o.charge, o.payment_intent]),
}


def read(case):
    event = stripe.Webhook.construct_event(
        case["payload"], case["header"], case["secret"], tolerance=None
    )
    found = event.data.object
    subscription, named = READ[type(found)](found)
    return {
        "kind": event.type,
        "subscription": id_of(subscription),
        "references": sorted(id_of(name) for name in named if name is not None),
        "strange": sorted(set(found.to_dict()) - fields(type(found))),
    }


print(json.dumps([read(case) for case in json.load(sys.stdin)]))
