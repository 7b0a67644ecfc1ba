from __future__ import annotations

import pytest

from relay.web.gateway import ranges
from relay.web.gateway.ranges import Part, find_part


@pytest.mark.parametrize(
    ("condition", "is_part"),
    [
        ('"x"', True),
        ('"y"', False),
        ('W/"x"', False),
        ("Sun, 22 Nov 2026 06:00:00 GMT", True),
        ("Sun, 22 Nov 2026 06:00:01 GMT", False),
    ],
)
def test_a_condition_on_a_part_must_name_the_file_as_it_is(condition: str, *, is_part: bool) -> None:
    answered = (("ETag", '"x"'), ("Last-Modified", "Sun, 22 Nov 2026 06:00:00 GMT"))
    part = find_part((("Range", "bytes=0-1"), ("If-Range", condition)), answered, size=10)
    assert part == (Part(start=0, stop=2, size=10) if is_part else None)


def test_of_too_many_addresses_the_one_that_was_asked_for_the_longest_time_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "MAX_VERSIONS", 2)
    versions = ranges.Versions()
    for url in ("a", "b", "a", "c"):
        assert versions.note(url, b"1")
    assert not versions.note("a", b"2")
    assert versions.note("b", b"2")
