"""Write the log: one line an event, for people or for machines, to standard error.

Messages are event names with fields (`dead_letter delivery=7 reason=timeout`). They never carry addresses,
digests or names of media; should one slip into a message all the same, the last net of this module cuts it
out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from typing import TextIO

_REMOVED_URL: Final = "[url]"
_REMOVED_DIGEST: Final = "[digest]"

_MAX_MESSAGE_CHARS: Final = 2_000
"""A line longer than this tells nobody anything."""

_MAX_TRACE_CHARS: Final = 20_000
"""Some hundred frames."""

_URL: Final = re.compile(r"\b(?:https?|data|ftp|postgres(?:ql)?):[^\s\"'<>]+", re.IGNORECASE)
# MD5 has 32 hexadecimal digits, 22 in base64; SHA-1 40 and 27, SHA-256 64 and 43, a multihash 47 in base58.
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,}(?![0-9A-Za-z])")
_ENCODED: Final = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{22,}={0,2}(?![\w+/-])")
_WORD: Final = re.compile(r"[a-z]*(?:[A-Z][a-z]{2,})*\d{0,6}|[A-Z]{1,12}\d{0,6}|\d{1,14}")
_FIELD: Final = re.compile(r"(?:^|(?<= ))([a-z_]+)=(\S+)")

_HTTP_SERVER: Final = "aiohttp.server"
_QUIET_LIBRARIES: Final = ("aiohttp.access", "asyncio", "httpx", "httpcore", "transformers", "PIL")
"""Their own lines name addresses and files; only what goes wrong in them is wanted."""


def configure_logs(*, level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send every log line of this process to a stream, standard error by default.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        form: `text` for people, `json` for machines.
        stream: Where to; for tests.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    server = logging.getLogger(_HTTP_SERVER)
    server.filters = [one for one in server.filters if not isinstance(one, WordsOfStrangers)]
    server.addFilter(WordsOfStrangers())
    logging.captureWarnings(capture=True)


class WordsOfStrangers(logging.Filter):
    """Keep what could not be parsed as HTTP out of the log: the server quotes it, and anybody can send it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Reduce a record about an unparsable request to that fact."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "request_not_http", ()
            record.exc_info, record.exc_text = None, None
        return True


def redact(text: str) -> str:
    """Cut out what looks like an address or a digest."""
    text = _URL.sub(_REMOVED_URL, text)
    text = _HEX.sub(_REMOVED_DIGEST, text)
    return _ENCODED.sub(_replace_encoded, text)


def _replace_encoded(found: re.Match[str]) -> str:
    """Keep what is made of words: paths, names of events, of machines and of errors. A digest is not."""
    parts = re.split(r"[/_+-]", found.group().rstrip("="))
    return found.group() if all(_WORD.fullmatch(part) for part in parts) else _REMOVED_DIGEST


class TextFormatter(logging.Formatter):
    """Time, level, module and message."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one event on one line, and a trace below it."""
        message, trace = _render(record, self)
        line = f"{_time_of(record)} {record.levelname.lower():7} {record.name}: {message}"
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, fields, and a trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one event on one line."""
        message, trace = _render(record, self)
        fields = dict(_FIELD.findall(message))
        event = _FIELD.sub("", message).strip()
        entry: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
        }
        if fields:
            entry["fields"] = fields
        if trace:
            entry["trace"] = trace
        return json.dumps(entry, ensure_ascii=False)


def _render(record: logging.LogRecord, formatter: logging.Formatter) -> tuple[str, str]:
    """Return the message on one line and the trace, both redacted and of bounded length."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)  # A message whose arguments do not fit is still worth its words.
    message = redact(" ".join(text.split()))[:_MAX_MESSAGE_CHARS]
    trace = formatter.formatException(record.exc_info) if record.exc_info else ""
    return message, redact(trace)[:_MAX_TRACE_CHARS]


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def name_kinds(error: BaseException) -> str:
    """Name the kinds of an error and of those inside of it, and not their texts, which may quote rows."""
    return ",".join(sorted(_find_kinds(error)))


def _find_kinds(error: BaseException) -> set[str]:
    if isinstance(error, BaseExceptionGroup):
        return {kind for inner in error.exceptions for kind in _find_kinds(inner)}
    return {type(error).__name__}
