"""Drawn clips for tests, encoded by FFmpeg: harmless markers that take turns."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np

from tests.apart import run_apart
from tests.images import encode, marker, marker_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av import VideoFrame

WIDTH: Final = 320
HEIGHT: Final = 240
RATE: Final = 10
FORMATS: Final = {
    "h264.mp4": ("mp4", "libx264", "yuv420p"),
    "hevc.mp4": ("mp4", "libx265", "yuv420p"),
    "av1.mp4": ("mp4", "libsvtav1", "yuv420p"),
    "mpeg4.mov": ("mov", "mpeg4", "yuv420p"),
    "prores.mov": ("mov", "prores_ks", "yuv422p10le"),
    "vp8.webm": ("webm", "libvpx", "yuv420p"),
    "vp9.webm": ("webm", "libvpx-vp9", "yuv420p"),
    "h264.mkv": ("matroska", "libx264", "yuv420p"),
    "mjpeg.mkv": ("matroska", "mjpeg", "yuvj420p"),
    "vp8.ogg": ("ogg", "libvpx", "yuv420p"),
}
"""Every container and codec that is decoded and that can be written here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A drawn picture and how many frames it is shown for."""

    seed: int
    frames: int


def draw(seed: int, pixel_format: str = "yuv420p", size: tuple[int, int] = (WIDTH, HEIGHT)) -> VideoFrame:
    """Draw a marker as a frame."""
    pixels = marker_pixels(seed, width=size[0], height=size[1])
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format, threads=1)


def clip(
    scenes: Sequence[Scene],
    kind: str = "h264.mp4",
    *,
    group: int = 1000,
    rate: int = RATE,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
    tracks: Sequence[Sequence[Scene]] = (),
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:
    """Encode scenes.

    Args:
        scenes: What the first track shows.
        kind: One of `FORMATS`.
        group: A key frame comes every so many frames, and nowhere else.
        rate: Frames a second.
        rotation: Degrees by which players turn the pictures, counter-clockwise.
        options: More for the encoder.
        tracks: Further tracks of pictures.
        size: Width and height.
    """
    encoding = _Encoding(
        kind=kind,
        group=group,
        rate=rate,
        rotation=rotation,
        options=options or {},
        shown=(tuple(scenes), *(tuple(one) for one in tracks)),
        size=size,
    )
    return run_apart(_encode, encoding) if FORMATS[kind][1] == "libsvtav1" else _encode(encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoding:
    kind: str
    group: int
    rate: int
    rotation: int | None
    options: dict[str, str]
    shown: tuple[tuple[Scene, ...], ...]
    size: tuple[int, int]


def _encode(encoding: _Encoding) -> bytes:
    container_name, codec, pixel_format = FORMATS[encoding.kind]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_name) as container:
        streams: list[Any] = []
        for _ in encoding.shown:
            stream: Any = container.add_stream(codec, rate=encoding.rate)
            stream.width, stream.height, stream.pix_fmt = *encoding.size, pixel_format
            stream.codec_context.thread_count = 1
            stream.codec_context.gop_size = encoding.group
            stream.options = {**_fixed_groups(codec, encoding.group), **encoding.options}
            if encoding.rotation is not None:
                stream.set_display_rotation(encoding.rotation)
            streams.append(stream)
        for stream, shown in zip(streams, encoding.shown, strict=True):
            number = 0
            for scene in shown:
                drawn = draw(scene.seed, pixel_format, encoding.size)
                for _ in range(scene.frames):
                    frame = drawn.reformat(format=pixel_format)
                    frame.pts, frame.time_base = number, Fraction(1, encoding.rate)
                    number += 1
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return buffer.getvalue()


def _fixed_groups(codec: str, group: int) -> dict[str, str]:
    """Keep the encoder from beginning a group where the picture changes."""
    if codec == "libx264":
        return {"sc_threshold": "0", "preset": "ultrafast", "bf": "2"}
    if codec == "libx265":
        return {"x265-params": f"log-level=none:scenecut=0:keyint={group}:pools=none:frame-threads=1"}
    if codec == "libsvtav1":
        return {"preset": "12", "svtav1-params": f"keyint={group}:scd=0:lp=1"}
    if codec in {"libvpx", "libvpx-vp9"}:
        return {"deadline": "realtime", "cpu-used": "8", "keyint_min": str(group), "lag-in-frames": "0"}
    return {"sc_threshold": "1000000000"} if codec == "mpeg4" else {}


def sound(kind: str, *, cover: bytes | None = None) -> bytes:
    """Encode a second of silence, with a cover picture where the format has a place for one.

    Args:
        kind: `mp3`, `m4a`, `flac`, `ogg`, `wav`, `aac` or `webm`.
        cover: A JPEG.
    """
    name, codec = {
        "mp3": ("mp3", "libmp3lame"),
        "m4a": ("mp4", "aac"),
        "flac": ("flac", "flac"),
        "ogg": ("ogg", "libopus"),
        "wav": ("wav", "pcm_s16le"),
        "aac": ("adts", "aac"),
        "webm": ("webm", "libopus"),
    }[kind]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=name) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        picture: Any = None
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        if picture is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            packet.time_base = Fraction(1, 1)
            container.mux(packet)
        layout = "s16" if codec in {"pcm_s16le", "flac"} else "fltp"
        samples = np.zeros((1, 48_000), dtype=np.int16 if layout == "s16" else np.float32)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=48_000)
        frame = av.AudioFrame.from_ndarray(samples, format=layout, layout="mono")
        frame.sample_rate = 48_000
        frame.pts = 0
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def cover(seed: int) -> bytes:
    """Draw a cover as a JPEG."""
    return encode(marker(seed, width=WIDTH, height=HEIGHT), "JPEG", quality=90)


def patch_box(data: bytes, kind: bytes, at: int, value: bytes) -> bytes:
    """Overwrite bytes of every box of a kind; `at` counts from behind its name."""
    changed = bytearray(data)
    place = changed.find(kind)
    while place >= 0:
        changed[place + 4 + at : place + 4 + at + len(value)] = value
        place = changed.find(kind, place + 4)
    return bytes(changed)


def with_outside_reference(data: bytes, address: bytes = b"http://10.0.0.1/a\0") -> bytes:
    """Let the data of an MP4 lie in another file: the reference names it and the mark is taken away."""
    inside = b"\x00\x00\x00\x0curl \x00\x00\x00\x01"
    outside = struct.pack(">I", 12 + len(address)) + b"url " + bytes(4) + address
    grown = len(outside) - len(inside)
    changed = bytearray(data.replace(inside, outside))
    # Each box around it becomes longer by as much.
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = changed.find(kind) - 4
        (size,) = struct.unpack_from(">I", changed, place)
        struct.pack_into(">I", changed, place, size + grown)
    return bytes(changed)
