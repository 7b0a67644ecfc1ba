"""The validator: what is answered with 200 was examined, and whatever else happens is a refusal."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from db import attestations, cases, rulings, verdicts
from db.errors import DatabaseUnavailableError
from relay.model import Door, EvidenceBasis, MediaDecision
from relay.tools.memory import MAX_MEDIA_BYTES
from relay.web.validator import _answer
from scanner.canary import draw_canary
from scanner.report import UnscannableReason, Verdict
from tests.e2e.raw import send_raw
from tests.e2e.world import wait_until
from tests.fediverse.clock import START
from tests.images import animation, encode, marker
from tests.relay.line import Line, open_line
from tests.relay.stages import parts
from tests.relay.web.local_doors import SECRET, open_local_doors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx

    from db.verdicts import StoredVerdict
    from scanner.report import Report
    from scanner.scan import Begun

PNG = encode(marker(3, width=96, height=96), "PNG")
FRAMES = [marker(seed, width=96, height=96) for seed in (4, 5)]

ASKS_LATER = 429


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn, fetch_max_media_bytes="300000") as opened:
        yield opened


async def validate(
    http: httpx.AsyncClient, data: bytes | Sequence[bytes], content_type: str | None = "image/png"
) -> httpx.Response:
    """Send a file as pict-rs does; in chunks without a length where it is given in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in data:
            assert isinstance(piece, bytes)
            yield piece

    headers = {} if content_type is None else {"Content-Type": content_type}
    body = data if isinstance(data, bytes) else pieces()
    return await http.post("/validate", content=body, headers=headers)


async def find_verdict(line: Line, data: bytes) -> StoredVerdict | None:
    async with line.database.connection() as conn:
        return await verdicts.find_latest(conn, hashlib.sha256(data).digest())


