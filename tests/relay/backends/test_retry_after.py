"""When a server wants to be asked again is read in each of its forms, and bounded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.backends.retry_after import read_retry_after

DATE = "Sun, 22 Nov 2026 08:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "17"}, timedelta(seconds=17)),
        ({"retry-after": " 0 "}, timedelta()),
        ({"retry-after": "999999999"}, timedelta(days=1)),
        ({"retry-after": "Sun, 22 Nov 2026 08:01:00 GMT", "date": DATE}, timedelta(minutes=1)),
        ({"retry-after": "Sun, 22 Nov 2020 08:01:00 GMT", "date": DATE}, timedelta()),
        ({"retry-after": "Sun, 22 Nov 2099 08:01:00 GMT", "date": DATE}, timedelta(days=1)),
        ({"x-ratelimit-reset": "2026-11-22T08:05:00.000000Z", "date": DATE}, timedelta(minutes=5)),
        ({"retry-after": "Sun, 22 Nov 2026 08:01:00 GMT"}, None),
        ({"x-ratelimit-reset": "2026-11-22T08:05:00Z"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon", "date": "yesterday"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_what_the_server_said(headers: dict[str, str], wait: timedelta | None) -> None:
    assert read_retry_after(headers) == wait


@given(st.text(), st.text(), st.text())
def test_any_text_is_a_wait_of_at_most_a_day_or_none(stated: str, date: str, reset: str) -> None:
    wait = read_retry_after({"retry-after": stated, "date": date, "x-ratelimit-reset": reset})
    assert wait is None or timedelta() <= wait <= timedelta(days=1)
