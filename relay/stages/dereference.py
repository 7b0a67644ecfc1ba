"""Dereference: fetch what an activity only names, each object at its own origin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from relay.errors import MalformedActivityError
from relay.model import Activity, Evidence, EvidenceBasis, FetchFailure, Location, MediaReference
from relay.tools.urls import is_same_origin
from signatures.strictjson import JsonValue

if TYPE_CHECKING:
    from relay.tools.documents import Document
    from relay.tools.fetching import Signer

# An announced activity that names an activity that names an object; and one more.
_MAX_DEPTH: Final = 4

# Documents fetched for one delivery, in all. Servers announce one object at a time.
_MAX_DOCUMENTS: Final = 20

Extract = Callable[[JsonValue], Activity]
"""Read what a document points at; raises MalformedActivityError where it is no object."""


class DocumentSource(Protocol):
    """What fetches ActivityPub documents."""

    async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
        """Fetch a document, signed if a signer is given."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What an activity only names.

    Attributes:
        references: The media references of the named objects.
        unknown: Evidence of not knowing, for each object that could not be had.
        is_truncated: There was more than is followed or read.
    """

    references: tuple[MediaReference, ...]
    unknown: tuple[Evidence, ...]
    is_truncated: bool


async def follow(
    activity: Activity, *, extract: Extract, client: DocumentSource, signer: Signer, deadline: float
) -> Named:
    """Fetch what an activity names, and what that names in turn.

    Args:
        activity: The activity.
        extract: Reads what was fetched.
        client: Fetches it.
        signer: Signs the requests, for origins that answer no others.
        deadline: When to end, by the loop's clock; what was not fetched by then is not known.
    """
    references: list[MediaReference] = []
    unknown: list[Evidence] = []
    is_truncated = False
    seen: set[str] = set()
    pending = activity.dereference
    for _ in range(_MAX_DEPTH):
        urls = [url for url in dict.fromkeys(pending) if url not in seen]
        room = _MAX_DOCUMENTS - len(seen)
        is_truncated = is_truncated or len(urls) > room
        seen.update(urls[:room])
        pending = ()
        for url in urls[:room]:
            try:
                async with asyncio.timeout_at(deadline):
                    named = await _fetch_named(url, extract=extract, client=client, signer=signer)
            except TimeoutError:
                named = FetchFailure.TIMEOUT
            if isinstance(named, FetchFailure):
                unknown.append(_not_known(url, named))
                continue
            references += named.references
            pending += named.dereference
            is_truncated = is_truncated or named.is_truncated
    is_truncated = is_truncated or not seen.issuperset(pending)
    return Named(references=tuple(references), unknown=tuple(unknown), is_truncated=is_truncated)


async def _fetch_named(
    url: str, *, extract: Extract, client: DocumentSource, signer: Signer
) -> Activity | FetchFailure:
    """Fetch an object and read it; MALFORMED for one that its own origin does not vouch for."""
    document = await client.fetch_document(url, signer=signer)
    if isinstance(document, FetchFailure):
        return document
    # FEP-fe34: an object is believed only from the origin that its id names.
    identifier = document.value.get("id")
    if not isinstance(identifier, str) or not is_same_origin(identifier, document.url):
        return FetchFailure.MALFORMED
    try:
        return extract(document.value)
    except MalformedActivityError:
        return FetchFailure.MALFORMED


def _not_known(url: str, failure: FetchFailure) -> Evidence:
    reference = MediaReference(url=url, location=Location.ELSEWHERE)
    return Evidence(reference=reference, basis=EvidenceBasis.FETCH, failure=failure)
