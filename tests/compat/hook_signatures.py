"""Signs a webhook with the libraries of Stripe and of Slack, as their services do.

usage: hook_signatures.py stripe|slack|check-slack < body
Environment: SECRET, TIMESTAMP (seconds), SIGNATURE (check-slack). Prints the signature's header; check-slack prints True.
"""
import os
import sys

body = sys.stdin.buffer.read().decode()
kind, secret, timestamp = sys.argv[1], os.environ["SECRET"], os.environ["TIMESTAMP"]
if kind == "stripe":
    import stripe

    # The library's own way to make what its tests and its users' tests send.
    print(stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=int(timestamp)))
else:
    from slack_sdk.signature import SignatureVerifier

    verifier = SignatureVerifier(secret)
    if kind == "slack":
        print(verifier.generate_signature(timestamp=timestamp, body=body))
    else:
        print(verifier.is_valid(body, timestamp, os.environ["SIGNATURE"]))
