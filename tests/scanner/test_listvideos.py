"""Listed videos are read as vPDQ writes them, and from lists of every form."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import MalformedError
from scanner.hashlist import HashKind, HashListError, HashTable, parse_hash_list
from scanner.listvideos import MAX_VIDEO_FRAMES, read_video

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANCE = np.random.default_rng(7)
FRAMES = [CHANCE.bytes(32) for _ in range(6)]


def written(frames: Sequence[bytes], *, quality: int = 90) -> list[str]:
    return [f"{one.hex()},{quality},{number}.0" for number, one in enumerate(frames)]


FORMS = {
    "as its maker writes it": json.dumps(written(FRAMES)),
    "as objects": json.dumps(
        [{"pdq": one.hex(), "quality": 90, "timestamp": 1.5, "frame": 3} for one in FRAMES]
    ),
    "as older versions wrote it": json.dumps(
        {str(number): {"hash": one.hex(), "quality": 90} for number, one in enumerate(FRAMES)}
    ),
    "with frames of little quality": json.dumps(
        written(FRAMES) + written([CHANCE.bytes(32)], quality=49) + written([bytes(32)])
    ),
    "with frames twice and in another order": json.dumps(written([*reversed(FRAMES), *FRAMES])),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_video_is_the_same_video(form: str) -> None:
    found = read_video(FORMS[form])
    assert found is not None
    assert found.frames == b"".join(sorted(FRAMES))
    assert found == read_video(json.loads(FORMS[form]))
    other = read_video(json.dumps(written(FRAMES[:5])))
    assert other is not None
    assert other.name != found.name


def test_a_video_that_shows_one_thing_cannot_be_looked_for() -> None:
    near = bytearray(FRAMES[0])
    near[0] ^= 0xFF
    for frames in ([], [FRAMES[0]], [FRAMES[0], bytes(near)]):
        assert read_video(written(frames)) is None
    assert read_video(written(FRAMES, quality=49)) is None


def test_of_a_very_long_video_frames_from_everywhere_are_kept() -> None:
    frames = [CHANCE.bytes(32) for _ in range(2 * MAX_VIDEO_FRAMES)]
    found = read_video(written(frames))
    assert found is not None
    kept = {found.frames[place : place + 32] for place in range(0, len(found.frames), 32)}
    assert len(kept) == MAX_VIDEO_FRAMES
    assert {frames[0], frames[-1]} <= kept
    assert abs(len(kept & set(frames[:MAX_VIDEO_FRAMES])) - MAX_VIDEO_FRAMES // 2) <= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_anything_else_is_refused_and_nothing_is_repeated(value: object) -> None:
    for one in (value, json.dumps(value)):
        with suppress(MalformedError):
            assert read_video(one) is None


@pytest.mark.parametrize(
    "frame",
    [
        FRAMES[0].hex(),
        f"{FRAMES[0].hex()},101,0.0",
        f"{FRAMES[0].hex()},-1,0.0",
        f"{FRAMES[0].hex()[:-1]},90,0.0",
        {"hash": FRAMES[0].hex()},
        {"hash": FRAMES[0].hex(), "quality": True},
        {"quality": 90},
    ],
)
def test_one_bad_frame_refuses_the_video(frame: object) -> None:
    with pytest.raises(MalformedError) as refused:
        read_video([*written(FRAMES), frame])
    assert FRAMES[0].hex()[:8] not in str(refused.value)


def cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


LISTS = {
    "csv": f"type,value,id\nvpdq,{cell(FORMS['as its maker writes it'])},A7\n",
    "csv of columns": f"vpdq,id\n{cell(FORMS['as objects'])},A7\n",
    "json": json.dumps([{"signal_type": "vpdq", "signal_str": FORMS["as its maker writes it"], "id": "A7"}]),
    "json of arrays": json.dumps([{"vpdq": written(FRAMES), "id": "A7"}]),
    "json with its type": json.dumps({"entries": [{"type": "vpdq", "value": written(FRAMES), "id": "A7"}]}),
}


@pytest.mark.parametrize("form", LISTS)
def test_a_list_of_every_form_may_hold_videos(form: str) -> None:
    parsed = parse_hash_list(LISTS[form].encode(), form.partition(" ")[0])
    video = read_video(written(FRAMES))
    assert video is not None
    assert [(one.kind, one.value) for one in parsed.listed.entries()] == [(HashKind.VPDQ, video.name)]
    assert dict(parsed.videos) == {video.name: video.frames}
    assert dict(parsed.ids) == {(HashKind.VPDQ, video.name): "A7"}


def test_a_withdrawn_video_is_known_by_its_frames_and_one_that_shows_nothing_is_counted() -> None:
    video = read_video(written(FRAMES))
    assert video is not None
    document = {"entries": [{"vpdq": written(FRAMES[:1])}], "withdrawn": [{"vpdq": written(FRAMES)}]}
    parsed = parse_hash_list(json.dumps(document).encode(), "json")
    assert [one.value for one in parsed.withdrawn.entries()] == [video.name]
    assert (len(parsed.listed), dict(parsed.videos), parsed.placeholders) == (0, {}, 1)


def test_a_bad_video_refuses_the_list_and_says_which() -> None:
    document = [{"vpdq": written(FRAMES)}, {"vpdq": [*written(FRAMES[1:]), "x,1,1"]}, {"pdq": ["x"]}]
    with pytest.raises(HashListError, match=r"2 entries.*entry 2: the hash of a frame") as refused:
        parse_hash_list(json.dumps(document).encode(), "json")
    assert refused.value.bad_lines == 2


def test_lists_without_videos_keep_the_digest_that_they_had_before_there_were_any() -> None:
    # Source: this table's digest as it was computed when lists held four kinds of hashes.
    empty = "df08ad973aaab26e77fae93237e18c73"
    assert HashTable.from_entries(()).digest().hex().startswith(empty)
