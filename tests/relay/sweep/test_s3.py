"""A bucket is listed and read as a real server of that protocol gives it out; only our settings count."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from relay.sweep.counting import Kind
from relay.sweep.examine import Manner, examine_entry
from relay.sweep.s3 import S3Place, S3Source
from relay.sweep.source import (
    FileUnreadableError,
    FileVanishedError,
    PassedOver,
    SourceError,
    StoredFile,
    Trouble,
)
from tests.relay.sweep.parts import list_all, picture, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.sweep.examine import SweepTools

MAX_BYTES = 1_000
SECRET = "words-that-nobody-says"
KEYS = ["a/1.png", "a/2.png", "a/ä.png", "b/1.png", "c d+e.png", "media/x.png", "z"]


@pytest.fixture
def place(endpoint: str, request: pytest.FixtureRequest) -> S3Place:
    """A new bucket with some objects."""
    bucket = "bucket-" + request.node.name.replace("_", "-")[-50:].strip("-[]")
    made = S3Place(bucket=bucket, endpoint=endpoint, access_key="key", secret_key=SECRET, max_bytes=MAX_BYTES)
    client: Any = S3Source(made)._client
    client.create_bucket(Bucket=bucket)
    for key in KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode(), ContentType="image/png")
    return made


@asynccontextmanager
async def answering(status: int, code: str) -> AsyncIterator[str]:
    """A service that refuses everything."""

    async def answer(_: web.Request) -> web.Response:
        text = f"<Error><Code>{code}</Code><Message>m</Message></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listing(*pages: tuple[tuple[str, ...], str]) -> AsyncIterator[str]:
    """A service that gives out these parts of a list one after the other, the last one again and again."""
    left = list(pages)

    async def answer(_: web.Request) -> web.Response:
        keys, token = left.pop(0) if len(left) > 1 else left[0]
        contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        text = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
            f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>{more}{contents}</ListBucketResult>"
        )
        return web.Response(text=text, content_type="application/xml")

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_empty_part_of_a_list_is_not_its_end() -> None:
    async with listing((("a",), "one"), ((), "two"), ((), "three"), (("b",), ""), ((), "")) as endpoint:
        source = S3Source(S3Place(bucket="b", endpoint=endpoint, max_bytes=MAX_BYTES))
        assert [entry.name for entry in await list_all(source)] == ["a", "b"]


@pytest.mark.parametrize(
    "pages",
    [
        ((("a", "b"), "one"),),
        (((), "one"),),
        ((("b",), "one"), (("a",), "two"), ((), "")),
    ],
    ids=["the same part for ever", "nothing for ever", "another order"],
)
async def test_a_list_that_cannot_be_followed_to_its_end_ends_the_sweep(
    pages: tuple[tuple[tuple[str, ...], str], ...],
) -> None:
    async with listing(*pages) as endpoint:
        source = S3Source(S3Place(bucket="b", endpoint=endpoint, max_bytes=MAX_BYTES))
        with pytest.raises(SourceError, match="again and again, or not in the order"):
            await list_all(source)


async def test_all_objects_are_listed_over_many_pages_and_read(
    place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.sweep.s3._PAGE", 2)
    source = S3Source(place)
    await source.check()
    entries = await list_all(source)
    assert [entry.name for entry in entries] == sorted(KEYS, key=str.encode)
    assert [await read(source, entry) for entry in entries] == [entry.cursor for entry in entries]
    for number, entry in enumerate(entries, start=1):
        assert await list_all(source, entry.cursor) == entries[number:]


async def test_only_what_begins_with_the_prefix_is_listed(place: S3Place) -> None:
    source = S3Source(replace(place, prefix="a/"))
    assert [entry.name for entry in await list_all(source)] == ["a/1.png", "a/2.png", "a/ä.png"]
    assert source.name != S3Source(place).name


async def test_empty_objects_and_directories_are_left_out(place: S3Place) -> None:
    source: Any = S3Source(replace(place, prefix="zz"))
    for key, data in (("zz/", b""), ("zz/empty.png", b""), ("zz/full.png", b"1")):
        source._client.put_object(Bucket=place.bucket, Key=key, Body=data)
    entries = await list_all(source)
    assert [isinstance(entry, PassedOver) for entry in entries] == [True, True, False]


async def test_of_a_long_object_no_more_than_one_byte_too_many_is_read(
    place: S3Place, tools: SweepTools
) -> None:
    source: Any = S3Source(place)
    source._client.put_object(Bucket=place.bucket, Key="long.png", Body=picture() + bytes(5 * MAX_BYTES))
    (entry,) = [one for one in await list_all(source) if one.name == "long.png"]
    assert len(await read(source, entry)) == MAX_BYTES + 1
    short = replace(tools, max_media_bytes=MAX_BYTES)
    result = await examine_entry(entry, source=source, tools=short, manner=Manner(is_dry_run=True))
    assert (result.kind, result.detail) == (Kind.UNSCANNABLE, "too_large")


async def test_an_object_that_vanished_is_told_from_one_that_is_refused(place: S3Place) -> None:
    source: Any = S3Source(place)
    entries = await list_all(source)
    source._client.delete_object(Bucket=place.bucket, Key=entries[0].name)
    with pytest.raises(FileVanishedError):
        await read(source, entries[0])
    for status, code, trouble in (
        (403, "AccessDenied", Trouble.PERMISSION_DENIED),
        (403, "InvalidObjectState", Trouble.ARCHIVED),
        (400, "Strange", Trouble.SERVER_ERROR),
    ):
        async with answering(status, code) as url:
            with pytest.raises(FileUnreadableError) as caught:
                await read(S3Source(replace(place, endpoint=url)), entries[1])
            assert caught.value.trouble is trouble
    file = StoredFile(name="x", cursor=b"x", key="x")
    with pytest.raises(FileUnreadableError) as caught:
        await read(unreachable(place), file)
    assert caught.value.trouble is Trouble.UNREACHABLE


async def test_what_is_wrong_with_a_bucket_is_explained(place: S3Place) -> None:
    with pytest.raises(SourceError, match=r"no bucket no-such.*Check storage.s3_bucket"):
        await S3Source(replace(place, bucket="no-such")).check()
    with pytest.raises(SourceError, match=r"cannot be reached.*Check storage.s3_endpoint"):
        await unreachable(place).check()
    for status, code, words in (
        (403, "AccessDenied", "does not let this key list.*s3:ListBucket"),
        (403, "SignatureDoesNotMatch", "does not let this key list"),
        (301, "PermanentRedirect", "in circles.*storage.s3_region"),
        (400, "IllegalLocationConstraintException", "another region.*storage.s3_region"),
        (400, "Strange", r"does not list the bucket .*\(Strange\)"),
    ):
        async with answering(status, code) as url:
            with pytest.raises(SourceError, match=words) as caught:
                await S3Source(replace(place, endpoint=url)).check()
            assert SECRET not in str(caught.value)
    with pytest.raises(SourceError, match="cannot be used with these settings"):
        S3Source(replace(place, endpoint="not an address"))


async def test_nothing_but_our_settings_says_where_and_with_which_key(
    place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "no-such-profile",
        "AWS_DEFAULT_REGION": "eu-nowhere-1",
        "AWS_ACCESS_KEY_ID": "of-the-environment",
        "AWS_SECRET_ACCESS_KEY": "of-the-environment",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_CA_BUNDLE": "/no/such/file",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    source: Any = S3Source(place)
    assert len(await list_all(source)) == len(KEYS)
    assert source._client._get_credentials().access_key == "key"
    assert source._client.meta.region_name == "us-east-1"
    unsigned: Any = S3Source(replace(place, access_key="", secret_key=""))
    assert unsigned._client._get_credentials() is None


def unreachable(place: S3Place) -> S3Source:
    """A place where nobody listens, which is found out at once."""
    source: Any = S3Source(replace(place, endpoint="http://127.0.0.1:1"))
    source._client.meta.config.retries["total_max_attempts"] = 1
    typed: S3Source = source
    return typed
