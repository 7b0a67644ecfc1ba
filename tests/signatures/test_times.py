from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.errors import MalformedError
from signatures.times import (
    format_http_date,
    format_json_time,
    from_seconds,
    parse_http_date,
    parse_json_time,
    parse_time_stamp,
    to_seconds,
)

times = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 (bounds are naive there)
    lambda time: time.replace(microsecond=0)
)


@given(times)
def test_every_spelling_gives_back_the_time(time: datetime) -> None:
    assert parse_json_time(format_json_time(time)) == time
    assert parse_http_date(format_http_date(time)) == time
    assert from_seconds(to_seconds(time)) == time


@given(times)
def test_http_dates_are_those_of_the_standard_library(time: datetime) -> None:
    assert format_http_date(time) == format_datetime(time, usegmt=True)


@given(st.text(max_size=40))
def test_parsing_times_is_total(text: str) -> None:
    for parse in (parse_json_time, parse_http_date, parse_time_stamp):
        with pytest.raises(MalformedError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T02:30:00+00:00",
        "2026-11-22T02:30:00.5Z",
        "2026-11-22 02:30:00Z",
        "2026-11-22t02:30:00z",
        "2026-11-22T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T02:30:60Z",
        "2026-11-22T02:30:00Z\n",
        "２026-11-22T02:30:00Z",  # noqa: RUF001 (a full-width digit is the point)
        None,
        1763778600,
    ],
)
def test_a_json_time_has_one_form(text: object) -> None:
    with pytest.raises(MalformedError):
        parse_json_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Xyz 1994 08:49:37 GMT",
    ],
)
def test_an_http_date_has_one_form_and_the_right_weekday(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_http_date(text)


def test_a_time_in_another_zone_is_written_in_utc() -> None:
    time = datetime(2026, 11, 22, 5, 0, tzinfo=timezone(timedelta(hours=2)))
    assert format_json_time(time) == "2026-11-22T03:00:00Z"
    assert format_http_date(time) == "Sun, 22 Nov 2026 03:00:00 GMT"


@pytest.mark.parametrize("seconds", [-1, 253_402_300_800, 10**30])
def test_seconds_that_are_on_no_calendar_are_malformed(seconds: int) -> None:
    with pytest.raises(MalformedError):
        from_seconds(seconds)


def test_a_naive_time_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="aware"):
        to_seconds(datetime(2026, 1, 1))  # noqa: DTZ001 (a naive time is the point)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T05:29:17Z", datetime(2026, 11, 22, 5, 29, 17, tzinfo=UTC)),
        ("2026-11-22T05:29:17.81335689Z", datetime(2026, 11, 22, 5, 29, 17, 813356, tzinfo=UTC)),
        ("2026-11-22T05:29:17.5-03:30", datetime(2026, 11, 22, 8, 59, 17, 500000, tzinfo=UTC)),
    ],
)
def test_time_stamps_are_read_with_any_fraction_and_offset(text: str, time: datetime) -> None:
    assert parse_time_stamp(text) == time


@pytest.mark.parametrize(
    "text",
    [
        None,
        1,
        "2026-11-22T05:29:17",
        "2026-11-22 05:29:17Z",
        "2026-11-22T05:29:17,5Z",
        "2026-11-22T05:29:17.Z",
        "2026-02-30T05:29:17Z",
        "0001-01-01T00:00:00+14:00",
        "2026-11-22T05:29:17+99:99",
    ],
)
def test_what_is_no_time_stamp_is_malformed(text: object) -> None:
    with pytest.raises(MalformedError):
        parse_time_stamp(text)
