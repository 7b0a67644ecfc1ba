"""The gateway gives out a video only after it was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_video import film_with_the_canary
from tests.fediverse import behaviours as do
from tests.scanner.clips import Scene, clip, sound

if TYPE_CHECKING:
    from tests.e2e.gateway.backends import PythonBackend
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def test_a_video_and_a_sound_are_given_out_byte_for_byte(
    backend: PythonBackend, origin: Origin
) -> None:
    for path, data, kind in (
        ("/film.mp4", clip([Scene(seed=31, frames=20)]), "video/mp4"),
        ("/film.webm", clip([Scene(seed=31, frames=20)], "vp9.webm"), "video/webm"),
        ("/sound.mp3", sound("mp3"), "audio/mpeg"),
    ):
        got = await backend.fetch(origin.on(path, do.serve(data, kind)))
        assert (got.status, got.body) == (200, data)


async def test_a_video_with_a_marker_in_its_middle_is_refused(backend: PythonBackend, origin: Origin) -> None:
    data = film_with_the_canary()
    got = await backend.fetch(origin.on("/lighthouse.mp4", do.serve(data, "video/mp4")))
    assert got.status == 403
    assert data not in got.body
