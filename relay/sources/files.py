"""Lists that come as one file, from an address or from this machine: CSV, JSON, text, and the IWF's CSV.

A file is the whole list. It is asked for with what its server said of the last one (`ETag`, `Last-Modified`),
so that one that did not change is not sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from relay.sources.asking import Reply
from relay.sources.iwf import parse_iwf
from relay.sources.model import Checkpoint, FailureKind, Page, Snapshot, SourceFailure, SourceKind
from scanner.listentries import HashListError
from scanner.listfile import ListFormat, parse_hash_list

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sources.asking import Asking

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Three million hashes with their ids. It is held in memory while it is read; larger lists are imported by
`breakwater lists import`, in a process of its own."""
_PATIENCE: Final = timedelta(minutes=10)
_MAX_VALIDATOR_CHARS: Final = 512
_FORMATS: Final = {
    SourceKind.CSV: ListFormat.CSV,
    SourceKind.JSON: ListFormat.JSON,
    SourceKind.TEXT: ListFormat.TEXT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileImporter:
    """Reads a list from one file.

    The checkpoint has `etag` and `modified`, by which the far side recognises what we have, and `sha256`, by
    which we do.

    Attributes:
        kind: What is in the file.
        url: Where it is: https, or `file:` and a path on this machine.
        sha256: The file must have this digest, in hexadecimal; empty for any.
        asking: Asks the host.
    """

    kind: SourceKind
    url: str
    sha256: str
    asking: Asking

    async def fetch(self, checkpoint: Checkpoint, *, now: datetime) -> Page | Snapshot | SourceFailure:
        """Fetch the file, unless it is the one that we have."""
        del now
        if self.url.startswith("file:"):
            reply = await asyncio.to_thread(_read_local, self.url, checkpoint)
        else:
            reply = await self._download(checkpoint)
        if isinstance(reply, SourceFailure):
            return reply
        digest = reply.sha256.hex()
        if reply.is_unchanged or digest == checkpoint.get("sha256"):
            return Page(records=(), checkpoint={**checkpoint, **_validators(reply)}, is_last=True)
        if self.sha256 and digest != self.sha256:
            return SourceFailure(
                kind=FailureKind.CHANGED,
                detail="The file at the list's address is another than the one whose SHA-256 you gave, so "
                "that it was not taken. The list stays as it is. Look at the new file, and add the list "
                "again with its digest.",
            )
        # Reading millions of lines takes a minute, during which the doors go on answering.
        return await asyncio.to_thread(self._parse, reply, {**_validators(reply), "sha256": digest})

    def restart(self, checkpoint: Checkpoint) -> Checkpoint:
        """Forget what we have, so that the file is sent again."""
        del checkpoint
        return {}

    async def _download(self, checkpoint: Checkpoint) -> Reply | SourceFailure:
        headers: dict[str, str] = {}
        if checkpoint.get("etag"):
            headers["If-None-Match"] = checkpoint["etag"]
        if checkpoint.get("modified"):
            headers["If-Modified-Since"] = checkpoint["modified"]
        return await self.asking.get(self.url, max_bytes=MAX_FILE_BYTES, headers=headers, patience=_PATIENCE)

    def _parse(self, reply: Reply, checkpoint: Checkpoint) -> Snapshot | SourceFailure:
        try:
            if self.kind is SourceKind.IWF:
                parsed, unusable = parse_iwf(reply.data)
                return Snapshot(parsed=parsed, unusable=unusable, checkpoint=checkpoint)
            parsed = parse_hash_list(reply.data, _FORMATS[self.kind])
        except HashListError as error:
            return SourceFailure(kind=FailureKind.MALFORMED, detail=str(error))
        unusable = {"placeholder": parsed.placeholders} if parsed.placeholders else {}
        return Snapshot(parsed=parsed, unusable=unusable, checkpoint=checkpoint)


def _validators(reply: Reply) -> dict[str, str]:
    """Keep by what the server recognises the file; neither of them need be there."""
    found = {"etag": reply.headers.get("etag", ""), "modified": reply.headers.get("last-modified", "")}
    return {name: value for name, value in found.items() if value and len(value) <= _MAX_VALIDATOR_CHARS}


def _read_local(url: str, checkpoint: Checkpoint) -> Reply | SourceFailure:
    path = Path(unquote(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return SourceFailure(
            kind=FailureKind.NOT_FOUND,
            detail=f"{path} cannot be read ({error.strerror}). The list stays as it is. Let the user that "
            "the relay runs as read the file.",
        )
    if len(data) > MAX_FILE_BYTES:
        return SourceFailure(
            kind=FailureKind.TOO_LARGE,
            detail=f"{path} is longer than {MAX_FILE_BYTES:,} bytes. The list stays as it is. Split it, or "
            "use `breakwater lists import`.",
        )
    sha256 = hashlib.sha256(data).digest()
    return Reply(is_unchanged=sha256.hex() == checkpoint.get("sha256"), data=data, sha256=sha256)
