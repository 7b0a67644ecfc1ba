"""Run the synchronous scanner from asynchronous code, with as many threads as it has workers.

The state of the scanner (decoders, lists, models, thresholds) is published as the digest of a salted
document: peers see that it changed and, if we let them read the document, what it is; nobody can guess
a list's name from the digest.
"""

from __future__ import annotations

import asyncio
import hmac
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.tools.kept_hashes import read_hashes
from scanner.reduced import encode_copies
from scanner.report import UnscannableReason
from signatures.encoding import encode_base64url
from signatures.jcs import digest_of_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from db.media_hashes import MediaHashes
    from scanner.hashlist import HashList
    from scanner.reduced import Copy
    from scanner.report import PdqHash, Report
    from scanner.scan import Begun, Recheck, Scanner
    from signatures.strictjson import JsonObject

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedState:
    """The scanner's state as others may know it.

    Attributes:
        digest: SHA-256 of the canonical salted document.
        document: The salted document, for authenticated peers only.
        as_of: Since when the scanner is in this state.
    """

    digest: bytes
    document: JsonObject
    as_of: datetime


def build_state(document: JsonObject, *, secret: bytes, now: datetime, turn: int = 0) -> PublishedState:
    """Salt a state document and take its digest; the same state gives the same digest on this install.

    Args:
        document: What the scanner is made of.
        secret: The installation's own.
        now: Since when it is.
        turn: How often this very state was taken back before: a digest that was never returns.
    """
    inner = digest_of_document(document)
    times = turn.to_bytes(8, "big") if turn else b""
    salt = hmac.digest(secret, b"scanner state" + inner + times, "sha256")[:_SALT_BYTES]
    salted: JsonObject = {**document, "salt": encode_base64url(salt)}
    return PublishedState(
        digest=digest_of_document(salted),
        document=salted,
        as_of=now.replace(microsecond=0),
    )


class Scanning:
    """The scanner, awaited."""

    def __init__(
        self,
        scanner: Scanner,
        executor: ThreadPoolExecutor,
        *,
        secret: bytes,
        now: datetime,
        services: Sequence[JsonObject] = (),
    ) -> None:
        self._scanner = scanner
        self._executor = executor
        self._secret = secret
        self._services = tuple(services)
        self._turn = 0
        self._state, self._local_digest = self._build_states(now)
        # It changes with the state: whoever compares with these lists must find no verdict of before.
        self._lists_digest = scanner.lists_digest

    @property
    def published_state(self) -> PublishedState:
        """What the scanner is made of now."""
        return self._state

    @property
    def state_digest(self) -> bytes:
        """Under what verdicts are kept."""
        return self._state.digest

    @property
    def local_digest(self) -> bytes:
        """Under what verdicts are kept that rest on our own detectors alone, without any service."""
        return self._local_digest

    def count_restarts(self) -> int:
        """Count the decoder processes that crashed or were killed since the start."""
        pool = self._scanner.health().pool
        return pool.crashes + pool.timeouts

    def date_state(self, as_of: datetime) -> None:
        """Set since when the present state holds, if it is older than this process."""
        self._state = PublishedState(
            digest=self._state.digest, document=self._state.document, as_of=as_of.replace(microsecond=0)
        )

    def salt_anew(self) -> None:
        """Give the present state another digest, because it was taken back under the one it has."""
        self._turn += 1
        self._state, self._local_digest = self._build_states(self._state.as_of)

    def _build_states(self, now: datetime) -> tuple[PublishedState, bytes]:
        """Build the state, and the digest of what it is without services."""
        document = self._scanner.state().document
        local = build_state(document, secret=self._secret, now=now, turn=self._turn)
        if not self._services:
            return local, local.digest
        whole = {**document, "detectors": [*document["detectors"], *self._services]}
        return build_state(whole, secret=self._secret, now=now, turn=self._turn), local.digest

    async def scan(self, data: bytes, *, declared_type: str | None) -> tuple[Begun, Report]:
        """Scan bytes in a thread, which waits for a sandboxed worker; return what there is to keep, too."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._scan, data, declared_type)

    def _scan(self, data: bytes, declared_type: str | None) -> tuple[Begun, Report]:
        begun = self._scanner.begin(data, declared_type=declared_type)
        return begun, self._scanner.finish(begun)

    @property
    def lists_digest(self) -> bytes:
        """The digest of the lists that media are compared with now."""
        return self._lists_digest

    @property
    def costly_detectors(self) -> frozenset[str]:
        """The names of the detectors that a peer's word could spare; empty where there are none."""
        return self._scanner.costly_detectors | {str(one["name"]) for one in self._services}

    async def begin(self, data: bytes, *, declared_type: str | None) -> Begun:
        """Look bytes up in the lists, in a thread, without the costly detectors."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, lambda: self._scanner.begin(data, declared_type=declared_type)
        )

    async def finish(self, begun: Begun) -> Report:
        """Ask the costly detectors, too, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: self._scanner.finish(begun))

    async def recheck(self, kept: Sequence[MediaHashes]) -> tuple[Recheck, ...]:
        """Compare kept hashes with the lists as they are now, in a thread; only what can be read counts."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, lambda: tuple(self._scanner.recheck(*read_hashes(one)) for one in kept)
        )

    async def hash_picture(self, data: bytes) -> PdqHash | UnscannableReason:
        """Compute the PDQ hash of a picture in a thread; the thread waits for a sandboxed worker."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: self._scanner.hash_picture(data))

    async def make_copies(
        self, data: bytes, *, max_side: int, min_side: int, max_bytes: int
    ) -> tuple[Copy, ...] | UnscannableReason:
        """Make reduced copies of what is shown, in a thread: decoded in the sandbox, encoded out here.

        Args:
            data: The bytes.
            max_side: The longer side of a copy in pixels.
            min_side: The shorter side is not shrunk below this.
            max_bytes: Of all copies together.

        Returns:
            JPEGs without metadata, what is shown first first; or why there are none.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, self._make_copies, data, max_side, min_side, max_bytes
        )

    def _make_copies(
        self, data: bytes, max_side: int, min_side: int, max_bytes: int
    ) -> tuple[Copy, ...] | UnscannableReason:
        reduced = self._scanner.reduce_picture(data, max_side=max_side, min_side=min_side)
        if isinstance(reduced, UnscannableReason):
            return reduced
        return encode_copies(reduced, max_bytes=max_bytes) or UnscannableReason.TOO_LARGE

    async def replace_lists(self, lists: Sequence[HashList], *, now: datetime) -> None:
        """Swap the hash lists; building their index does not stop the loop."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, lambda: self._scanner.replace_lists(lists))
        self._turn = 0
        self._state, self._local_digest = self._build_states(now)
        self._lists_digest = self._scanner.lists_digest


@asynccontextmanager
async def open_scanning(
    scanner: Scanner,
    *,
    threads: int,
    secret: bytes,
    now: datetime,
    services: Sequence[JsonObject] = (),
) -> AsyncIterator[Scanning]:
    """Give a scanner its threads.

    Args:
        scanner: The scanner.
        threads: How many.
        secret: The installation's own, with which states are salted.
        now: The time.
        services: What others may know of the services that are asked after the scanner.
    """
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="scan")
    try:
        yield Scanning(scanner, executor, secret=secret, now=now, services=services)
    finally:
        # Without waiting: the scanner is closed next, which ends the scans that are still running.
        executor.shutdown(wait=False, cancel_futures=True)
