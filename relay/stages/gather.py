"""Gather: what do peers say about exactly these bytes?

The ways, in the order in which they are tried: the attestation that came with the bytes, the one that stood
in the activity, what was received before, the relay of the server that the bytes came from, and others by a
part of the digest. What is at hand comes first: it takes no time, and tells nobody what our people look at.
What a word is worth, and what follows from it, is another stage's to say; see `relay.stages.rely`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from db import mirror, peers
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.exchange.client import PeerFailure
from relay.exchange.equivocators import hold_against_issuers
from relay.exchange.groups import guess_trust_group
from relay.exchange.intake import admit_page
from relay.exchange.prefixes import cut_prefix, decide_bits
from relay.exchange.standings import choose_word, find_words
from relay.tools.urls import MalformedUrlError, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from db.peers import Peer
    from relay.exchange.peer_tools import PeerTools
    from relay.exchange.standings import Word
    from relay.model import Media, MediaReference

_log = logging.getLogger(__name__)

# Several relays of one operator may stand for a server; a look-up tells each what we have.
_MAX_ORIGINS: Final = 2
# Each takes a part of the short time that asking may take.
_MAX_BUCKETED: Final = 4
_POLL: Final = timedelta(milliseconds=500)


class Reach(StrEnum):
    """How far it is gone for the word of a peer."""

    NOWHERE = "nowhere"
    """Media of our own people, and what is looked at to be sure: peers have no say."""
    AT_HAND = "at_hand"
    """Nobody is asked: not about media that not everybody may see, nor while a backend waits."""
    ASKING = "asking"
    """Media of public deliveries."""


async def is_worth_asking(tools: PeerTools) -> bool:
    """Tell whether there is anything that a peer's word could spare, and a peer whose word is weighed.

    Raises:
        DatabaseError: It cannot be known.
    """
    if not tools.costly:
        return False
    async with tools.database.connection() as conn:
        return bool(await peers.list_approved(conn))


def find_hosts(*urls: str | None) -> tuple[str, ...]:
    """Find the servers that bytes came from, each with its port where that is not the usual one."""
    found: list[str] = []
    for url in urls:
        try:
            authority = parse_url(url or "").authority
        except MalformedUrlError:
            continue
        found.append(authority)
    return tuple(dict.fromkeys(found))


async def gather_words(
    media: Media,
    reference: MediaReference,
    *,
    reach: Reach,
    hosts: Sequence[str],
    tools: PeerTools,
) -> tuple[Word, ...]:
    """Find what approved peers attest about these bytes, and what the word of each is worth.

    Args:
        media: The bytes.
        reference: What pointed at them.
        reach: How far to go.
        hosts: Where they came from: the media's own host and the sender's.
        tools: What to look with.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with tools.database.connection() as conn:
        approved = await peers.list_approved(conn)
    if not approved:
        return ()
    carried = (
        media.attestation if tools.steps.uses_headers else None,
        reference.attestation if tools.steps.uses_inline else None,
    )
    # To fetch a peer's keys again is to ask somebody, too.
    is_asking = reach is Reach.ASKING
    at_hand = tools if is_asking else replace(tools, refetch=None)
    await _take_in((one for one in carried if one is not None), media.sha256, approved, tools=at_hand)
    words = await recall_words(media.sha256, tools=tools)
    if not is_asking or choose_word(words, now=tools.clock.now()) is not None:
        return words
    # Many deliveries bring the same bytes at once; one asks, and waits, for all of them.
    return await tools.gathering.share(
        media.sha256, lambda: _ask_and_wait(media.sha256, hosts, approved, tools=tools)
    )


async def recall_words(sha256: bytes, *, tools: PeerTools) -> tuple[Word, ...]:
    """Find what was received about these bytes, as far as it still holds.

    Raises:
        DatabaseError: It cannot be known.
    """
    now = tools.clock.now()
    async with tools.database.connection() as conn:
        stored = await mirror.find_mirrored(conn, sha256, now=now)
    if not stored:
        return ()
    # Keys are revoked and states taken back: what was verified once is verified again before it counts.
    admitted = await admit_page(
        [one.object for one in stored], database=tools.database, now=now, allow_http=tools.allow_http
    )
    async with tools.database.connection() as conn:
        return await find_words(conn, _of(admitted, sha256), covers=tools.profiles.covers, now=now)


