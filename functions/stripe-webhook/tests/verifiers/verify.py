# Asks Stripe's Python library what it says to each case.
# In: JSON list of {header, secret, now} and the body as argument. Out: JSON list of booleans.
import json
import sys

import stripe
import stripe._webhook


def holds(case):
    stripe._webhook.time.time = lambda: float(case["now"])
    try:
        stripe.Webhook.construct_event(sys.argv[1], case["header"], case["secret"])
        return True
    except (stripe.SignatureVerificationError, ValueError):
        return False


print(json.dumps([holds(case) for case in json.load(sys.stdin)]))
