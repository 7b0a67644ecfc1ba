"""Mutated files: the scanner outlives them, and misses no marker that is still to be seen.

Twenty thousand are scanned for every change (`python -m tests.fuzz`); these are their first tenth.
"""

from __future__ import annotations

import pytest

from scanner.report import Verdict
from tests.fuzz.run import run
from tests.fuzz.seeds import build_seeds

FILES = 2_000


@pytest.mark.timeout(600)
def test_mutated_files_of_every_format_crash_nothing_and_hide_nothing() -> None:
    tally = run(files=FILES, seed=1)
    assert tally.files == FILES
    assert [case.number for case in tally.raised] == []
    assert [(case.number, case.seed.name) for case in tally.missed] == []
    # The run means something: of nearly every format some files are still seen through, and some are not.
    names = {seed.name for seed in build_seeds()}
    for verdict in (Verdict.MATCH, Verdict.UNSCANNABLE):
        assert sum(tally.verdicts[name, verdict.value] > 0 for name in names) >= len(names) - 2
