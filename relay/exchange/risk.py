"""Say how unusual it would be to rely on a peer's word here: what is unusual is audited more often.

A peer that lies does so where it is least likely to be seen: about authors whom nobody knows yet, on a domain
that came up a moment ago, about a kind of media that it never spoke of. None of it says anything against
anybody, and so it costs a few audits more and nothing else. A cheap score of the media itself would say more;
there is none as long as every model is among the costly detectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import acquaintances
from relay.exchange.groups import guess_trust_group
from relay.tools.urls import MalformedUrlError

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection

NEW_FOR: Final = timedelta(days=1)
"""How long somebody is new: who posts a hundred pictures in a first hour is new with each of them."""

# What each is worth. On a settled relay few media are of anything new, so that all this adds some audits in a
# hundred; the simulation of the exchange, in which nothing is new, has ten in a hundred.
_NEW_AUTHOR: Final = 0.15
_NEW_DOMAIN: Final = 0.15
_NEW_KIND: Final = 0.10

MAX_RISK: Final = 1 - (1 - _NEW_AUTHOR) * (1 - _NEW_DOMAIN) * (1 - _NEW_KIND)
"""The risk of what is new in every way, about a third: a peer's word still spares most of it."""

_NAME_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """What is new about media that a peer speaks of.

    Attributes:
        author: Whoever pointed at it was not met before. Not where nobody is known to have: what comes
            through a media door has no author.
        domain: The server that it lies on was not.
        kind: The peer has not spoken of this type of media before.
    """

    author: bool = False
    domain: bool = False
    kind: bool = False


def decide_risk(unusual: Unusual) -> float:
    """Decide how much more often such media is audited, in [0, `MAX_RISK`]; 0 for what is in no way new."""
    ordinary = 1.0
    for is_new, weight in (
        (unusual.author, _NEW_AUTHOR),
        (unusual.domain, _NEW_DOMAIN),
        (unusual.kind, _NEW_KIND),
    ):
        ordinary *= 1.0 - weight * is_new
    return 1.0 - ordinary


async def find_unusual(
    conn: Connection, *, author: str | None, url: str, issuer: str, media_type: str, now: datetime
) -> Unusual:
    """Find out what is new about media, and note that it was met.

    Args:
        conn: The connection.
        author: The actor who pointed at it; None where that is not known.
        url: Where it lies; anything that is no URL where that is not known.
        issuer: The peer that speaks of it.
        media_type: Its type.
        now: The time.
    """
    kind = _name("kind", issuer, media_type)
    who = None if author is None else _name("author", author)
    where = _find_domain(url)
    met = await acquaintances.meet(conn, [one for one in (kind, who, where) if one is not None], now=now)
    new = {name for name, since in met.items() if since > now - NEW_FOR}
    return Unusual(author=who in new, domain=where in new, kind=kind in new)


def _find_domain(url: str) -> bytes | None:
    """Name the registrable domain: subdomains cost nothing to make and nothing to look new with."""
    try:
        return _name("domain", guess_trust_group(url))
    except MalformedUrlError:
        return None


def _name(*parts: str) -> bytes:
    joined = "\n".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).digest()[:_NAME_BYTES]
