"""Video and sound, decoded inside the sandbox through FFmpeg."""

from scanner.video.media import decode_video, prepare_video

__all__ = ["decode_video", "prepare_video"]
