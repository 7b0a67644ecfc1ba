"""Find the public key behind a key id.

Looked up in memory, then in the store, then at its origin. What is fetched is believed when key, owner
and documents are of one origin, the owner's own document publishes the key, and the key is admissible.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from relay.model import FetchFailure
from relay.tools.connections import RESOLVER_THREADS
from relay.tools.gates import Gates
from relay.tools.key_documents import PublishedKey, read_key
from relay.tools.urls import FetchUrl, MalformedUrlError, parse_url
from signatures.errors import Reason, VerificationError

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.tools.documents import Document
    from relay.tools.fetching import Signer
    from signatures.keys import PublicKey

# About 4 KB each with the parsed key: 64 MB at most for the senders of a large instance.
MAX_REMEMBERED_KEYS: Final = 16_384
MAX_REMEMBERED_ABSENCES: Final = 4096
# A flood of invented key ids must not make the relay a flood for the host that they name.
MAX_LOOKUPS_PER_HOST: Final = 4
# Invented hosts whose name servers never answer take a thread of the resolver each; a quarter of the
# threads stay free for media.
MAX_LOOKUPS: Final = RESOLVER_THREADS * 3 // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLifetimes:
    """How long what was learned about a key is relied on.

    Attributes:
        fresh: A key younger than this is used as it is. An origin that withdraws a key is heard by then.
        usable: A key that cannot be fetched again is used up to this age; hosts are down for days.
        refetch_interval: A key that failed to verify is fetched again at most this often, so that bad
            signatures cannot be turned into requests.
        gone: How long a key is taken to be gone (404, 410) without asking again.
        unavailable: How long an origin that could not be reached is left in peace.
        refused: How long an unacceptable key is taken to stay unacceptable.
    """

    fresh: timedelta = timedelta(hours=24)
    usable: timedelta = timedelta(days=7)
    refetch_interval: timedelta = timedelta(minutes=5)
    gone: timedelta = timedelta(minutes=10)
    unavailable: timedelta = timedelta(seconds=30)
    refused: timedelta = timedelta(minutes=5)

    def of(self, absence: Absence) -> timedelta:
        """Return how long an absence is relied on."""
        match absence:
            case KeyGone():
                return self.gone
            case KeyUnavailable():
                return self.unavailable
            case KeyRefused():
                return self.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteKey:
    """A key that its owner publishes.

    Attributes:
        owner: The id of the actor whose key it is.
        fetched_at: When the origin last said so.
    """

    key_id: str
    owner: str
    key: PublicKey
    fetched_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGone:
    """The origin says that there is no such key or actor (any more)."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUnavailable:
    """The origin could not be asked; a later look may tell more."""

    key_id: str
    failure: FetchFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRefused:
    """The origin publishes something that is not to be believed."""

    key_id: str
    reason: Reason


Absence = KeyGone | KeyUnavailable | KeyRefused
FoundKey = RemoteKey | Absence


class KeyStore(Protocol):
    """Where keys outlive the process."""

    async def find(self, key_id: str) -> RemoteKey | None:
        """Return the stored key, None if there is none."""
        ...

    async def save(self, key: RemoteKey) -> None:
        """Store a key in place of an earlier one with its id."""
        ...

    async def forget(self, key_id: str) -> None:
        """Remove a key; it is no error if there is none."""
        ...


class DocumentSource(Protocol):
    """What fetches ActivityPub documents."""

    async def fetch_document(self, url: str, *, signer: Signer | None = None) -> Document | FetchFailure:
        """Fetch a document, signed if a signer is given."""
        ...


