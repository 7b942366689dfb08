"""Stripe's own Python library verifies our signatures and reads our events."""

import json
import sys

import stripe

given = json.load(sys.stdin)
for case in given["events"]:
    payload, header = case["payload"], case["header"]
    event = stripe.Webhook.construct_event(payload, header, given["secret"], tolerance=None)
    assert event.object == "event" and event.type == case["type"], event
    assert event.data.object["id"]
    try:
        stripe.Webhook.construct_event(payload + " ", header, given["secret"], tolerance=None)
        raise AssertionError("an altered body was accepted")
    except stripe.SignatureVerificationError:
        pass

thin = given["thin"]
try:
    stripe.Webhook.construct_event(thin["payload"], thin["header"], given["secret"], None)
    raise AssertionError("a thin event passed as a snapshot")
except ValueError:
    pass
client = stripe.StripeClient("sk_test_unused")
note = client.parse_event_notification(thin["payload"], thin["header"], given["secret"], None)
assert note.related_object.id == "cs_1", note

session = stripe.Webhook.construct_event(
    given["events"][0]["payload"], given["events"][0]["header"], given["secret"], None
).data.object
assert session.payment_status == "paid" and session.subscription == "sub_1"
theirs = stripe.WebhookSignature.generate_signature_header(
    given["events"][0]["payload"], given["secret"], given["t"]
)
assert theirs == given["events"][0]["header"], theirs
print("stripe peer content")
