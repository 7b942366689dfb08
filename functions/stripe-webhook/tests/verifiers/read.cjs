// Reads events with Stripe's JavaScript library.
// In: JSON list of {payload, header, secret}. Out: JSON list of {kind, id}.
const { readFileSync } = require("node:fs");
const stripe = new (require("stripe"))("sk_test_none");

const read = ({ payload, header, secret }) => {
  const event = stripe.webhooks.constructEvent(payload, header, secret, 0);
  return { kind: event.type, id: event.data.object.id };
};

console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(read)));
