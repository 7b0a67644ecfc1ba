"""List and read the objects of an S3 bucket.

Nothing but the settings says where the bucket is and with which key it is read: the variables and files that
Amazon's own tools read are left aside, lest a sweep reads another bucket than the admin named.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import botocore.session  # type: ignore[import-untyped]  # it ships no types
from botocore import UNSIGNED
from botocore.config import Config  # type: ignore[import-untyped]  # it ships no types
from botocore.configprovider import (  # type: ignore[import-untyped]  # it ships no types
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
)
from botocore.exceptions import (  # type: ignore[import-untyped]  # it ships no types
    BotoCoreError,
    ClientError,
    HTTPClientError,
)

from relay.sweep.source import (
    CHUNK_BYTES,
    Entry,
    FileUnreadableError,
    FileVanishedError,
    Opened,
    PassedOver,
    SourceError,
    StoredFile,
    Trouble,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_DEFAULT_REGION: Final = "us-east-1"
_AMAZON: Final = ".amazonaws.com"

# The most that a service gives at once. Source: Amazon S3 API reference, ListObjectsV2.
_PAGE: Final = 1_000

# Each try may take a connection's and a read's time; an object of 40 MB takes seconds.
_TRIES: Final = 4
_READ_TIMEOUT_S: Final = 30.0

_BY_HAND: Final = (
    "Remove these files through your server (its moderation pages or its own command), never in the bucket: "
    "its database would go on naming them, and it could fetch them again."
)

_GONE: Final = frozenset({"NoSuchKey", "404"})
_DENIED: Final = frozenset({"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Which bucket, and how it is reached.

    Attributes:
        bucket: Its name.
        prefix: How the names begin that are looked at.
        endpoint: The address of the service; empty for Amazon's.
        region: The region; empty for the first one.
        access_key: The access key; without one nothing is signed.
        secret_key: What belongs to it.
        connect_timeout_s: How long it may take to reach the service.
        max_bytes: How much of an object is read at most.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    connect_timeout_s: float = 5.0
    max_bytes: int

    @property
    def shown_endpoint(self) -> str:
        """The service in words."""
        return self.endpoint or f"Amazon S3 in {self.region or _DEFAULT_REGION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A part of the list.

    Attributes:
        objects: Keys and sizes.
        next_token: By what the next part is asked for; empty where there is none.
    """

    objects: list[tuple[str, int]]
    next_token: str


