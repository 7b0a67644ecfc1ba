"""Read when a server wants to be asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# Whoever asks for more is asked again after a day.
_MAX_WAIT: Final = timedelta(days=1)
_MAX_DIGITS: Final = 9


def read_retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read how long a server asks to wait, between nothing and a day; None where it does not say.

    `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3); Mastodon and GoToSocial give the time
    in `X-RateLimit-Reset`. Dates count from the server's own `Date`, so that no clock but its own is needed.
    """
    stated = headers.get("retry-after", "").strip()
    if stated.isascii() and stated.isdecimal() and len(stated) <= _MAX_DIGITS:
        return _bound(timedelta(seconds=int(stated)))
    now = _read_date(headers.get("date", ""))
    then = _read_date(stated) or _read_timestamp(headers.get("x-ratelimit-reset", ""))
    return None if now is None or then is None else _bound(then - now)


def _bound(wait: timedelta) -> timedelta:
    return min(max(wait, timedelta()), _MAX_WAIT)


def _read_date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _read_timestamp(text: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        return None


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
