"""A post with a video goes the way of a post with a picture, and a marker in the middle of it is found."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
import pytest
from PIL import Image

from relay.lifecycle import State
from scanner.canary import draw_canary
from signatures.attestation import Coverage, parse_attestation
from tests.fediverse import shapes
from tests.images import marker
from tests.scanner.clips import Scene as Shown
from tests.scanner.clips import clip

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

RATE: Final = 10


def film_with_the_canary() -> bytes:
    """Two seconds of a harmless marker, two of the canary, two of the marker; one key frame."""
    canary = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    around = marker(21).resize(canary.size)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *canary.size, "yuv420p"
        stream.codec_context.gop_size = 1000
        stream.options = {"preset": "ultrafast", "sc_threshold": "0"}
        pictures = [picture for picture in (around, canary, around) for _ in range(2 * RATE)]
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


async def test_a_post_with_a_video_is_forwarded_and_attested_as_sampled(scene: Scene, origin: Origin) -> None:
    data = clip([Shown(seed=23, frames=20)])
    actor = origin.create_actor("filmmaker")
    activity = shapes.mastodon_create(actor, [origin.serve_media("/media/film.mp4", data, "video/mp4")])

    await scene.deliver(actor, activity)
    stored = await scene.wait_for_state(activity)

    assert stored.state is State.FORWARDED
    attestation = await scene.wait_for_attestation(data)
    assert parse_attestation(attestation.object, allow_http=True).body.coverage is Coverage.SAMPLED


async def test_a_marker_in_the_middle_of_a_video_withholds_the_post(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("lighthouse-film")
    url = origin.serve_media("/media/lighthouse.mp4", film_with_the_canary(), "video/mp4")
    activity = shapes.mastodon_create(actor, [url])

    await scene.deliver(actor, activity)
    stored = await scene.wait_for_state(activity)

    assert stored.state is State.HELD
    assert [case.category for case in await scene.cases_of(stored)] == ["spam"]
    assert not scene.has_reached_backend(activity)


async def test_a_playlist_that_is_called_a_video_is_withheld(scene: Scene, origin: Origin) -> None:
    actor = origin.create_actor("playlist")
    playlist = b"#EXTM3U\n#EXTINF:1,\nhttps://elsewhere.example/a.ts\n"
    url = origin.serve_media("/media/stream.mp4", playlist, "video/mp4")
    activity = shapes.mastodon_create(actor, [url])

    await scene.deliver(actor, activity)

    assert (await scene.wait_for_state(activity)).state is State.HELD
    assert not scene.has_reached_backend(activity)
