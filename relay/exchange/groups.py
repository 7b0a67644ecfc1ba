"""Guess which relays are one operator's, so that several of them are one voice where votes are counted.

The guess is the registrable domain of the actor's host. The lists of public suffixes are long and change, and
what counts here is only that nobody gets several voices by making subdomains; so the rule is a short one that
errs towards one group: the last two labels, or three where the second to last is one under which a country's
registry sells names (`co.uk`, `com.au`). Whoever runs relays under several domains, or shares one with
strangers, gets a group by hand: `breakwater peers add --group NAME`. In which network (ASN) an address lies
cannot be known without asking a third party, and is left out.
"""

from __future__ import annotations

from typing import Final

from relay.tools.urls import parse_url

# Second-level names that registries of countries keep to sell names under.
_SOLD_UNDER: Final = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ltd", "me", "net", "ne", "nom", "or", "org", "plc"}
)
_COUNTRY_LABEL: Final = 2
_REGISTERED: Final = 2


def guess_trust_group(actor: str) -> str:
    """Return the registrable domain of an actor's host; an address, with its port, stands for itself.

    Raises:
        MalformedUrlError: It is no URL.
    """
    url = parse_url(actor)
    if url.address is not None:
        return url.authority
    labels = url.host.split(".")
    is_sold_under = (
        len(labels[-1]) == _COUNTRY_LABEL and len(labels) > _REGISTERED and labels[-2] in _SOLD_UNDER
    )
    return ".".join(labels[-(_REGISTERED + is_sold_under) :])
