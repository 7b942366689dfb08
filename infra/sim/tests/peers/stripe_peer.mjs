// Stripe's own Node library verifies our signatures and reads our events.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import Stripe from "stripe";

const given = JSON.parse(readFileSync(0, "utf8"));
const stripe = new Stripe("sk_test_unused");
for (const { payload, header, type } of given.events) {
  const event = stripe.webhooks.constructEvent(payload, header, given.secret, 0);
  assert.equal(event.type, type);
  assert.ok(event.data.object.id);
  assert.throws(() => stripe.webhooks.constructEvent(payload, header, "whsec_other", 0));
  const theirs = stripe.webhooks.generateTestHeaderString({
    payload,
    secret: given.secret,
    timestamp: given.t,
  });
  assert.equal(theirs, header);
}
console.log("stripe node peer content");
