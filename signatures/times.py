"""The three spellings of a point in time: JSON, HTTP and seconds since the epoch."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from signatures.errors import MalformedError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# 9999-12-31T23:59:59Z, the last second that `datetime` knows.
_MAX_SECONDS: Final = 253_402_300_799

_JSON_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)

# XML Schema 1.1 part 2, section 3.4.28, for the years that `datetime` knows and without the hour 24.
_TIME_STAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII)

# RFC 9110 section 5.6.7, IMF-fixdate; the two obsolete forms are in no signed message.
_HTTP_DATE: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT", re.ASCII
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name: number for number, name in enumerate(_MONTHS, start=1)}


def format_json_time(time: datetime) -> str:
    """Return `YYYY-MM-DDTHH:MM:SSZ`; a fraction of a second is cut off."""
    return require_utc(time).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def parse_json_time(text: object) -> datetime:
    """Parse exactly `YYYY-MM-DDTHH:MM:SSZ`.

    Raises:
        MalformedError: it is anything else, however reasonable.
    """
    if not isinstance(text, str) or _JSON_TIME.fullmatch(text) is None:
        raise MalformedError("not a time of the form YYYY-MM-DDTHH:MM:SSZ")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("a time that is on no calendar") from error


def parse_time_stamp(text: object) -> datetime:
    """Parse a dateTimeStamp of XML Schema, which is what others write; microseconds are kept.

    Raises:
        MalformedError: it is anything else, or before or after all years that `datetime` knows.
    """
    if not isinstance(text, str) or _TIME_STAMP.fullmatch(text) is None:
        raise MalformedError("not a dateTimeStamp")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedError("a time that is on no calendar") from error


def format_http_date(time: datetime) -> str:
    """Return an IMF-fixdate (RFC 9110 section 5.6.7)."""
    utc = require_utc(time)
    return f"{_DAYS[utc.weekday()]}, {utc:%d} {_MONTHS[utc.month - 1]} {utc.year:04} {utc:%H:%M:%S} GMT"


def parse_http_date(text: str) -> datetime:
    """Parse an IMF-fixdate (RFC 9110 section 5.6.7).

    Raises:
        MalformedError: it is another form, or the weekday is not that of the day.
    """
    match = _HTTP_DATE.fullmatch(text)
    if match is None or match[3] not in _MONTH_NUMBERS:
        raise MalformedError("not an HTTP date")
    year, day, hour, minute, second = (int(match[index]) for index in (4, 2, 5, 6, 7))
    try:
        time = datetime(year, _MONTH_NUMBERS[match[3]], day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise MalformedError("an HTTP date that is on no calendar") from error
    if _DAYS[time.weekday()] != match[1]:
        raise MalformedError("an HTTP date with the wrong weekday")
    return time


def to_seconds(time: datetime) -> int:
    """Return whole seconds since the epoch."""
    return (require_utc(time) - EPOCH) // timedelta(seconds=1)


def from_seconds(seconds: int) -> datetime:
    """Return the time of whole seconds since the epoch.

    Raises:
        MalformedError: it is before the epoch or after the year 9999.
    """
    if not 0 <= seconds <= _MAX_SECONDS:
        raise MalformedError("a time that is on no calendar")
    return EPOCH + timedelta(seconds=seconds)


def require_utc(time: datetime) -> datetime:
    """Return the time in UTC.

    Raises:
        ValueError: it is naive, which is a fault of ours and never of a peer.
    """
    if time.tzinfo is None:
        raise ValueError("times are aware")
    return time.astimezone(UTC)