async def _ask_and_wait(
    sha256: bytes, hosts: Sequence[str], approved: Sequence[Peer], *, tools: PeerTools
) -> tuple[Word, ...]:
    try:
        async with asyncio.timeout(tools.steps.ask_within.total_seconds()):
            await _ask(sha256, hosts, approved, tools=tools)
    except TimeoutError:
        pass  # What came in time is stored.
    words = await recall_words(sha256, tools=tools)
    if not any(one.tier in {Tier.TRUSTED, Tier.ALLIED} for one in approved):
        return words
    give_up = tools.clock.monotonic() + tools.steps.patience.total_seconds()
    while choose_word(words, now=tools.clock.now()) is None and tools.clock.monotonic() < give_up:
        await asyncio.sleep(_POLL.total_seconds())
        words = await recall_words(sha256, tools=tools)
    return words


async def _ask(sha256: bytes, hosts: Sequence[str], approved: Sequence[Peer], *, tools: PeerTools) -> None:
    origins = [one for one in approved if any(_is_of(host, one) for host in hosts)][:_MAX_ORIGINS]
    if tools.steps.asks_origin:
        for peer in origins:
            await _take_answer(await tools.asker.lookup(peer, (sha256,)), sha256, peer, tools=tools)
    if not tools.steps.asks_buckets:
        return
    words = await recall_words(sha256, tools=tools)
    others = [one for one in approved if one not in origins and one.tier in {Tier.TRUSTED, Tier.ALLIED}]
    for peer in others[:_MAX_BUCKETED]:
        if choose_word(words, now=tools.clock.now()) is not None:
            return
        await _ask_bucket(sha256, peer, tools=tools)
        words = await recall_words(sha256, tools=tools)


async def _ask_bucket(sha256: bytes, peer: Peer, *, tools: PeerTools) -> None:
    now = tools.clock.now()
    async with tools.database.connection() as conn:
        counts = await mirror.count_mirrored(conn, now=now)
    bits = decide_bits(counts.get(peer.actor, 0))
    answer = await tools.asker.buckets(peer, (cut_prefix(sha256, bits=bits),))
    if isinstance(answer, PeerFailure) and answer.bits is not None and answer.bits > bits:
        # It has more than we had seen of it.
        answer = await tools.asker.buckets(peer, (cut_prefix(sha256, bits=answer.bits),))
    await _take_answer(answer, sha256, peer, tools=tools)


async def _take_answer(
    answer: tuple[bytes, ...] | PeerFailure, sha256: bytes, peer: Peer, *, tools: PeerTools
) -> None:
    if isinstance(answer, PeerFailure):
        _log.info("peer_not_asked peer=%s reason=%s", peer.domain, answer.reason.value)
        return
    await _take_in(answer, sha256, (peer,), tools=tools)


async def _take_in(
    raws: Iterable[bytes], sha256: bytes, approved: Sequence[Peer], *, tools: PeerTools
) -> None:
    """Verify and store what came; of these bytes, and of peers whose word is weighed, alone."""
    given = list(raws)
    if not given:
        return
    now = tools.clock.now()
    admitted = await admit_page(
        given, database=tools.database, now=now, refetch=tools.refetch, allow_http=tools.allow_http
    )
    await hold_against_issuers(admitted, database=tools.database, now=now, on_doubt=tools.on_doubt)
    actors = {one.actor for one in approved}
    kept = [one for one in _of(admitted, sha256) if one.issuer in actors]
    if kept:
        # Its first receipt is what a thief of the key cannot back-date.
        async with tools.database.transaction(waits_for_disk=False) as conn:
            await mirror.put_mirrored(conn, kept)


def _of(admitted: Iterable[object], sha256: bytes) -> list[MirroredAttestation]:
    return [one for one in admitted if isinstance(one, MirroredAttestation) and one.sha256 == sha256]


def _is_of(host: str, peer: Peer) -> bool:
    """Tell whether a peer is the relay of a server: of the same name, or of the same operator."""
    if host == peer.domain or host.endswith(f".{peer.domain}"):
        return True
    try:
        group = guess_trust_group(f"https://{host}/")
        return group in {peer.trust_group, guess_trust_group(peer.actor)}
    except MalformedUrlError:
        return False
