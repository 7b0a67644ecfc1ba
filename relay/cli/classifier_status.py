"""`breakwater classifier status`: what detectors did, and how classifiers agree with moderators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from db.detector_statistics import count_detectors, list_ruled
from relay.cli.options import (
    config_options,
    explained,
    json_option,
    print_json,
    print_rows,
    read_settings,
    run,
)
from relay.cli.options import with_database as on_database
from scanner.embedded_classifier import get_embedded_calibration
from scanner.model_files import read_calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.detector_statistics import RuledScan
    from db.pool import Database
    from relay.config import Settings

_MAX_RULINGS: Final = 100_000


@click.command("status")
@config_options
@json_option
def status_command(*, as_json: bool, **place: Any) -> None:
    """Show how often each detector found something, and how moderators ruled where it looked.

    Rulings count for a classifier only in the categories that it speaks of. Those in shadow are marked.
    """

    async def work(database: Database) -> list[dict[str, Any]]:
        async with database.connection() as conn:
            counts = await count_detectors(conn)
            ruled = await list_ruled(conn, limit=_MAX_RULINGS)
        return [
            {
                "detector": one.name,
                "shadow": "yes" if one.is_shadow else "",
                "looked": one.looked,
                "found": one.found,
                "failed": one.failed,
                **count_agreement(ruled, one.name, categories.get(one.name), is_shadow=one.is_shadow),
            }
            for one in counts
        ]

    with explained():
        settings = read_settings(**place)
        categories = _read_categories(settings)
    rows = run(on_database(settings, work))
    if as_json:
        print_json({"detectors": rows})
    elif rows:
        print_rows(rows)
    else:
        click.echo("Nothing was scanned yet.")


def _read_categories(settings: Settings) -> dict[str, frozenset[str]]:
    calibrations = [read_calibration(folder) for folder in settings.scanner.classifier_dirs]
    if settings.scanner.has_embedded_classifier:
        calibrations.append(get_embedded_calibration())
    return {
        one.name: frozenset(str(rule.category) for rule in one.labels.values() if rule is not None)
        for one in calibrations
    }


def count_agreement(
    ruled: Sequence[RuledScan], detector: str, categories: frozenset[str] | None, *, is_shadow: bool
) -> dict[str, int | None]:
    """Count how a detector's word and the rulings on the same bytes go together.

    Args:
        ruled: Scans of bytes that a person ruled on.
        detector: Its name.
        categories: Of which it speaks; None where they are not known, so that nothing is counted.
        is_shadow: Count where it was only tried out, or else where it was not.
    """
    names = ("found_upheld", "found_released", "silent_upheld", "silent_released")
    if categories is None:
        return dict.fromkeys(names)
    counts: dict[str, int | None] = dict.fromkeys(names, 0)
    for one in ruled:
        found = _did_find(one, detector, is_shadow=is_shadow)
        if found is None or one.category not in categories:
            continue
        name = f"{'found' if found else 'silent'}_{'upheld' if one.was_upheld else 'released'}"
        counts[name] = (counts[name] or 0) + 1
    return counts


def _did_find(scan: RuledScan, detector: str, *, is_shadow: bool) -> bool | None:
    """Tell whether a detector found something; None where it did not look."""
    if is_shadow:
        runs = [(one["run"], one["findings"]) for one in scan.shadow]
    else:
        runs = [
            (run, [finding for finding in scan.findings if finding["detector"] == run["name"]])
            for run in scan.detectors
        ]
    for run_of, findings in runs:
        if run_of["name"] == detector and run_of["outcome"] in {"ran", "overruled"}:
            return bool(findings)
    return None