class S3Source:
    """A bucket, or the part of it under a prefix."""

    def __init__(self, place: S3Place) -> None:
        self._place = place
        try:
            self._client: Any = _build_client(place)
        except (BotoCoreError, ValueError) as error:
            # botocore's words name the setting and never a secret.
            raise SourceError(
                f"S3 cannot be used with these settings ({error}). Nothing was examined. Check "
                "storage.s3_endpoint, storage.s3_bucket, storage.s3_region and the key."
            ) from error

    @property
    def name(self) -> str:
        """What tells it from other sources."""
        place = self._place
        return f"s3:{place.endpoint or place.region}/{place.bucket}/{place.prefix}"

    @property
    def by_hand(self) -> str:
        """How a person removes a file through the server."""
        return _BY_HAND

    async def check(self) -> None:
        """Find out whether the bucket can be listed.

        Raises:
            SourceError: It cannot.
        """
        await asyncio.to_thread(self._list_page, b"", 1)

    async def count(self) -> None:
        """Count nothing: a bucket is counted by listing it, which takes as long as the sweep does."""

    async def list_files(self, after: bytes) -> AsyncIterator[Entry]:
        """List the objects behind a key in the order of the keys' bytes.

        Raises:
            SourceError: The listing broke off.
        """
        token = ""
        while True:
            page = await asyncio.to_thread(self._list_page, after, _PAGE, token)
            for key, size in page.objects:
                if key.encode() <= after:
                    raise _going_round(self._place)
                after = key.encode()
                yield _entry(key, size)
            if page.objects:
                token = ""
            elif not page.next_token:
                return
            elif page.next_token == token:
                raise _going_round(self._place)
            else:
                # Nothing in this part, and more behind it: what was deleted leaves gaps.
                token = page.next_token

    @asynccontextmanager
    async def open(self, file: StoredFile) -> AsyncIterator[Opened]:
        """Open an object, of which no more than one byte beyond the bound is asked for.

        Raises:
            FileVanishedError: It is gone.
            FileUnreadableError: It cannot be read.
        """
        answer = await asyncio.to_thread(self._get, str(file.key))
        body = answer["Body"]
        try:
            yield Opened(chunks=_read(body), content_type=answer.get("ContentType"))
        finally:
            await asyncio.to_thread(body.close)

    def _list_page(self, after: bytes, size: int, token: str = "") -> _Page:
        place = self._place
        asked = {"Bucket": place.bucket, "Prefix": place.prefix, "MaxKeys": size}
        if after:
            asked["StartAfter"] = after.decode()
        if token:
            asked["ContinuationToken"] = token
        try:
            answer = self._client.list_objects_v2(**asked)
        except ClientError as error:
            raise _explain(error, place) from error
        except RecursionError as error:
            # Sent elsewhere, the library asks for the bucket's region, and may be sent elsewhere with that.
            raise SourceError(
                f"{place.shown_endpoint} sends every request elsewhere, in circles. What was not examined "
                "yet stays unexamined. Check storage.s3_endpoint and storage.s3_region."
            ) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise SourceError(
                f"{place.shown_endpoint} cannot be reached ({type(error).__name__}). What was not examined "
                "yet stays unexamined. Check storage.s3_endpoint and the network, and run the command again."
            ) from error
        return _Page(
            objects=[(item["Key"], int(item["Size"])) for item in answer.get("Contents", ())],
            next_token=str(answer.get("NextContinuationToken") or "") if answer.get("IsTruncated") else "",
        )

    def _get(self, key: str) -> Any:
        try:
            # One byte more than is admitted tells that there is too much.
            return self._client.get_object(
                Bucket=self._place.bucket, Key=key, Range=f"bytes=0-{self._place.max_bytes}"
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _GONE:
                raise FileVanishedError("the object is gone") from error
            if code == "InvalidObjectState":
                raise FileUnreadableError(Trouble.ARCHIVED) from error
            denied = code in _DENIED
            raise FileUnreadableError(
                Trouble.PERMISSION_DENIED if denied else Trouble.SERVER_ERROR
            ) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise FileUnreadableError(Trouble.UNREACHABLE) from error


def _going_round(place: S3Place) -> SourceError:
    return SourceError(
        f"{place.shown_endpoint} gives out one part of the bucket {place.bucket} again and again, or not in "
        "the order of the names, so that nobody could tell what was left out. What was not examined yet "
        "stays unexamined. Use a service that lists as Amazon's does (ListObjectsV2), or sweep a copy on a "
        "disk."
    )


def _entry(key: str, size: int) -> Entry:
    name, cursor = printable(key), key.encode()
    # Nothing can be asked for of an empty object, and there is nothing in it. Names that end in a slash stand
    # for directories.
    if not size or key.endswith("/"):
        return PassedOver(name=name, cursor=cursor)
    return StoredFile(name=name, cursor=cursor, key=key)


async def _read(body: Any) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(body.read, CHUNK_BYTES):
            yield chunk
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise FileUnreadableError(Trouble.UNREACHABLE) from error


def _build_client(place: S3Place) -> Any:
    # Amazon's own takes the bucket as a host name; others do so only if their admin made names for it.
    host = urlsplit(place.endpoint).hostname or ""
    is_amazon = not place.endpoint or host.endswith(_AMAZON)
    config = Config(
        signature_version="s3v4" if place.access_key else UNSIGNED,
        connect_timeout=place.connect_timeout_s,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        proxies={},
        s3={"addressing_style": "auto" if is_amazon else "path"},
        # Services that are not Amazon's do not know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent="breakwater",
    )
    session = botocore.session.Session(session_vars=dict(_settings_without_environment()))
    return session.create_client(
        "s3",
        region_name=place.region or _DEFAULT_REGION,
        endpoint_url=place.endpoint or None,
        aws_access_key_id=place.access_key or None,
        aws_secret_access_key=place.secret_key or None,
        verify=True,
        config=config,
    )


def _settings_without_environment() -> Iterator[tuple[str, tuple[object, ...]]]:
    """Name every setting of the library with its default alone."""
    for name, (key, _, default, conversion) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        is_file = name in {"config_file", "credentials_file"}
        yield name, (key, None, os.devnull if is_file else default, conversion)


def _explain(error: ClientError, place: S3Place) -> SourceError:
    """Say why a bucket cannot be listed."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "NoSuchBucket":
        return SourceError(
            f"There is no bucket {place.bucket} at {place.shown_endpoint}. Nothing was examined. Check "
            "storage.s3_bucket, storage.s3_endpoint and storage.s3_region."
        )
    if code in _DENIED:
        return SourceError(
            f"{place.shown_endpoint} does not let this key list the bucket {place.bucket} ({code}). What was "
            "not examined yet stays unexamined. Check storage.s3_access_key and its secret; the key has to "
            "be allowed to list the bucket and to read its objects (s3:ListBucket, s3:GetObject)."
        )
    if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
        return SourceError(
            f"The bucket {place.bucket} is in another region ({code}). Nothing was examined. Set "
            "storage.s3_region to the bucket's own."
        )
    return SourceError(
        f"{place.shown_endpoint} does not list the bucket {place.bucket} ({code or 'no reason given'}). "
        "What was not examined yet stays unexamined. Check the settings under storage, and run the command "
        "again."
    )
