"""What it takes to let the word of a peer spare a scan."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from db.peers import Peer
    from db.pool import Database
    from relay.clock import Clock
    from relay.exchange.client import PeerFailure
    from relay.exchange.intake import Refetch
    from relay.exchange.prefixes import Prefix
    from relay.exchange.standings import ProfileRule, Word
    from relay.exchange.weighing import OnDoubt
    from relay.tools.flights import Flights
    from relay.tools.spool import Spool
    from scanner.scan import Begun
    from signatures.strictjson import JsonObject


class PeerAsker(Protocol):
    """Asks peers; see `relay.exchange.client`."""

    async def lookup(  # noqa: D102 (as there)
        self, peer: Peer, digests: Sequence[bytes]
    ) -> tuple[bytes, ...] | PeerFailure: ...
    async def buckets(  # noqa: D102
        self, peer: Peer, prefixes: Sequence[Prefix]
    ) -> tuple[bytes, ...] | PeerFailure: ...
    async def state(self, peer: Peer, digest: bytes) -> JsonObject | PeerFailure: ...  # noqa: D102
    async def opening(self, peer: Peer, commitment: bytes) -> bytes | PeerFailure: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Which ways to a peer's word are open, and for how long.

    Attributes:
        uses_headers: What comes with the bytes is read.
        uses_inline: What stands in an activity is read.
        asks_origin: The relay of the server that media came from is asked.
        asks_buckets: Others are asked, by a part of the digest.
        ask_within: How long asking may take altogether.
        patience: How long a delivery may wait for a word of somebody who is relied on.
    """

    uses_headers: bool
    uses_inline: bool
    asks_origin: bool
    asks_buckets: bool
    ask_within: timedelta
    patience: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTools:
    """What the consult and rely stages, and audits, work with.

    Attributes:
        database: What peers attested, and what their word is worth.
        clock: The time.
        steps: Which ways are open.
        asker: Asks peers.
        refetch: Fetches a peer's keys again.
        costly: The names of the detectors that a peer's word may spare.
        profiles: Which profiles of peers cover what we look for.
        retained: Where bytes that are to be audited lie sealed until then; nothing else is in it.
        gathering: Who is asked about which bytes now.
        beginning: Which bytes are looked up in the lists now.
        on_doubt: Told when our audits make a peer doubtful.
        allow_http: Admit peers without TLS, in test set-ups.
        chance: A number in [0, 1) that nobody foresees: the coin of audits is a secret.
    """

    database: Database
    clock: Clock
    steps: Steps
    asker: PeerAsker
    refetch: Refetch | None
    costly: frozenset[str]
    profiles: ProfileRule
    retained: Spool
    gathering: Flights[bytes, tuple[Word, ...]]
    beginning: Flights[tuple[bytes, str | None, bytes], Begun]
    on_doubt: OnDoubt | None = None
    allow_http: bool = False
    chance: Callable[[], float] = field(default=secrets.SystemRandom().random)
