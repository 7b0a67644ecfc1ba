"""Simulate a federation that shares its scans: what it saves, and what liars get away with.

`python -m tests.bench --only federation` takes some minutes. `federation_saving_*` are costly scans that
everyone scanning for themselves would make, for each that is made with Breakwater.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from tests.bench._federation_model import Model, lies_alone
from tests.bench._federation_world import LIARS, Kind, build_world, draw_reaches

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = (
    "federation_saving_10",
    "federation_saving_100",
    "federation_saving_1000",
    "federation_lies_mean",
    "federation_lies_p95",
    "federation_honest_demoted",
    "federation_days",
    "federation_size",
)

_REACHES: Final = {10: 2.5, 100: 20.0, 1000: 60.0}
_POSTS: Final = 100_000
# An average instance gets 3,000 media a day, a third of what a mid-size one sees, and a post reaches nine.
_A_DAY: Final = 333.0
_DAYS: Final = (30, 90, 365)
_LIARS: Final = 0.10
# Of a liar that was honest for as long as it takes to be audited least.
_CREDIT: Final = 10_000.0
_TRIALS: Final = 2_000


def simulate(
    *, size: int, posts: int, adoption: float, liars: float, days: int = 365, seed: int = 1
) -> Model:
    """Run one simulation to its end.

    Args:
        size: How many instances there are.
        posts: How many media pass.
        adoption: The share of instances that run a relay.
        liars: The share of instances that lie.
        days: How long they have known each other.
        seed: Of all chance.
    """
    rng = np.random.default_rng(seed)
    world = build_world(size, adoption=adoption, liars=liars, seed=seed)
    reaches = draw_reaches(posts, size=size, planted=tuple(_REACHES), rng=rng)
    model = Model(
        world,
        history=size * days * _A_DAY,
        mean_reach=statistics.fmean(reaches),
        rng=rng,
    )
    origins = rng.choice(size, posts, p=world.writes)
    for turn, reach in enumerate(reaches):
        model.pass_on(int(origins[turn]), reach, progress=turn / posts)
    return model


def run() -> Iterator[dict[str, object]]:
    """Yield the savings by adoption and reach, the lies by liar, and how both grow with the federation."""
    for adoption in (0.1, 0.5, 1.0):
        model = simulate(size=1_000, posts=_POSTS, adoption=adoption, liars=0.0)
        for reach, target in _REACHES.items():
            saving = model.tally.saving(min(reach, 999))
            is_full = adoption == 1.0
            yield {
                "name": f"federation_saving_{reach}",
                "value": round(saving, 2),
                "unit": f"scans saved into one, adoption {adoption:.0%}",
                "peer": "everyone scans",
                "target": f">= {target}" if is_full else None,
                "holds": saving >= target if is_full else None,
            }
    for days in _DAYS:
        model = simulate(size=1_000, posts=_POSTS // 4, adoption=1.0, liars=0.0, days=days)
        savings = ", ".join(f"{model.tally.saving(min(reach, 999)):.1f} at {reach}" for reach in _REACHES)
        yield {"name": "federation_days", "value": days, "unit": f"days of acquaintance: {savings}"}
    yield from _tell_of_liars(simulate(size=1_000, posts=_POSTS, adoption=1.0, liars=_LIARS))
    for size, posts in ((100, 30_000), (1_000, 30_000), (10_000, 10_000)):
        model = simulate(size=size, posts=posts, adoption=1.0, liars=_LIARS)
        wrong, of = _wrongly_demoted(model)
        total = model.tally.needed.total() / model.tally.scans.total()
        yield {
            "name": "federation_size",
            "value": size,
            "unit": f"instances: {total:.1f} scans into one over all posts, {_mean(_lies(model)):.2f} lies "
            f"relied on per reader and liar, {wrong} of {of} honest pairs wrongly demoted",
        }


def _tell_of_liars(model: Model) -> Iterator[dict[str, object]]:
    by_kind: dict[Kind, list[int]] = defaultdict(list)
    for (_, liar), lies in model.tally.lies.items():
        by_kind[model.world.kinds[liar]].append(lies)
    for kind in LIARS:
        for lies, among in (
            (by_kind[kind], "pairs that relied on any, warned by others"),
            ([lies_alone(kind, credit=_CREDIT, rng=model.rng) for _ in range(_TRIALS)], "readers all alone"),
        ):
            for name, value, bound in (
                ("federation_lies_mean", _mean(lies), 11.0),
                ("federation_lies_p95", _p95(lies), 35.0),
            ):
                yield {
                    "name": name,
                    "value": round(value, 2),
                    "unit": f"lies relied on, {kind.value}, {len(lies)} {among}",
                    "target": f"<= {bound:.0f}",
                    "holds": value <= bound,
                }
    wrong, of = _wrongly_demoted(model)
    share = wrong / of
    yield {
        "name": "federation_honest_demoted",
        "value": round(share, 6),
        "unit": f"of {of} pairs of honest instances",
        "target": "<= 0.005",
        "holds": share <= 0.005,
    }


def _wrongly_demoted(model: Model) -> tuple[int, int]:
    kinds = model.world.kinds
    wrong = sum(kinds[issuer] is Kind.HONEST for _, issuer in model.demoted())
    honest = sum(kind is Kind.HONEST for kind in kinds)
    return wrong, honest * (honest - 1)


def _lies(model: Model) -> list[int]:
    return list(model.tally.lies.values())


def _mean(values: list[int]) -> float:
    return statistics.fmean(values) if values else 0.0


def _p95(values: list[int]) -> float:
    return float(np.percentile(values, 95)) if values else 0.0
