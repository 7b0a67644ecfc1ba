"""Read one stream of a file: its packets without decoding them, one key frame, or one group of frames."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import av.error
from av.stream import Discard

from scanner.errors import MalformedError
from scanner.pictures.hevc import HevcPicture
from scanner.report import UnscannableReason
from scanner.video.container import open_container
from scanner.video.errors import RefusedError
from scanner.video.plan import Packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from scanner.outcome import Job

    VideoPacket = Packet[VideoStream]

MAX_PACKETS: Final = 2_000_000
"""Nine hours at sixty frames a second; 34 MB of numbers."""

MAX_SEEK_PACKETS: Final = 20_000
"""A seek that has not come to its key frame by then went astray: five minutes of frames."""

_SILENT_CODEC: Final = "hevc"
"""Its decoder passes over damage, and begins rows of blocks elsewhere than others do. Those of VP8 and VP9
pass over damage, too, but have one place to begin at."""


@contextmanager
def open_reader(data: bytes, job: Job, index: int) -> Iterator[Reader]:
    """Open one stream of a file.

    Raises:
        av.error.FFmpegError: The demuxer cannot read the file.
    """
    with open_container(data, job.media_type, max_pixels=job.max_pixels) as container:
        yield Reader(container, index, max_pixels=job.max_pixels)


class Reader:
    """One stream.

    Attributes:
        has_faults: Something did not decode.
    """

    def __init__(self, container: InputContainer, index: int, *, max_pixels: int) -> None:
        self.has_faults = False
        self._container = container
        self._stream = _choose(container, index)
        self._context = self._stream.codec_context
        # Threads are denied in the sandbox, and FFmpeg asks for as many as there are processors.
        self._context.thread_count = 1
        self._context.options = {"max_pixels": str(max_pixels)}
        self._max_pixels = max_pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as the header says, in pixels."""
        return self._context.width, self._context.height

    def list_packets(self) -> Packets:
        """List the packets, decoding none; there may be none.

        Raises:
            RefusedError: There are too many.
            av.error.FFmpegError: The demuxer cannot go on.
        """
        base: Any = self._stream.time_base
        packets = Packets.empty(float(base * 1000))
        latest = 0
        for packet in self.packets():
            if len(packets) >= MAX_PACKETS:
                raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)
            stamp = _stamp(packet)
            latest = latest if stamp is None else stamp
            packets.add(stamp=latest, lasting=max(packet.duration or 0, 0), is_key=packet.is_keyframe)
        return packets

    def packets(self) -> Iterator[VideoPacket]:
        """Go through the packets from where the reader stands; the empty one at the end is none of them.

        Raises:
            av.error.FFmpegError: The demuxer cannot go on.
        """
        for packet in self._container.demux(self._stream):
            if packet.size:
                yield packet

    def decode_alone(self, packet: VideoPacket) -> Iterator[VideoFrame]:
        """Decode a key frame, of which nothing else is needed."""
        yield from self._decode(packet)
        yield from self._decode(None)
        self._context.flush_buffers()

    def is_whole(self, packet: VideoPacket) -> bool:
        """Tell whether every decoder would show a key frame alike, where FFmpeg would not say."""
        if self._context.name != _SILENT_CODEC:
            return True
        configuration = self._context.extradata or b""
        try:
            HevcPicture(bytes(packet), configuration, max_pixels=self._max_pixels).decode()
        except (MalformedError, av.error.FFmpegError):
            return False
        return True

    def decode_group(
        self, packets: Packets, group: tuple[int, int], *, skips_unneeded: bool
    ) -> Iterator[VideoFrame]:
        """Decode a group of frames.

        Args:
            packets: All packets of the stream.
            group: The first of the group and the one behind its last.
            skips_unneeded: Whether frames are passed over that no other frame refers to.

        Raises:
            av.error.FFmpegError: The demuxer cannot go there.
        """
        first, behind = group
        self._context.flush_buffers()
        self._context.skip_frame = "NONREF" if skips_unneeded else "DEFAULT"
        self._container.seek(packets.stamps[first], stream=self._stream, backward=True)
        left, is_there = behind - first, False
        for passed, packet in enumerate(self.packets()):
            is_there = is_there or _stamp(packet) == packets.stamps[first]
            if not is_there and passed < MAX_SEEK_PACKETS:
                continue
            if not is_there:
                return
            yield from self._decode(packet)
            left -= 1
            if left == 0:
                break
        yield from self._decode(None)

    def _decode(self, packet: VideoPacket | None) -> Iterator[VideoFrame]:
        try:
            yield from self._context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self.has_faults = True


def _choose(container: InputContainer, index: int) -> VideoStream:
    """Find a stream, and let the demuxer pass over all others."""
    for stream in container.streams:
        if stream.index != index:
            stream.discard = Discard.all
    return next(stream for stream in container.streams.video if stream.index == index)


def _stamp(packet: VideoPacket) -> int | None:
    return packet.pts if packet.pts is not None else packet.dts
