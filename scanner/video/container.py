"""Open a video or a sound with the one demuxer that fits its bytes, and sort its streams.

FFmpeg is told everything that it would otherwise find out by itself: which demuxer, which decoders, no
protocol at all, no threads. So neither a playlist nor a reference leads anywhere, and a stream in a codec
that nobody plays does not reach an old decoder.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import av
import av.error
import av.logging
from av.container import InputContainer
from av.stream import Disposition

from scanner.sniff import MediaType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scanner.outcome import Job

DEMUXERS: Final = {
    MediaType.MP4: "mov",
    MediaType.QUICKTIME: "mov",
    MediaType.MP4_AUDIO: "mov",
    MediaType.WEBM: "matroska",
    MediaType.MATROSKA: "matroska",
    MediaType.OGG: "ogg",
    MediaType.MP3: "mp3",
    MediaType.AAC: "aac",
    MediaType.FLAC: "flac",
    MediaType.WAV: "wav",
}

DECODERS: Final = frozenset(
    {
        "h264",
        "hevc",
        "libdav1d",
        "vp8",
        "vp9",
        "mpeg4",
        "mpeg2video",
        "mpeg1video",
        "mjpeg",
        "png",
        "prores",
        "h263",
        "theora",
    }
)
"""What cameras, browsers and the servers' own transcoding write; a stream in another codec stays unseen."""

MAX_STREAMS: Final = 64
"""A film with sound and subtitles in thirty languages."""

MAX_PICTURE_STREAMS: Final = 8
"""Streams of moving pictures in one file; phones with two cameras write two."""

PROBE_BYTES: Final = 2_000_000
"""What is read to learn the parameters of streams whose headers lack them: a few frames of video."""

BUFFER_BYTES: Final = 1 << 18
"""Each refill goes through Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The streams of a file.

    Attributes:
        moving: Streams of frames over time, by index.
        covers: Streams that are one attached picture, by index.
        unseen: Subtitles that are drawn, which nobody decodes.
        has_unknown: There are moving pictures that no allowed decoder takes, or too many of them.
        has_sound: There is sound.
    """

    moving: tuple[int, ...]
    covers: tuple[int, ...]
    unseen: int
    has_unknown: bool
    has_sound: bool


_DRAWN_SUBTITLES: Final = frozenset({"pgssub", "dvdsub", "dvbsub", "xsub"})


@contextmanager
def open_container(data: bytes, media_type: MediaType, *, max_pixels: int) -> Iterator[InputContainer]:
    """Open a file that lies in memory.

    Raises:
        av.error.FFmpegError: The demuxer cannot read it.
    """
    demuxer = DEMUXERS[media_type]
    options = {
        "protocol_whitelist": "",
        "format_whitelist": f"{demuxer},{_FULL_NAMES.get(demuxer, demuxer)}",
        "codec_whitelist": ",".join(sorted(DECODERS)),
        "max_streams": str(MAX_STREAMS),
        "probesize": str(PROBE_BYTES),
        "max_pixels": str(max_pixels),
        "threads": "1",
    }
    if demuxer == "mov":
        # All that is stored is examined, whether the edit list shows it or not.
        options |= {"ignore_editlist": "1", "enable_drefs": "0"}
    container = av.open(
        io.BytesIO(data), format=demuxer, options=options, metadata_errors="replace", buffer_size=BUFFER_BYTES
    )
    with container:
        if isinstance(container, InputContainer):
            yield container


_FULL_NAMES: Final = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}


def sort_streams(container: InputContainer) -> Streams:
    """Tell moving pictures, covers, and what nobody looks at apart."""
    moving: list[int] = []
    covers: list[int] = []
    has_unknown = False
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            covers.append(stream.index)
        elif stream.codec_context is not None and stream.codec_context.name in DECODERS:
            moving.append(stream.index)
        else:
            has_unknown = True
    unseen = sum(
        stream.codec_context is not None and stream.codec_context.name in _DRAWN_SUBTITLES
        for stream in container.streams.subtitles
    )
    return Streams(
        moving=tuple(moving[:MAX_PICTURE_STREAMS]),
        covers=tuple(covers),
        unseen=unseen,
        has_unknown=has_unknown or len(moving) > MAX_PICTURE_STREAMS,
        has_sound=bool(container.streams.audio),
    )


def read_covers(data: bytes, job: Job, streams: Streams) -> list[bytes]:
    """Read the covers of a file, encoded as they are.

    Raises:
        av.error.FFmpegError: The demuxer cannot read the file.
    """
    covers: dict[int, bytes] = {}
    if not streams.covers:
        return []
    with open_container(data, job.media_type, max_pixels=job.max_pixels) as container:
        # They come before everything else.
        for packet in container.demux([container.streams[index] for index in streams.covers]):
            covers.setdefault(packet.stream_index, bytes(packet))
            if len(covers) == len(streams.covers):
                break
    return list(covers.values())
