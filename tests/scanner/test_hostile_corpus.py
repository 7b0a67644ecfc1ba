"""Twenty thousand mutated files: the scanner outlives them, and misses no marker that is still to be seen."""

from __future__ import annotations

import pytest

from scanner.report import Verdict
from tests.fuzz.run import run
from tests.fuzz.seeds import build_seeds

FILES = 20_000


@pytest.mark.timeout(1800)
def test_mutated_files_of_every_format_crash_nothing_and_hide_nothing() -> None:
    tally = run(files=FILES, seed=1)
    assert tally.files == FILES
    assert [case.number for case in tally.raised] == []
    assert [(case.number, case.seed.name) for case in tally.missed] == []
    # The run means something: of every format some files are still seen through, and some are not.
    for seed in build_seeds():
        assert tally.verdicts[seed.name, Verdict.MATCH.value] > 0, seed.name
        assert tally.verdicts[seed.name, Verdict.UNSCANNABLE.value] > 0, seed.name
