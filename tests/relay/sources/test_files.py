"""Lists that are files, from a web server and from this machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from relay.sources.model import FailureKind, SourceKind
from relay.sources.run import SyncOptions
from tests.lists_servers import Fault
from tests.relay.sources.parts import md5, pdq

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.sources.run import Synced
    from tests.lists_servers import FileServer
    from tests.relay.sources.parts import Fetching


def csv(names: Iterable[str]) -> bytes:
    return ("type,value\n" + "".join(f"md5,{md5(name).hex()}\n" for name in names)).encode()


def listed(names: Iterable[str]) -> set[tuple[str, bytes]]:
    return {("md5", md5(name)) for name in names}


async def sync(fetching: Fetching) -> Synced:
    synced = await fetching.sync()
    assert synced.failure is None
    assert synced.is_complete
    return synced


async def test_a_file_is_sent_again_only_when_it_changed(fetching: Fetching, files: FileServer) -> None:
    await fetching.add(SourceKind.CSV, files.url)
    files.data = csv("abc")
    assert (await sync(fetching)).changed.added == 3
    assert (await sync(fetching)).changed.added == 0
    assert files.asked[1].headers["If-None-Match"].startswith('"')
    files.data = csv("bcd")
    changed = (await sync(fetching)).changed
    assert (changed.added, changed.removed) == (1, 1)
    assert await fetching.listed() == listed("bcd")


async def test_a_server_without_validators_is_recognised_by_the_bytes(
    fetching: Fetching, files: FileServer
) -> None:
    await fetching.add(SourceKind.CSV, files.url)
    files.faults.extend([Fault(body=csv("ab"))] * 2)
    assert (await sync(fetching)).changed.added == 2
    assert (await sync(fetching)).records == 0
    assert await fetching.listed() == listed("ab")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (SourceKind.JSON, b'["md5:%s"]' % md5("a").hex().encode()),
        (SourceKind.TEXT, b"md5:" + md5("a").hex().encode()),
    ],
)
async def test_json_and_text_are_read_too(
    fetching: Fetching, files: FileServer, kind: SourceKind, data: bytes
) -> None:
    await fetching.add(kind, files.url)
    files.data = data
    await sync(fetching)
    assert await fetching.listed() == listed("a")


async def test_a_file_that_has_another_digest_than_the_admin_said_is_not_taken(
    fetching: Fetching, files: FileServer
) -> None:
    await fetching.add(SourceKind.CSV, files.url, sha256=hashlib.sha256(csv("ab")).hexdigest())
    files.data = csv("ab")
    await sync(fetching)
    files.data = csv("abc")
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.CHANGED
    assert await fetching.listed() == listed("ab")


async def test_a_file_that_loses_most_of_the_list_waits_for_a_person(
    fetching: Fetching, files: FileServer
) -> None:
    await fetching.add(SourceKind.CSV, files.url)
    names = [str(number) for number in range(2_000)]
    files.data = csv(names)
    await sync(fetching)
    files.data = csv(names[:900])
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.SHRUNK
    assert "1,100 of the 2,000" in synced.failure.detail
    assert await fetching.listed() == listed(names)
    # The same file is looked at again, since it was not taken.
    accepted = await fetching.sync(options=SyncOptions(accepts_loss=True))
    assert accepted.changed.removed == 1_100
    assert await fetching.listed() == listed(names[:900])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(body=b"<html>maintenance</html>"),
        Fault(body=b""),
        Fault(body=b"type,value\nmd5,nothing\n"),
    ],
)
async def test_what_is_no_list_changes_nothing(fetching: Fetching, files: FileServer, fault: Fault) -> None:
    await fetching.add(SourceKind.CSV, files.url)
    files.data = csv("abc")
    await sync(fetching)
    files.faults.append(fault)
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.MALFORMED
    assert await fetching.listed() == listed("abc")


async def test_credentials_are_sent_to_the_admins_host_alone(fetching: Fetching, files: FileServer) -> None:
    files.login, files.data = "me:secret", csv("a")
    await fetching.add(SourceKind.CSV, files.url, credentials=fetching.write("me:secret"))
    await sync(fetching)
    assert await fetching.listed() == listed("a")
    files.faults.append(Fault(status=307, headers={"Location": "http://127.0.0.2:1/"}))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.REFUSED


async def test_a_list_of_what_may_pass_takes_sha256_alone(fetching: Fetching, files: FileServer) -> None:
    await fetching.add(SourceKind.CSV, files.url, purpose="allow")
    files.data = csv("a")
    synced = await fetching.sync()
    assert synced.failure is not None
    assert await fetching.listed() == set()
    files.data = f"type,value\nsha256,{'1' * 64}\n".encode()
    await sync(fetching)
    assert await fetching.listed() == {("sha256", bytes.fromhex("1" * 64))}


async def test_a_file_of_this_machine_is_read(fetching: Fetching) -> None:
    path = fetching.directory / "a list.csv"
    await fetching.add(SourceKind.CSV, path.as_uri())
    missing = await fetching.sync()
    assert missing.failure is not None
    assert missing.failure.kind is FailureKind.NOT_FOUND
    path.write_bytes(csv("ab"))
    await sync(fetching)
    assert await fetching.listed() == listed("ab")


async def test_a_delivery_of_the_iwf_is_read_by_its_columns(fetching: Fetching) -> None:
    path = fetching.directory / "hashes.csv"
    path.write_text(
        "Image ID,MD5,SHA-1,PhotoDNA,PDQ Hash,Category\r\n"
        f'1,{md5("a").hex().upper()},{(md5("a") + b"1234").hex()},"1,2,3",{pdq("a").hex()},A\r\n'
        f'2,{md5("b").hex()},,"4,5,6",,C\r\n',
        encoding="utf-8",
    )
    await fetching.add(SourceKind.IWF, path.as_uri())
    await sync(fetching)
    assert await fetching.listed() == {*listed("ab"), ("sha1", md5("a") + b"1234"), ("pdq", pdq("a"))}
    assert (await fetching.source()).unusable == {"photodna": 2}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("url,category\nhttps://a.example,A\n", "web addresses"),
        ("MD5,Category\nzz,A\n", "line 2"),
        ("MD5,Category\nzz\n", "line 2"),
        ('MD5,Category\n"zz', "not CSV"),
    ],
)
async def test_what_is_no_hash_list_of_the_iwf_is_refused(fetching: Fetching, text: str, part: str) -> None:
    path = fetching.directory / "hashes.csv"
    path.write_text(text, encoding="utf-8")
    await fetching.add(SourceKind.IWF, path.as_uri())
    synced = await fetching.sync()
    assert synced.failure is not None
    assert part in synced.failure.detail
