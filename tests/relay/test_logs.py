from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
from typing import TYPE_CHECKING

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logs import configure_logs, redact

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: str, level: str = "info") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    configure_logs(level=level, form=form, stream=stream)  # type: ignore[arg-type] # both forms are tried
    return logging.getLogger("relay.test"), stream


def test_an_event_for_people_is_one_line() -> None:
    log, stream = lines("text")
    log.warning("dead_letter delivery=%d reason=%s", 7, "timeout\nor so")
    assert stream.getvalue().endswith(" warning relay.test: dead_letter delivery=7 reason=timeout or so\n")


def test_an_event_for_machines_has_its_fields_apart() -> None:
    log, stream = lines("json")
    log.warning("dead_letter delivery=%d reason=%s", 7, "timeout")
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "warning",
        "logger": "relay.test",
        "event": "dead_letter",
        "fields": {"delivery": "7", "reason": "timeout"},
    }


def test_what_is_below_the_level_is_not_written() -> None:
    log, stream = lines("text", "error")
    log.warning("quiet")
    assert stream.getvalue() == ""


def test_a_trace_is_redacted_as_well() -> None:
    log, stream = lines("json")
    try:
        int("https://files.example/secret.png")
    except ValueError:
        log.exception("failed")
    assert "secret.png" not in stream.getvalue()
    assert "ValueError" in json.loads(stream.getvalue())["trace"]


def test_a_message_whose_arguments_do_not_fit_is_written_all_the_same() -> None:
    log, stream = lines("text")
    log.info("count=%d", "three")
    assert "count=%d" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "http://a.example/x",
        "HTTPS://a.example/x?y=z",
        "data:image/png;base64,AAAA",
        "postgresql://user:hunter2@db/x",
    ],
)
def test_addresses_are_cut_out(text: str) -> None:
    assert redact(f"before {text} after") == "before [url] after"


@given(st.binary(max_size=32))
def test_no_digest_passes_in_any_spelling(data: bytes) -> None:
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, data).digest()
        spellings = [
            digest.hex(),
            digest.hex().upper(),
            base64.b64encode(digest).decode(),
            base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "z" + base58.b58encode(b"\x12\x20" + digest).decode(),
        ]
        for spelling in spellings:
            for text in (spelling, f"sha256={spelling} next", f"({spelling})", f"sha-256=:{spelling}:"):
                assert spelling not in redact(text), text


@pytest.mark.parametrize(
    "text",
    [
        "delivery_moved delivery=123456 state=awaiting_examination",
        "worker relay-host-1:4242 took the lease",
        "the embedded PostgreSQL in /var/lib/breakwater/postgres/cluster stopped",
        "applied migration 0001_deliveries_and_media",
        "DatabaseUnavailableError 57P03",
        "2026-11-22T02:30:00+00:00",
        "user id 1000 cannot enter; the database lies in /var/lib/breakwater-postgres-0/Own-Data/cluster",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redact(text), str)
