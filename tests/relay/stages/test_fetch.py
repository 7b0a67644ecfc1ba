from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model import FetchFailure, Location, Media, MediaReference
from relay.stages.fetch import fetch, read_data_uri

if TYPE_CHECKING:
    from relay.tools.transfers import Reserve

BOUND = 1000


class Recording:
    """A media source that answers GONE and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []

    async def fetch_media(
        self, url: str, *, max_bytes: int | None = None, reserve: Reserve | None = None
    ) -> Media | FetchFailure:
        assert reserve is None
        self.asked.append((url, max_bytes))
        return FetchFailure.GONE


def reference(url: str) -> MediaReference:
    return MediaReference(url=url, location=Location.INLINE)


async def test_a_url_is_fetched_within_the_bound() -> None:
    client = Recording()
    outcome = await fetch(reference("https://example.org/a"), client=client, max_bytes=BOUND)
    assert outcome is FetchFailure.GONE
    assert client.asked == [("https://example.org/a", BOUND)]


@pytest.mark.parametrize("scheme", ["data:", "DATA:", "Data:"])
async def test_inline_bytes_never_reach_the_network(scheme: str) -> None:
    client = Recording()
    outcome = await fetch(reference(f"{scheme}image/png;base64,AAEC"), client=client, max_bytes=BOUND)
    assert outcome == Media(
        data=b"\x00\x01\x02", sha256=hashlib.sha256(b"\x00\x01\x02").digest(), content_type="image/png"
    )
    assert client.asked == []


@given(st.binary(max_size=BOUND))
def test_inline_bytes_survive_every_way_of_writing_them(data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    for uri in (
        f"data:image/png;base64,{encoded}",
        f"data:image/png;base64,{quote_from_bytes(encoded.encode(), safe='')}",
        f"data:image/png;base64,{encoded.rstrip('=')}",
        f"data:image/png;charset=x;BASE64,{encoded}",
        f"data:image/png,{quote_from_bytes(data, safe='')}",
    ):
        media = read_data_uri(uri, max_bytes=BOUND)
        assert isinstance(media, Media)
        assert (media.data, media.content_type) == (data, "image/png")


@given(st.text())
def test_any_text_is_media_or_a_failure(text: str) -> None:
    for uri in (f"data:{text}", f"data:;base64,{text}", f"data:,{text}"):
        outcome = read_data_uri(uri, max_bytes=20)
        if isinstance(outcome, Media):
            assert len(outcome.data) <= 20
        else:
            assert outcome in (FetchFailure.MALFORMED, FetchFailure.TOO_LARGE)


@pytest.mark.parametrize(
    ("uri", "failure"),
    [
        ("data:image/png;base64", FetchFailure.MALFORMED),
        ("data:image/png;base64,A", FetchFailure.MALFORMED),
        ("data:image/png;base64,AA=A", FetchFailure.MALFORMED),
        ("data:image/png;base64,AA-_", FetchFailure.MALFORMED),
        ("data:image/png;base64,AAEC#x", FetchFailure.MALFORMED),
        ("data:image/png,a#b", FetchFailure.MALFORMED),
        ("data:image/png,\u00fc", FetchFailure.MALFORMED),
        ("data:image/png," + "a" * (BOUND + 1), FetchFailure.TOO_LARGE),
        ("data:image/png;base64," + "A" * (4 * BOUND), FetchFailure.TOO_LARGE),
        ("data:image/png;base64," + "A" * (40 * BOUND), FetchFailure.TOO_LARGE),
    ],
)
def test_what_cannot_be_decoded_in_one_way_is_refused(uri: str, failure: FetchFailure) -> None:
    assert read_data_uri(uri, max_bytes=BOUND) is failure


def test_a_missing_type_is_the_one_of_the_rfc() -> None:
    media = read_data_uri("data:,hello", max_bytes=BOUND)
    assert isinstance(media, Media)
    assert media.content_type == "text/plain"
