"""Say in the words of the model why a request brought nothing to look at."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp import hdrs

from relay.model import FetchFailure
from relay.tools.connections import AddressRefusedError
from relay.tools.media_types import is_activity_type, is_document_type
from signatures.message import Headers, header_values

REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
OK: Final = 200
_GONE: Final = frozenset((404, 410))
# RFC 9110 section 15.5.9 and RFC 6585 section 4: the far side asks for another try.
_LATER: Final = frozenset((408, 425, 429))
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
# How far a chain of causes is followed; aiohttp wraps twice.
_MAX_CAUSES: Final = 8

Judge = Callable[[int, Headers], FetchFailure | None]
"""Decide from status and headers why the body is not worth reading; None if it is."""


def failure_of(error: Exception) -> FetchFailure:
    """Translate what aiohttp, the resolver or a socket raised."""
    causes = _causes_of(error)
    if any(isinstance(cause, AddressRefusedError) for cause in causes):
        return FetchFailure.REFUSED_ADDRESS
    if any(
        isinstance(cause, (aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError)) for cause in causes
    ):
        return FetchFailure.TLS
    match error:
        case aiohttp.ClientConnectorDNSError():
            return FetchFailure.UNRESOLVED
        case TimeoutError():
            return FetchFailure.TIMEOUT
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL() | ValueError():
            return FetchFailure.MALFORMED
        case _:
            # A body that breaks off belongs here too: whether the length was a lie or the line broke cannot
            # be told apart, and looking again may tell more.
            return FetchFailure.UNREACHABLE


def judge_media(status: int, headers: Headers) -> FetchFailure | None:
    """Refuse what cannot be media: every status but 200, activities, and coded bodies."""
    refusal = _judge_status(status, headers)
    if refusal is None and any(
        is_activity_type(value) for value in header_values(headers, hdrs.CONTENT_TYPE)
    ):
        return FetchFailure.ACTIVITY_AS_MEDIA
    return refusal


def judge_document(status: int, headers: Headers) -> FetchFailure | None:
    """Refuse what cannot be an ActivityPub document: every status but 200, any other type, coded bodies."""
    refusal = _judge_status(status, headers)
    if refusal is not None:
        return refusal
    types = header_values(headers, hdrs.CONTENT_TYPE)
    return None if len(types) == 1 and is_document_type(types[0]) else FetchFailure.MALFORMED


def judge_nothing(_status: int, _headers: Headers) -> FetchFailure | None:
    """Read whatever comes."""
    return None


def _judge_status(status: int, headers: Headers) -> FetchFailure | None:
    if status == OK:
        return None if _is_plain(headers) else FetchFailure.MALFORMED
    if status in _GONE:
        return FetchFailure.GONE
    if status in _LATER or status >= _SERVER_ERROR:
        return FetchFailure.SERVER_ERROR
    if status >= _CLIENT_ERROR:
        return FetchFailure.FORBIDDEN
    # Part of a body, none, or a protocol that nobody asked for.
    return FetchFailure.MALFORMED


def _is_plain(headers: Headers) -> bool:
    """Tell whether the octets are the thing itself.

    RFC 9110 section 12.5.3: a server that is asked for identity only and answers with a coding disregards
    the request. What it then sends is refused rather than unpacked, so that a bomb has nothing to go off in.
    """
    codings = header_values(headers, hdrs.CONTENT_ENCODING)
    transfers = header_values(headers, hdrs.TRANSFER_ENCODING)
    return all(coding.lower() in ("", "identity") for coding in codings) and all(
        transfer.lower() == "chunked" for transfer in transfers
    )


def _causes_of(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < _MAX_CAUSES:
        causes.append(cause)
        cause = cause.__cause__
    return causes
