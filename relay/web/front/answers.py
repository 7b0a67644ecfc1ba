"""What the media front answers itself; its statuses are read by whoever looks at the instance's media.

What is withheld is answered as what does not exist, like a path that the front does not serve. The server
behind may word its own answers otherwise: that the front gives none of a file says nothing about why.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from relay.model import FetchFailure

# Longer than most examinations; whoever asks again then finds the verdict.
_RETRY_AFTER_S: Final = 30
_TIMEOUTS: Final = frozenset((FetchFailure.TIMEOUT, FetchFailure.TOO_SLOW))


def _answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=body,
        content_type="text/plain",
        # What is withheld now may be released by a person, and the other way round.
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def withheld() -> web.Response:
    """Answer for what is not served, whatever the reason."""
    return _answer(404, b"Not found.\n")


def not_yet() -> web.Response:
    """Answer where nothing is known yet: the examination takes longer, or cannot be made now."""
    return _answer(503, b"Not available yet.\n", {"Retry-After": str(_RETRY_AFTER_S)})


def failed(failure: FetchFailure, /) -> web.Response:
    """Answer where the server behind could not be asked, or did not answer properly."""
    return _answer(504 if failure in _TIMEOUTS else 502, b"Not available.\n")


def bad_answer() -> web.Response:
    """Answer where the server's answer cannot be read, or not wholly."""
    return failed(FetchFailure.MALFORMED)


def malformed() -> web.Response:
    """Answer a request that two servers could read differently, and close: what follows may be smuggled."""
    response = _answer(400, b"This request cannot be read in one way.\n")
    response.force_close()
    return response


def only_reading() -> web.Response:
    """Answer a request that would change something: nothing can be changed here."""
    response = _answer(405, b"Media can only be read here.\n", {"Allow": "GET, HEAD"})
    response.force_close()
    return response


def looping() -> web.Response:
    """Answer a request that the front sent itself."""
    return _answer(508, b"This server was asked by itself.\n")
