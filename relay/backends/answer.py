"""What the backend said, or that it said nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from signatures.message import Headers

# Connection-specific fields end at each hop. Source: RFC 9110, 7.6.1.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# An inbox answers with a word or a small document; anything longer is cut here.
MAX_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAnswer:
    """What the backend said."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendDown:
    """The backend said nothing.

    Attributes:
        reason: What kind of silence: `refused`, `timeout` or `broken`.
    """

    reason: str
