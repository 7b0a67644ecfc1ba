"""Answer for a part of a file of which the whole was examined (RFC 9110 section 14)."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from signatures.message import Headers

MAX_VERSIONS: Final = 32_768
"""What a day's media of a mid-size instance come to, three times over; at 300 bytes each they take 10 MB."""

# Longer numbers than this are no positions in any file.
_ONE_RANGE: Final = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bytes from `start` up to `stop` of `size`; none where nothing of what was asked for exists."""

    start: int
    stop: int
    size: int

    @property
    def is_satisfiable(self) -> bool:
        """Tell whether there is anything to deliver."""
        return self.start < self.stop

    @property
    def content_range(self) -> str:
        """The value of `Content-Range`."""
        return (
            f"bytes {self.start}-{self.stop - 1}/{self.size}"
            if self.is_satisfiable
            else f"bytes */{self.size}"
        )


class Versions:
    """What was last delivered from each address, so that a client puts parts of one file together only.

    An origin that shows everybody something else could have parts delivered of files that were each examined,
    which make another one together that was not. Forgotten are the addresses that were asked for the longest
    time ago; kept are digests alone.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[bytes, bytes] = OrderedDict()

    def note(self, url: str, sha256: bytes) -> bool:
        """Note what is delivered now, and tell whether nothing else was delivered from there before."""
        key = hashlib.sha256(url.encode()).digest()
        before = self._last.pop(key, sha256)
        self._last[key] = sha256
        if len(self._last) > MAX_VERSIONS:
            self._last.popitem(last=False)
        return before == sha256


def find_part(asked: Headers, answered: Headers, *, size: int) -> Part | None:
    """Find which part of a file was asked for; None where the whole is to be delivered.

    Several ranges at once are answered with the whole, as section 14.2 permits: "A server MAY ignore the
    Range header field."

    Args:
        asked: The headers of the request.
        answered: The origin's, against which `If-Range` is held.
        size: The length of the whole.
    """
    ranges = _values(asked, "range")
    if len(ranges) != 1 or not _is_current(asked, answered):
        return None
    found = _ONE_RANGE.fullmatch(ranges[0].strip())
    if found is None:
        return None
    first, last = found[1], found[2]
    if first:
        # Section 14.1.2: a last position before the first makes the range invalid, and it is ignored.
        if last and int(last) < int(first):
            return None
        start = min(int(first), size)
        return Part(start=start, stop=min(int(last) + 1, size) if last else size, size=size)
    if not last:
        return None
    return Part(start=max(size - int(last), 0), stop=size, size=size)


def _is_current(asked: Headers, answered: Headers) -> bool:
    """Tell whether `If-Range`, if there is one, names the file as it is now (section 13.1.5)."""
    conditions = _values(asked, "if-range")
    if not conditions:
        return True
    condition = conditions[0].strip()
    if condition.startswith('"'):
        return condition in _values(answered, "etag")
    # Weak tags start with W/ and never match; a date has to be the very same.
    return condition in _values(answered, "last-modified")


def _values(headers: Headers, wanted: str) -> list[str]:
    return [value for name, value in headers if name.lower() == wanted]
