"""Turn what went wrong into HTTP answers; the only place that knows statuses.

Which status a sender gets decides whether it tries again, gives up, or cuts our whole instance off,
so the choices follow what senders do, not taste: never 404 or 410 for an inbox, never 5xx for
anything but being unable to store, 401 only for a signature that is surely bad.
"""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from signatures.http import ACCEPT_SIGNATURE

# Long enough for a restart or a full disk to be noticed, short enough for senders with few retries.
_RETRY_AFTER_S: Final = 60


# What peers sign by: the profile of FASP.
_ACCEPT_PEER_SIGNATURE: Final = 'sig1=("@method" "@target-uri" "content-digest");created;keyid;alg="ed25519"'


def _problem(
    status: int,
    title: str,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    more: dict[str, str | int] | None = None,
) -> web.Response:
    members = {"type": "about:blank", "status": status, "title": title, "detail": detail, **(more or {})}
    body = json.dumps(members)
    return web.Response(
        status=status, body=body.encode(), content_type="application/problem+json", headers=headers
    )


def malformed(detail: str) -> web.Response:
    """Answer a request that cannot be parsed."""
    return _problem(400, "Malformed request", detail)


def ambiguous(what: str) -> web.Response:
    """Answer a request that two servers could read differently, and close: what follows may be smuggled."""
    response = malformed(f"Two servers could read this request differently: {what}.")
    response.force_close()
    return response


def too_large(max_bytes: int) -> web.Response:
    """Answer a body over the limit."""
    return _problem(413, "Body too large", f"An activity may have at most {max_bytes} bytes.")


def too_slow() -> web.Response:
    """Answer a body that does not come to its end, and close: the rest of it would be read as a request."""
    response = _problem(408, "Body too slow", "The body did not arrive in time. Send the delivery again.")
    response.force_close()
    return response


def bad_signature(reason: str) -> web.Response:
    """Answer a delivery whose signature is missing or surely bad."""
    return _problem(
        401,
        "Signature refused",
        f"The request's signature was not accepted ({reason}). Sign it with the actor's current key.",
        {"Accept-Signature": ACCEPT_SIGNATURE},
    )


def bad_webhook_signature() -> web.Response:
    """Answer a webhook that was not signed with the secret that we share with its server."""
    return _problem(
        401,
        "Signature refused",
        "The X-Hub-Signature header is missing or does not fit the body. Compare uploads.secret with the "
        "secret that the server shows for this webhook.",
    )


def not_a_peer() -> web.Response:
    """Answer a signed request from somebody who is not a peer."""
    return _problem(403, "Not a peer", "This relay answers its peers only. Ask its admin to add your relay.")


def refused_peer_signature(detail: str) -> web.Response:
    """Answer a request of the peer API that is not signed by its profile, whoever made it."""
    return _problem(401, "Signature refused", detail, {"Accept-Signature": _ACCEPT_PEER_SIGNATURE})


def no_peer_of_ours(detail: str) -> web.Response:
    """Answer a request of the peer API from anybody who may not ask: who that is, is never said."""
    return _problem(403, "Not a peer", detail)


def asking_too_often() -> web.Response:
    """Answer a peer that asks more than it may."""
    return _problem(
        429,
        "Too many requests",
        "This relay bounds what each peer may ask in a minute. Ask again later.",
        {"Retry-After": str(_RETRY_AFTER_S)},
    )


def question_too_large(max_bytes: int) -> web.Response:
    """Answer a request of the peer API that is over the limit."""
    return _problem(413, "Body too large", f"This takes at most {max_bytes} bytes.")


def future_cursor() -> web.Response:
    """Answer a cursor that is beyond everything that was given out."""
    return _problem(
        400,
        "Future cursor",
        "This relay has not got as far as that. If it lost a part of its past, begin again from 0.",
        more={"error": "FutureCursor"},
    )


def too_broad(bits: int) -> web.Response:
    """Answer prefixes of too few bits, or so many that what begins with them does not fit into an answer."""
    return _problem(
        400,
        "Too broad",
        f"Prefixes have {bits} bits here, and what they bring must fit into an answer. Ask for fewer.",
        more={"error": "TooBroad", "bits": bits},
    )


def not_a_relay() -> web.Response:
    """Answer somebody who asks to follow the relay and does not exchange attestations."""
    return _problem(
        403,
        "Not a relay",
        "Only relays that attest what they scanned may follow this one. The actor has to be an Application "
        "or a Service, say so in generator.implements (FEP-844e), name endpoints.mediaScanApi, and publish "
        "its keys in assertionMethod and authentication (FEP-521a).",
    )


def alerts_not_agreed() -> web.Response:
    """Answer a peer that warns of what the two admins did not agree on."""
    return _problem(
        403,
        "Not agreed",
        "The admin of this relay did not agree with yours on alerts of this category.",
    )


def flooding() -> web.Response:
    """Answer a domain that sends more than its fair share."""
    return _problem(
        429,
        "Too many deliveries",
        "Slow down and send this again later.",
        {"Retry-After": str(_RETRY_AFTER_S)},
    )


def cannot_store() -> web.Response:
    """Answer a delivery that cannot be stored: the one reason for a 5xx to its sender."""
    return _problem(
        503,
        "Cannot accept deliveries",
        "The delivery was not stored. Send it again later.",
        {"Retry-After": str(_RETRY_AFTER_S)},
    )


def cannot_look() -> web.Response:
    """Answer when what was asked for cannot be looked up."""
    return _problem(
        503,
        "Cannot look it up",
        "The database does not answer. Ask again later.",
        {"Retry-After": str(_RETRY_AFTER_S)},
    )


def not_here(detail: str) -> web.Response:
    """Answer a request for something that this door does not serve."""
    return _problem(404, "Not here", detail)


def accepted() -> web.Response:
    """Answer a delivery that is safely stored, is a duplicate, or will never be shown: all alike."""
    return web.json_response({"status": "accepted"}, status=202)
