"""FEDERATION.md has what FEP-67ff asks for, and names what this project really speaks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from relay.exchange.activities import MAX_ACTIVITY_BYTES, Verb
from relay.exchange.client import MAX_DIGESTS, MAX_PAGE, MAX_WAIT_S
from relay.stages import extract
from relay.tools.identity import API_PATH, API_TERM
from signatures.alert import ALERT_TYPE
from signatures.attestation import ATTESTATION_TYPE
from signatures.doubt import DOUBT_TYPE
from signatures.http import FASP_FRESHNESS, INBOX_FRESHNESS
from signatures.objects import MAX_OBJECT_BYTES, MAX_OBJECT_DEPTH
from signatures.revocation import REVOCATION_TYPE

_ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (_ROOT / "FEDERATION.md").read_text(encoding="utf-8")


def test_it_has_the_sections_of_the_fep() -> None:
    sections = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert sections[:2] == ["Supported federation protocols and standards", "Supported FEPs"]
    assert sections[-1] == "Additional documentation"


def test_every_fep_is_linked_by_its_own_name() -> None:
    feps = re.findall(r"^- \[FEP-([0-9a-f]{4}): [^\]]+\]\(([^)]+)\)", TEXT, re.MULTILINE)
    assert len(feps) >= 9
    assert all(url.endswith(f"fep-{slug}.md") for slug, url in feps)


@pytest.mark.parametrize(
    "phrase",
    [
        *(f"`{verb.value}`" for verb in Verb),
        *(f"`{kind}`" for kind in (ATTESTATION_TYPE, REVOCATION_TYPE, ALERT_TYPE, DOUBT_TYPE)),
        f"`endpoints.{API_TERM}`",
        f"{{base}}{API_PATH}",
        f"| a delivered activity | {extract.MAX_BODY_BYTES // 2**20} MiB, {extract.MAX_DEPTH} levels |",
        f"own inbox | {MAX_ACTIVITY_BYTES // 2**10} KiB |",
        f"{MAX_OBJECT_BYTES:,} octets, {MAX_OBJECT_DEPTH} levels",
        f"look-up | {MAX_DIGESTS} each |",
        f"feed | {MAX_PAGE} |",
        f"long poll | {MAX_WAIT_S} s |",
        f"of a delivery | {INBOX_FRESHNESS.max_age.seconds // 60} minutes;",
        f"between relays {FASP_FRESHNESS.max_age.seconds // 60} minutes |",
        f"run ahead | {FASP_FRESHNESS.max_ahead.seconds // 60} minutes |",
    ],
)
def test_every_word_and_bound_that_is_enforced_stands_in_it(phrase: str) -> None:
    assert phrase in TEXT


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT))
def test_every_link_within_the_project_leads_somewhere(target: str) -> None:
    assert (_ROOT / target).exists()