class Scans:
    """Counts the scans of a line, and lets them begin only when it is open."""

    def __init__(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        scanning = line.tools.scans.scanning
        scan = scanning.scan

        async def counted(data: bytes, *, declared_type: str | None) -> tuple[Begun, Report]:
            self.count += 1
            self.begun.set()
            await self.gate.wait()
            return await scan(data, declared_type=declared_type)

        monkeypatch.setattr(scanning, "scan", counted)


@pytest.fixture
def scans(line: Line, monkeypatch: pytest.MonkeyPatch) -> Scans:
    return Scans(line, monkeypatch)


async def test_a_file_in_which_nothing_is_found_is_accepted_on_a_verdict_for_exactly_its_bytes(
    line: Line,
) -> None:
    async with open_local_doors(line.tools) as http:
        answer = await validate(http, [PNG[:1], PNG[1:700], b"", PNG[700:]])

    assert (answer.status_code, answer.json()) == (200, {})
    stored = await find_verdict(line, PNG)
    assert stored is not None
    assert stored.verdict == "no-match"
    numbers = line.metrics.render()[0].decode()
    assert 'breakwater_media_total{decision="release",door="validator",verdict="no-match"} 1.0' in numbers
    assert 'breakwater_door_answers_total{door="validator",status="200"} 1.0' in numbers
    assert line.tools.memory.used_bytes == 0
    async with line.database.connection() as conn:
        assert await attestations.list_newest(conn, limit=1) == ()


KINDS = {
    "image/apng": animation(FRAMES, "PNG"),
    "image/avif": encode(FRAMES[0], "AVIF"),
    "image/gif": animation(FRAMES, "GIF"),
    "image/jpeg": encode(FRAMES[0], "JPEG"),
    "image/png": encode(FRAMES[0], "PNG"),
    "image/webp": animation(FRAMES, "WEBP"),
}
BEYOND_US = {
    "image/jxl": b"\xff\x0a" + bytes(200),
    "video/mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(200),
    "video/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + bytes(200),
}


async def test_every_type_that_pict_rs_sends_is_examined_or_refused_as_not_examined(line: Line) -> None:
    async with open_local_doors(line.tools) as http:
        accepted = [(await validate(http, data, kind)).status_code for kind, data in KINDS.items()]
        refused = [await validate(http, data, kind) for kind, data in BEYOND_US.items()]
        lies = [
            await validate(http, KINDS["image/png"], "image/jpeg"),
            await validate(http, b"<!doctype html><p>words", "image/png"),
            await validate(http, KINDS["image/jpeg"][:400], "image/jpeg"),
        ]
        truth = await validate(http, KINDS["image/png"], None)

    assert accepted == [200] * len(KINDS)
    assert {answer.status_code for answer in (*refused, *lies)} == {422}
    assert len({answer.content for answer in (*refused, *lies)}) == 1
    assert truth.status_code == 200


async def test_what_the_policy_lets_pass_unexamined_is_accepted(dsn: str) -> None:
    async with (
        open_line(dsn, policy_conditions_unscannable="release") as line,
        open_local_doors(line.tools) as http,
    ):
        assert (await validate(http, BEYOND_US["image/jxl"], "image/jxl")).status_code == 200


async def test_refusals_for_what_was_found_are_alike_and_say_nothing(line: Line) -> None:
    lookalike = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    lookalike.putpixel((0, 0), (1, 2, 3))
    ruled = encode(marker(6, width=96, height=96), "PNG")
    digest = hashlib.sha256(ruled).digest()
    async with line.database.connection() as conn:
        ruling = rulings.Ruling(
            sha256=digest, ruling=rulings.RulingKind.BLOCK, ruled_by="moderator", ruled_at=START
        )
        await rulings.set_ruling(conn, ruling)
    found = (draw_canary(), encode(lookalike, "PNG"), ruled)
    async with open_local_doors(line.tools) as http:
        answers = [await validate(http, data) for data in found]
        again = await validate(http, draw_canary())

    assert {answer.status_code for answer in (*answers, again)} == {403}
    assert len({answer.content for answer in (*answers, again)}) == 1
    assert len({tuple(sorted(answer.headers.keys())) for answer in answers}) == 1
    told = answers[0].text.lower()
    for secret in ("spam", "canary", "match", "block", hashlib.sha256(draw_canary()).hexdigest()):
        assert secret not in told
    async with line.database.connection() as conn:
        opened = await cases.list_cases(conn, limit=10)
    assert [(case.door, case.category) for case in opened] == [(Door.VALIDATOR, "spam")] * 2


async def test_what_a_moderator_allowed_is_accepted(line: Line) -> None:
    async with line.database.connection() as conn:
        ruling = rulings.Ruling(
            sha256=hashlib.sha256(draw_canary()).digest(),
            ruling=rulings.RulingKind.ALLOW,
            ruled_by="moderator",
            ruled_at=START,
        )
        await rulings.set_ruling(conn, ruling)
    async with open_local_doors(line.tools) as http:
        assert (await validate(http, draw_canary())).status_code == 200


async def test_a_ruling_holds_while_an_examination_from_before_it_is_under_way(
    line: Line, scans: Scans
) -> None:
    scans.gate.clear()
    async with open_local_doors(line.tools) as http, asyncio.TaskGroup() as group:
        before = group.create_task(validate(http, PNG))
        await scans.begun.wait()
        async with line.database.connection() as conn:
            ruling = rulings.Ruling(
                sha256=hashlib.sha256(PNG).digest(),
                ruling=rulings.RulingKind.BLOCK,
                ruled_by="moderator",
                ruled_at=START,
            )
            await rulings.set_ruling(conn, ruling)
        after = await validate(http, PNG)
        scans.gate.set()
    assert after.status_code == 403
    assert (await before).status_code == 200


async def test_the_same_bytes_are_looked_at_once_however_often_they_come(line: Line, scans: Scans) -> None:
    scans.gate.clear()
    async with open_local_doors(line.tools) as http, asyncio.TaskGroup() as group:
        asked = [group.create_task(validate(http, [PNG])) for _ in range(8)]
        await scans.begun.wait()
        scans.gate.set()
    assert {task.result().status_code for task in asked} == {200}
    async with open_local_doors(line.tools) as http:
        assert (await validate(http, PNG)).status_code == 200
    assert scans.count == 1


async def test_what_is_not_known_in_time_is_refused_for_now_and_answered_from_the_digest_later(
    line: Line, scans: Scans
) -> None:
    scans.gate.clear()
    async with open_local_doors(line.tools, within=timedelta(seconds=1)) as http:
        early = await validate(http, PNG)
        # The examination goes on, and its bytes still count.
        assert line.tools.memory.used_bytes == len(PNG)
        assert await find_verdict(line, PNG) is None
        scans.gate.set()

        async def verdict() -> StoredVerdict | None:
            return await find_verdict(line, PNG)

        await wait_until(verdict, "a verdict")
        later = await validate(http, PNG)

    assert (early.status_code, int(early.headers["Retry-After"]) > 0) == (ASKS_LATER, True)
    assert later.status_code == 200
    assert scans.count == 1
    assert line.tools.memory.used_bytes == 0


async def test_a_sender_that_goes_away_ends_no_examination(line: Line, scans: Scans) -> None:
    scans.gate.clear()
    async with open_local_doors(line.tools) as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
        head = f"POST /{SECRET}/validate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n\r\n"
        writer.write(head.encode() + PNG)
        await scans.begun.wait()
        writer.close()
        assert await reader.read() == b""
        scans.gate.set()

        async def verdict() -> StoredVerdict | None:
            return await find_verdict(line, PNG)

        assert (await wait_until(verdict, "a verdict")).verdict == "no-match"


async def test_when_too_much_is_under_way_the_next_is_told_so_at_once(line: Line, scans: Scans) -> None:
    scans.gate.clear()
    async with open_local_doors(line.tools, max_under_way=1) as http, asyncio.TaskGroup() as group:
        first = group.create_task(validate(http, PNG))
        await scans.begun.wait()
        busy = await validate(http, KINDS["image/png"])
        scans.gate.set()
        assert (await first).status_code == 200
        assert (await validate(http, KINDS["image/png"])).status_code == 200

    assert (busy.status_code, busy.headers["Retry-After"]) == (ASKS_LATER, "5")


async def test_where_no_memory_is_left_in_time_the_file_is_asked_for_again(line: Line, scans: Scans) -> None:
    async with open_local_doors(line.tools, within=timedelta(seconds=1)) as http:
        async with line.tools.memory.open_account() as other:
            await other.grow(MAX_MEDIA_BYTES)
            early = await validate(http, PNG)
        assert scans.count == 0
        later = await validate(http, PNG)

    assert (early.status_code, later.status_code) == (ASKS_LATER, 200)


async def test_what_no_decoder_could_look_at_is_asked_for_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanning = line.tools.scans.scanning
    whole = scanning.scan

    async def scan(data: bytes, *, declared_type: str | None) -> tuple[Begun, Report]:
        begun, _ = await whole(data, declared_type=declared_type)
        reason = UnscannableReason.DETECTOR_UNAVAILABLE
        return begun, parts.report(Verdict.UNSCANNABLE, data=data, reason=reason)

    monkeypatch.setattr(scanning, "scan", scan)
    async with open_local_doors(line.tools) as http:
        answer = await validate(http, PNG)

    assert (answer.status_code, answer.headers["Retry-After"]) == (ASKS_LATER, "5")


async def test_without_the_database_nothing_is_accepted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def connection() -> object:
        raise DatabaseUnavailableError("gone")

    async with open_local_doors(line.tools) as http:
        assert (await validate(http, PNG)).status_code == 200
        monkeypatch.setattr(line.tools.database, "connection", connection)
        answer = await validate(http, PNG)

    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


async def test_a_file_is_read_to_its_bound_and_no_further(line: Line) -> None:
    most = line.tools.max_media_bytes
    largest = PNG + bytes(most - len(PNG))
    async with open_local_doors(line.tools) as http:
        over = [await validate(http, largest + b"x"), await validate(http, [largest, b"x"])]
        within = await validate(http, largest)
        empty = [await validate(http, b""), await validate(http, [])]

    assert {answer.status_code for answer in over} == {413}
    assert within.status_code != 413
    assert await find_verdict(line, largest) is not None
    assert await find_verdict(line, largest + b"x") is None
    assert {answer.status_code for answer in empty} == {400}
    assert line.tools.memory.used_bytes == 0


async def test_a_body_that_drips_is_given_up(line: Line) -> None:
    line.clock.tick = timedelta(seconds=3)
    async with open_local_doors(line.tools) as http:
        answer = await validate(http, [bytes((octet,)) for octet in PNG[:100]])

    assert answer.status_code == 408
    assert line.tools.memory.used_bytes == 0


async def test_what_is_not_the_file_itself_is_refused(line: Line) -> None:
    async with open_local_doors(line.tools) as http:
        coded = await http.post("/validate", content=gzip.compress(PNG), headers={"Content-Encoding": "gzip"})
        port = http.base_url.port or 0
        head = f"POST /{SECRET}/validate HTTP/1.1\r\nHost: x\r\n"
        chunked = head + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nnot a length\r\n"
        broken, _ = await send_raw(chunked.encode(), port=port)

    assert coded.status_code == 415
    assert broken == [400]


async def test_without_the_secret_there_is_nothing_here(line: Line) -> None:
    async with open_local_doors(line.tools) as http:
        paths = (
            "/",
            "/validate",
            "//validate",
            f"/{SECRET}",
            f"/{SECRET}/",
            f"/{SECRET}/other",
            f"/{SECRET}/validate/",
            f"/{SECRET}/validate/more",
            f"/{SECRET[:-1]}/validate",
            f"/{SECRET}x/validate",
            f"/{SECRET.upper()}/validate",
            "/%F0%9F%98%80/validate",
        )
        hidden = [
            await http.request(method, http.base_url.copy_with(raw_path=path.encode()), content=PNG)
            for path in paths
            for method in ("POST", "GET", "PUT")
        ]
        refused = [await http.request(method, "/validate") for method in ("GET", "PUT", "DELETE")]
        with_query = await http.post("/validate?anything", content=PNG)

    assert {answer.status_code for answer in hidden} == {404}
    assert len({answer.content for answer in hidden}) == 1
    assert not any("Allow" in answer.headers for answer in hidden)
    assert {(answer.status_code, answer.headers["Allow"]) for answer in refused} == {(405, "POST")}
    assert with_query.status_code == 200
    assert 'status="404"' not in line.metrics.render()[0].decode()


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("basis", list(EvidenceBasis))
@pytest.mark.parametrize("decision", list(MediaDecision))
def test_only_a_decision_to_release_is_an_acceptance(
    decision: MediaDecision, basis: EvidenceBasis, verdict: Verdict
) -> None:
    for category in (None, "spam"):
        for retry in (False, True):
            judged = parts.outcome(
                parts.evidence(parts.report(verdict), basis=basis), decision, category=category
            )
            status = _answer(replace(judged, retry=retry)).status
            assert (status == 200) is (decision is MediaDecision.RELEASE)
            assert status == 200 or 400 <= status < 500
