"""The values of the line, in the order in which they come to exist.

A delivery arrives, its sender is authenticated, its media references are extracted, each is
fetched and examined into evidence, and evidence and policy together make a decision. Nothing here
does anything; the stages do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from scanner.report import Report
    from signatures.message import RequestMessage
    from signatures.strictjson import JsonValue


INLINE: Final = "data:"
"""How inline media begins, and what is written down in its place: its bytes are in the activity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The actor whose key verified a delivery."""

    actor: str
    key_id: str


class Door(StrEnum):
    """Where bytes come in."""

    INBOX = "inbox"
    GATEWAY = "gateway"
    VALIDATOR = "validator"
    UPLOADS = "uploads"
    SWEEP = "sweep"


class Location(StrEnum):
    """Where in an activity a media reference stood, or how else media came to be looked at."""

    ATTACHMENT = "attachment"
    THUMBNAIL = "thumbnail"
    IMAGE = "image"
    ICON = "icon"
    EMOJI = "emoji"
    PREVIEW = "preview"
    VIDEO = "video"
    CONTENT = "content"
    INLINE = "inline"
    ELSEWHERE = "elsewhere"
    BACKEND_FETCH = "backend_fetch"
    INGEST = "ingest"
    UPLOAD = "upload"
    STORED = "stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReference:
    """A pointer from an activity to media.

    Attributes:
        url: An absolute http(s) URL, or a `data:` URI whose bytes travel in the activity itself.
        location: Where it stood.
        declared_type: The media type that the activity claims, lower case, without parameters.
        is_declared: The activity says that this is media (by its place, type or media type). False
            for a bare link that merely might be; what turns out to be a web page is then no media.
        declared_digest: The SHA-256 that the activity claims (`digestMultibase`): a hint for an
            early look-up, never more.
        attestation: What stands in the activity as the media's `scanAttestation`, in its canonical form.
            Nothing about it was verified.
    """

    url: str
    location: Location
    declared_type: str | None = None
    is_declared: bool = True
    declared_digest: bytes | None = None
    attestation: bytes | None = None

    @property
    def is_inline(self) -> bool:
        """Tell whether the bytes travel in the activity itself, so that only the delivery can be stopped."""
        return self.url[: len(INLINE)].lower() == INLINE


class Audience(StrEnum):
    """Whom an activity addresses."""

    PUBLIC = "public"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the line needs to know of an activity.

    Attributes:
        id: The activity's own id; empty where it has none (transient activities may).
        type: The first type named.
        actor: The actor's id; empty where none is named.
        object_id: The id of the object acted upon; for Undo the id of the undone activity.
        chain_key: The object whose deliveries must reach the backend in order.
        audience: Public, or anything narrower.
        references: Every media reference, each URL once, in document order.
        dereference: Ids of objects that are named but not embedded and must be fetched at their own
            origin and examined too (an Announce by id).
        is_truncated: There were more references than `extract` admits; the rest is unexamined.
    """

    id: str
    type: str
    actor: str
    object_id: str
    chain_key: str
    audience: Audience
    references: tuple[MediaReference, ...] = ()
    dereference: tuple[str, ...] = ()
    is_truncated: bool = False

    @property
    def points_at_something(self) -> bool:
        """Tell whether there is anything that the line could look at."""
        return bool(self.references or self.dereference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One POST of an activity to an inbox, with its bytes."""

    message: RequestMessage
    remote_address: str
    received_at: datetime
    document: JsonValue
    activity: Activity
    sender: Sender | None


class FetchFailure(StrEnum):
    """Why media could not be looked at."""

    REFUSED_URL = "refused_url"
    REFUSED_ADDRESS = "refused_address"
    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    SERVER_ERROR = "server_error"
    MALFORMED = "malformed"
    ACTIVITY_AS_MEDIA = "activity_as_media"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The fetched bytes.

    Attributes:
        data: The octets of the identity-coded response body.
        sha256: 32 bytes, computed while streaming.
        content_type: What the response declared, lower case, without parameters; None if nothing.
        attestation: What the response carried as `Media-Scan-Attestation`, decoded. Nothing about it was
            verified.
        is_attestation_malformed: It carried one that cannot be read, and that counts as none.
    """

    data: bytes
    sha256: bytes
    content_type: str | None
    attestation: bytes | None = None
    is_attestation_malformed: bool = False


class EvidenceBasis(StrEnum):
    """Where evidence comes from."""

    SCAN = "scan"
    OWN_VERDICT = "own_verdict"
    RULING = "ruling"
    FETCH = "fetch"
    NOT_MEDIA = "not_media"
    PEER = "peer"
    """Our lists hold nothing, and a peer that we rely on says that its own scan found nothing: the report is
    that of the lists alone, so that it is neither kept as our verdict nor attested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one media reference: a verdict with its basis, or the fact of not knowing.

    Attributes:
        reference: What was pointed at.
        basis: Where this comes from.
        sha256: The digest of the bytes; None where none were seen.
        report: What the scan found; None where no bytes were seen or a moderator ruled.
        failure: Why there are no bytes.
        is_allowed: A moderator's ruling on exactly these bytes, if there is one.
        state_digest: The scanner's state that the report belongs to.
        warning: The category of a peer's warning of exactly these bytes, as text.
    """

    reference: MediaReference
    basis: EvidenceBasis
    sha256: bytes | None = None
    report: Report | None = None
    failure: FetchFailure | None = None
    is_allowed: bool | None = None
    state_digest: bytes | None = None
    warning: str | None = None


class MediaDecision(StrEnum):
    """What is done with media, from the mildest to the strictest."""

    RELEASE = "release"
    WITHHOLD = "withhold"
    BLOCK = "block"


class DeliveryDecision(StrEnum):
    """What is done with a delivery."""

    FORWARD = "forward"
    HOLD = "hold"
    RETRY = "retry"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaOutcome:
    """A piece of evidence and what follows from it.

    Attributes:
        evidence: What was decided upon.
        decision: What is done with the media.
        category: The category that decided, as text; None where nothing matched.
        needs_case: A person has to see to it.
        retry: Looking again may tell more (a failure that passes).
        purge: The bytes must not be kept at all.
    """

    evidence: Evidence
    decision: MediaDecision
    category: str | None = None
    needs_case: bool = False
    retry: bool = False
    purge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from all the evidence on one delivery."""

    delivery: DeliveryDecision
    outcomes: tuple[MediaOutcome, ...]
    reason: str


class Receipt(StrEnum):
    """What a backend's answer means for a stored delivery."""

    TAKEN = "taken"
    REFUSED = "refused"
    STALE = "stale"
    TRY_AGAIN = "try_again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """The end of one attempt to hand a delivery over."""

    receipt: Receipt
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where on the backend media is stored, or is going to be.

    Attributes:
        object_id: The post that shows it; empty where it is an account's own, or only the file is known.
        actor_id: The author of the post, or the account; empty where unknown.
        alias: The file's name in the backend's media store; empty where unknown.
        may_be_removed: Whoever brought the media speaks for the post. What others say about a post is a
            reason to look at it, none to take it down.
        delivery_id: It gets there with this delivery, if at all.
    """

    object_id: str = ""
    actor_id: str = ""
    alias: str = ""
    may_be_removed: bool = False
    delivery_id: int | None = None
