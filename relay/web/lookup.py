"""The look-up door: a program of the admin's own sends a file and learns whether a hash list holds it.

For bots, upload forms and other tools beside the backend that have no doors of their own. The file is decoded
and compared with the lists and with what moderators ruled; classifiers and services are not asked, nothing is
decided, kept or logged, and no case is opened. So `no-match` speaks of the lists alone, and says nothing more
about the file.

A file comes as the one part of a form (`multipart/form-data`, under any name) or as the whole body.

    200  what the lists say: `match`, `no-match` or `unscannable`, with the reason for the last
    400  there is no file, or more than one
    408, 413, 415  it came too slowly, is too large, or is coded
    429  too much is being looked up
    503  the database does not answer
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from db import known
from db.errors import DatabaseError
from relay.model import FetchFailure, Media
from relay.tools.media_types import essence_of
from relay.tools.policy import FetchPolicy
from relay.tools.transfers import read_body
from relay.web import problems
from relay.web.local import refuse

if TYPE_CHECKING:
    from relay.pipeline import Tools
    from relay.tools.memory import Account
    from relay.tools.transfers import Stream
    from scanner.report import Report

_log = logging.getLogger(__name__)

MAX_UNDER_WAY: Final = 64
"""Requests at once; two cores look as many ordinary pictures up in a third of a second."""

_RETRY_AFTER_S: Final = 1
_CHUNK_BYTES: Final = 262_144
_FORM: Final = "multipart/"
# The pace is that of strangers, as for the validator.
_PACE: Final = FetchPolicy()
_BROKEN: Final = (web.RequestPayloadError, web.PayloadAccessError, HttpProcessingError, ValueError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    response: web.Response


class LookupDoor:
    """Answer what the lists hold."""

    name: str = "lookup"
    method: str = hdrs.METH_POST

    def __init__(self, *, tools: Tools, max_under_way: int = MAX_UNDER_WAY) -> None:
        self._tools = tools
        self._max_under_way = max_under_way
        self._under_way = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer for one file."""
        if self._under_way >= self._max_under_way:
            return refuse(
                429,
                "Too much at once",
                "Too many files are looked up. Ask again.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._under_way += 1
        try:
            async with self._tools.memory.open_account() as account:
                media = await self._read(request, account)
                return media.response if isinstance(media, _Refused) else await self._look_up(media)
        except DatabaseError as error:
            _log.error("lookup_without_database error=%s", type(error).__name__)
            return problems.cannot_look()
        except _BROKEN:
            return refuse(400, "Broken body", "The body of the request did not come in whole, or is no form.")
        finally:
            self._under_way -= 1

    async def _look_up(self, media: Media) -> web.Response:
        scanning = self._tools.scans.scanning
        async with self._tools.database.connection() as conn:
            stored = await known.find_known(conn, media.sha256, scanning.state_digest)
        begun = await scanning.begin(media.data, declared_type=media.content_type)
        answer = _describe(begun.report) | {"ruling": None if stored.ruling is None else stored.ruling.value}
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def _read(self, request: web.Request, account: Account) -> Media | _Refused:
        codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
        if any(coding.lower() != "identity" for coding in codings):
            return _Refused(
                response=refuse(415, "Coded body", "Send the file as it is, without a content coding.")
            )
        if request.content_type.startswith(_FORM):
            return await self._read_form(request, account)
        declared = essence_of(request.headers.get(hdrs.CONTENT_TYPE, ""))
        return await self._read_file(request.content, declared, account)

    async def _read_form(self, request: web.Request, account: Account) -> Media | _Refused:
        try:
            form = await request.multipart()
            part = await _next_part(form)
            if not isinstance(part, BodyPartReader):
                return _no_file()
            declared = essence_of(part.headers.get(hdrs.CONTENT_TYPE, ""))
            media = await self._read_file(_Part(part), declared, account)
            if isinstance(media, Media) and await _next_part(form) is not None:
                return _no_file()
        except TimeoutError:
            return _too_slow()
        return media

    async def _read_file(self, stream: Stream, declared: str, account: Account) -> Media | _Refused:
        most = self._tools.max_media_bytes
        body = await read_body(
            stream, max_bytes=most, policy=_PACE, clock=self._tools.clock, reserve=account.grow
        )
        if body is FetchFailure.TOO_LARGE:
            return self._too_large()
        if isinstance(body, FetchFailure):
            return _too_slow()
        if not body.data:
            return _no_file()
        return Media(data=body.data, sha256=body.sha256, content_type=declared or None)

    def _too_large(self) -> _Refused:
        most = self._tools.max_media_bytes
        return _Refused(response=refuse(413, "File too large", f"A file may have at most {most} bytes."))


class _Part:
    """The one part of a form, as `read_body` reads."""

    def __init__(self, part: BodyPartReader) -> None:
        self._part = part

    async def readany(self) -> bytes:
        return await self._part.read_chunk(_CHUNK_BYTES)


async def _next_part(form: MultipartReader) -> MultipartReader | BodyPartReader | None:
    # What stands between parts has no use, and so no pace.
    async with asyncio.timeout(_PACE.throughput_grace.total_seconds()):
        return await form.next()


def _too_slow() -> _Refused:
    return _Refused(response=refuse(408, "Body too slow", "The file did not arrive in time."))


def _no_file() -> _Refused:
    return _Refused(
        response=refuse(400, "Not one file", "Send exactly one file: a form's only part, or the body.")
    )


def _describe(report: Report) -> dict[str, object]:
    """Say what the lists hold, without anything by which the file could be found again."""
    return {
        "verdict": report.verdict.value,
        "reason": None if report.reason is None else report.reason.value,
        "matches": [
            {
                "list": one.list_name,
                "category": one.category.value,
                "label": one.label,
                "basis": one.basis.value,
                "advisory": one.advisory,
            }
            for one in report.findings
        ],
    }
