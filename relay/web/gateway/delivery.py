"""Write an answer to the backend: the origin's head, and the body in pieces."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from relay.tools.copies import CopyStorageError
from relay.tools.streams import TransferBroken
from relay.web.gateway import answers
from relay.web.gateway.coding import CodingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A backend that takes nothing for so long has forgotten the request; what is held for it is needed elsewhere.
READ_WITHIN: Final = timedelta(seconds=60)

# The server would add its own where the origin sent none.
_NOT_OURS: Final = (hdrs.DATE, hdrs.SERVER, hdrs.CONTENT_TYPE)


class OriginResponse(web.StreamResponse):
    """An answer that has the origin's headers and no other."""

    # With the first of the body, as a whole answer's are: one visit to the kernel and one packet fewer.
    _send_headers_immediately = False

    async def _prepare_headers(self) -> None:
        missing = [name for name in _NOT_OURS if name not in self.headers]
        await super()._prepare_headers()
        for name in missing:
            self.headers.popall(name, None)


async def send(
    request: web.BaseRequest,
    *,
    status: int,
    reason: str,
    headers: list[tuple[str, str]],
    body: AsyncIterator[bytes] | None,
) -> web.StreamResponse:
    """Send an answer; one whose body breaks off ends the connection, so that it is not taken for whole.

    Args:
        request: What is answered.
        status: The origin's.
        reason: The origin's.
        headers: The origin's, but for those of its connection.
        body: The pieces; None where there is no body. None of them is sent to who asks for a head.
    """
    response = OriginResponse(status=status, reason=reason, headers=CIMultiDict(headers))
    try:
        await response.prepare(request)
    except ValueError:
        # A header that cannot be written as one.
        return answers.bad_answer()
    if body is None or request.method == "HEAD":
        return response
    try:
        async for piece in body:
            async with asyncio.timeout(READ_WITHIN.total_seconds()):
                await response.write(piece)
    except (TransferBroken, CodingError, CopyStorageError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    return response
