"""Read what is asked for, once and strictly, before the server behind is asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.tools.own_media import build_inner_url
from relay.tools.urls import MalformedUrlError, parse_url
from relay.web.edge import AmbiguousRequestError, parse_arrival
from relay.web.front import answers
from relay.web.gateway.asking import Asked

if TYPE_CHECKING:
    from aiohttp import web

    from relay.tools.urls import FetchUrl
    from relay.web.edge import Network
    from signatures.message import RequestMessage

_log = logging.getLogger(__name__)

_METHODS: Final = frozenset({"GET", "HEAD"})
# No body is passed on, so that none is announced.
_OF_THE_BODY: Final = frozenset({"content-length", "content-type"})
# RFC 9110 section 14.2: "A server MUST ignore a Range header field received with a request method that is
# unrecognized or for which range handling is not defined. For this specification, GET is the only method".
_RANGE: Final = frozenset({"range", "if-range"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontReader:
    """Read requests.

    Attributes:
        upstream: Where the server's own media are.
        paths: The beginnings of their paths.
        trusted_proxies: Who may say whom a request comes from.
        via: The name that our own requests carry.
    """

    upstream: FetchUrl
    paths: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    via: str

    def read(self, request: web.BaseRequest) -> Asked | web.Response:
        """Return what the server behind is asked, or the answer to a request that goes no further.

        It is asked with GET whatever is asked of us: without the bytes nobody knows whether they are served,
        and who asks for the head alone gets the same answer.
        """
        if request.method not in _METHODS:
            return answers.only_reading()
        try:
            message = parse_arrival(request, b"", trusted_proxies=self.trusted_proxies).message
        except AmbiguousRequestError:
            return answers.malformed()
        if not message.target.startswith(self.paths):
            return answers.withheld()
        if any(self.via in value for name, value in message.headers if name.lower() == "via"):
            _log.error(
                "media_front_asks_itself What exchange.media_upstream names leads back to the media front, "
                "so that no media is served. Name the server behind it, past the location that leads here."
            )
            return answers.looping()
        return self._build(message)

    def _build(self, message: RequestMessage) -> Asked | web.Response:
        dropped = _OF_THE_BODY | (_RANGE if message.method == "HEAD" else frozenset())
        if self.upstream.scheme == "https":
            # Another machine, which goes by its own name. What is beside us goes by the instance's.
            dropped |= {"host"}
        try:
            url = parse_url(build_inner_url(self.upstream, message.target))
        except MalformedUrlError:
            return answers.malformed()
        headers = tuple(pair for pair in message.headers if pair[0].lower() not in dropped)
        return Asked(method="GET", url=url, headers=headers)
