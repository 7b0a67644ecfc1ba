"""Read what the backend asks for, once and strictly, before anybody is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.tools.urls import FetchUrl, MalformedUrlError, parse_url
from relay.web.gateway import answers

if TYPE_CHECKING:
    from aiohttp import web

    from relay.web.gateway.access import Access
    from signatures.message import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the backend asks for.

    Attributes:
        method: As it was sent.
        url: Where; the target as it was sent.
        headers: As they were sent, each octet one character.
    """

    method: str
    url: FetchUrl
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Read requests.

    Attributes:
        access: Who may ask, and for what.
        via: The name that our own requests carry.
    """

    access: Access
    via: str

    def read(self, request: web.BaseRequest, tunnel: FetchUrl | None) -> Asked | web.Response:
        """Return what is asked for, or the answer to a request that goes no further.

        Args:
            request: As the server read it.
            tunnel: The origin that the connection was opened for; None where there was no CONNECT.
        """
        headers = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
        )
        if tunnel is None and not self.access.admits_password(headers):
            return answers.unauthorized()
        if _names_protocol(headers):
            return answers.no_upgrade()
        url = _read_url(request.raw_path, headers, tunnel)
        if url is None or request.method == "CONNECT":
            return answers.malformed()
        if any(self.via in value for name, value in headers if name.lower() == "via"):
            return answers.looping()
        if not self.access.admits(url):
            return answers.withheld()
        return Asked(method=request.method, url=url, headers=headers)


def _names_protocol(headers: Headers) -> bool:
    """Tell whether a request would go on in another protocol; a mere offer of HTTP/2 may be ignored."""
    return any(name.lower() == "upgrade" and value.strip().lower() != "h2c" for name, value in headers)


def _read_url(target: str, headers: Headers, tunnel: FetchUrl | None) -> FetchUrl | None:
    """Return the URL that a request is for; None where two programs could read another one."""
    hosts = [value for name, value in headers if name.lower() == "host"]
    if len(hosts) > 1:
        return None
    try:
        if tunnel is not None and target.startswith("/"):
            url = parse_url(f"{tunnel.scheme}://{tunnel.authority}{target}")
        else:
            url = parse_url(target)
        scheme = "http" if tunnel is None else tunnel.scheme
        # RFC 9112 section 3.2.2 has a proxy ignore Host where the target is absolute; the origin would not,
        # and may serve another site by it.
        is_same = all(
            host == url.authority or parse_url(f"{scheme}://{host}/").origin == url.origin for host in hosts
        )
    except MalformedUrlError:
        return None
    if tunnel is None:
        return url if is_same and url.scheme == "http" else None
    return url if is_same and hosts and url.origin == tunnel.origin else None