class KeyDirectory:
    """Knows the keys of remote actors."""

    def __init__(
        self,
        *,
        source: DocumentSource,
        store: KeyStore,
        clock: Clock,
        signer: Signer | None = None,
        lifetimes: KeyLifetimes | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._signer = signer
        self._lifetimes = lifetimes or KeyLifetimes()
        self._keys: OrderedDict[str, RemoteKey] = OrderedDict()
        self._absences: OrderedDict[str, tuple[Absence, datetime]] = OrderedDict()
        self._flights = Gates(1)
        self._hosts = Gates(MAX_LOOKUPS_PER_HOST)
        self._lookups = asyncio.Semaphore(MAX_LOOKUPS)

    def is_known(self, key_id: str) -> bool:
        """Tell whether the key, or its absence, is known without asking anybody."""
        return self._recall(key_id) is not None

    async def find_key(self, key_id: str) -> FoundKey:
        """Find the key with this id, asking its origin only if it must."""
        known = self._recall(key_id)
        if known is not None:
            return known
        async with self._flights.enter(key_id):
            await self._load(key_id)
            known = self._recall(key_id)
            if known is None:
                await self._fetch(key_id)
                known = self._recall(key_id)
        # A clock that leaps past every lifetime in between leaves nothing to recall.
        return known or KeyUnavailable(key_id=key_id, failure=FetchFailure.TIMEOUT)

    async def refetch(self, key_id: str) -> FoundKey:
        """Ask the origin again about a key that did not verify, unless it was asked a moment ago.

        Returns:
            What the origin says now, or said a moment ago. A key that is known but could not be fetched
            again is KeyUnavailable here: it may have been replaced.
        """
        async with self._flights.enter(key_id):
            known = self._keys.get(key_id)
            if known is not None and self._age_of(known) < self._lifetimes.refetch_interval:
                return known
            return self._recall_absence(key_id) or await self._fetch(key_id)

    def _recall(self, key_id: str) -> FoundKey | None:
        key = self._keys.get(key_id)
        age = None if key is None else self._age_of(key)
        if key is not None and age is not None and age < self._lifetimes.fresh:
            self._keys.move_to_end(key_id)
            return key
        absence = self._recall_absence(key_id)
        if isinstance(absence, KeyUnavailable) and age is not None and age < self._lifetimes.usable:
            return key
        return absence

    def _recall_absence(self, key_id: str) -> Absence | None:
        noted = self._absences.get(key_id)
        if noted is None:
            return None
        absence, until = noted
        if self._clock.now() < until:
            return absence
        del self._absences[key_id]
        return None

    async def _load(self, key_id: str) -> None:
        if key_id not in self._keys:
            stored = await self._store.find(key_id)
            if stored is not None:
                self._remember(stored)

    async def _fetch(self, key_id: str) -> FoundKey:
        found = await self._ask_origin(key_id)
        match found:
            case RemoteKey():
                self._absences.pop(key_id, None)
                self._remember(found)
                await self._store.save(found)
            case KeyGone() | KeyRefused():
                self._keys.pop(key_id, None)
                self._note(found)
                await self._store.forget(key_id)
            case KeyUnavailable():
                self._note(found)
        return found

    async def _ask_origin(self, key_id: str) -> FoundKey:
        try:
            url = parse_url(key_id)
        except MalformedUrlError:
            return KeyRefused(key_id=key_id, reason=Reason.WRONG_ORIGIN)
        async with self._hosts.enter(url.authority), self._lookups:
            document = await self._source.fetch_document(str(url), signer=self._signer)
            if isinstance(document, FetchFailure):
                return _absence_of(key_id, document)
            try:
                published = self._believe(document, url, key_id)
                owner_url = parse_url(published.owner)
                if owner_url != parse_url(document.url):
                    # The document is not the owner's own, so that the owner is asked whether the key is too.
                    return await self._ask_owner(published, owner_url)
            except (VerificationError, MalformedUrlError) as error:
                return KeyRefused(key_id=key_id, reason=_reason_of(error))
            return self._date(published)

    async def _ask_owner(self, published: PublishedKey, owner_url: FetchUrl) -> FoundKey:
        document = await self._source.fetch_document(str(owner_url), signer=self._signer)
        if isinstance(document, FetchFailure):
            return _absence_of(published.key_id, document)
        confirmed = self._believe(document, owner_url, published.key_id)
        if document.value.get("id") != published.owner or confirmed.key != published.key:
            raise VerificationError(Reason.WRONG_KEY, "the owner does not publish this key")
        return self._date(confirmed)

    def _believe(self, document: Document, asked: FetchUrl, key_id: str) -> PublishedKey:
        """Read a key from a document that its own origin served.

        Raises:
            VerificationError: A redirect led to another origin, or see `read_key`.
            MalformedUrlError: Never for a document that was fetched.
        """
        if parse_url(document.url).origin != asked.origin:
            raise VerificationError(Reason.WRONG_ORIGIN, "another origin answered")
        return read_key(document.value, key_id)

    def _date(self, published: PublishedKey) -> RemoteKey:
        return RemoteKey(
            key_id=published.key_id,
            owner=published.owner,
            key=published.key,
            fetched_at=self._clock.now(),
        )

    def _age_of(self, key: RemoteKey) -> timedelta:
        return self._clock.now() - key.fetched_at

    def _remember(self, key: RemoteKey) -> None:
        self._keys[key.key_id] = key
        self._keys.move_to_end(key.key_id)
        while len(self._keys) > MAX_REMEMBERED_KEYS:
            self._keys.popitem(last=False)

    def _note(self, absence: Absence) -> None:
        lifetime = self._lifetimes.of(absence)
        self._absences[absence.key_id] = (absence, self._clock.now() + lifetime)
        self._absences.move_to_end(absence.key_id)
        while len(self._absences) > MAX_REMEMBERED_ABSENCES:
            self._absences.popitem(last=False)


def _absence_of(key_id: str, failure: FetchFailure) -> Absence:
    match failure:
        case FetchFailure.GONE:
            return KeyGone(key_id=key_id)
        case FetchFailure.REFUSED_URL | FetchFailure.REFUSED_ADDRESS:
            return KeyRefused(key_id=key_id, reason=Reason.WRONG_ORIGIN)
        case _:
            # What is no document may be a maintenance page, which must not cost an actor its stored key.
            return KeyUnavailable(key_id=key_id, failure=failure)


def _reason_of(error: VerificationError | MalformedUrlError) -> Reason:
    return error.reason if isinstance(error, VerificationError) else Reason.WRONG_ORIGIN
