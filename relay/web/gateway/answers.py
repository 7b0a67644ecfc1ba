"""What the gateway answers itself, in the words of a proxy; its statuses are read by the backend alone.

Every refusal looks like every other, so that nobody learns from the answer what was found or where
something listens. What may go otherwise next time is a 5xx: servers try again after one (Mastodon's
redownload does), and give up at a 403.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from relay.model import FetchFailure

# Longer than most examinations, shorter than the first retry of the servers that have one.
_RETRY_AFTER_S: Final = 30

_REFUSED: Final = b"Not available through this proxy.\n"
_LATER: Final = b"Not available through this proxy yet.\n"
_TIMEOUTS: Final = frozenset((FetchFailure.TIMEOUT, FetchFailure.TOO_SLOW))
_REFUSALS: Final = frozenset((FetchFailure.REFUSED_URL, FetchFailure.REFUSED_ADDRESS))
_CHALLENGE: Final = 'Basic realm="Breakwater gateway", charset="UTF-8"'

CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


def _answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        content_type="text/plain",
        # What is withheld now may be released by a person, and the other way round.
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def withheld() -> web.Response:
    """Answer for what is not delivered, whatever the reason."""
    return _answer(403, _REFUSED)


def not_yet() -> web.Response:
    """Answer where nothing is known yet: the examination takes longer, or cannot be made now."""
    return _answer(503, _LATER, {"Retry-After": str(_RETRY_AFTER_S)})


def failed(failure: FetchFailure) -> web.Response:
    """Answer for a server that could not be asked, or did not answer properly."""
    if failure in _REFUSALS:
        return withheld()
    return _answer(504 if failure in _TIMEOUTS else 502, _REFUSED)


def malformed() -> web.Response:
    """Answer a request that cannot be read in one way, and close: what follows may be smuggled."""
    response = _answer(400, b"This proxy cannot read the request.\n")
    response.force_close()
    return response


def unauthorized() -> web.Response:
    """Ask for the proxy's password."""
    return _answer(407, b"This proxy needs its password.\n", {"Proxy-Authenticate": _CHALLENGE})


def no_upgrade() -> web.Response:
    """Decline another protocol inside the connection: nothing in it could be examined."""
    response = _answer(501, b"This proxy speaks HTTP/1.1 only.\n")
    response.force_close()
    return response


def looping() -> web.Response:
    """Answer a request that this gateway sent itself."""
    return _answer(508, b"This proxy was asked by itself.\n")


def refuse_connect(status: int) -> bytes:
    """Build the answer to a CONNECT that is refused; the connection ends with it."""
    challenge = f"Proxy-Authenticate: {_CHALLENGE}\r\n" if status == PASSWORD_NEEDED else ""
    return (
        f"HTTP/1.1 {status} Refused\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode()


MALFORMED: Final = 400
FORBIDDEN: Final = 403
PASSWORD_NEEDED: Final = 407
HEAD_TOO_LONG: Final = 431


def status_of(failure: FetchFailure) -> int:
    """Return the status with which a CONNECT to a server that cannot be reached is refused."""
    if failure in _REFUSALS:
        return FORBIDDEN
    return 504 if failure in _TIMEOUTS else 502


def bad_answer() -> web.Response:
    """Answer for a server whose answer cannot be read, or not wholly."""
    return failed(FetchFailure.MALFORMED)
