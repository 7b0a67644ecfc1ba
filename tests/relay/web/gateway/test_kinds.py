from __future__ import annotations

from relay.web.gateway.kinds import WINDOW_BYTES, may_be_media


def test_the_window_is_where_a_text_is_told_from_all_else() -> None:
    assert not may_be_media(b"", "image/png")
    assert may_be_media(b"GIF89a" + b"a" * WINDOW_BYTES, "text/plain")
    assert may_be_media(b"G" * WINDOW_BYTES, "video/mp2t")
    assert may_be_media((b"G" + b"a" * 187) * 20, "text/plain")
    assert not may_be_media(b"G" + b"a" * 187 + b"G" + b"b" * 400, "text/plain")
