"""What an administrator says about a classifier: which files it is, and what its labels mean.

A calibration is a file `calibration.json` beside the model:

    {
      "format": 1,
      "name": "my-model",
      "version": "2026-11",
      "preprocess": "square256-bilinear-1",
      "files": {"model.safetensors": "<sha256>", "config.json": "<sha256>", …},
      "labels": {
        "nsfw": {"category": "adult-content", "label": "porn", "threshold_permille": 900,
                 "false_positives_per_million": 1200, "measured_on": 50000},
        "sfw": null
      }
    }

`files` pins every file that is read; `labels` names every label of the model, those that mean nothing with
null. `measured_on` is the number of harmless pictures on which the rate of false positives was measured;
both are null where it was not. `advisory` (true where left out) says whether findings are reported without
deciding. `precision` (`auto` where left out) fixes the arithmetic with which the thresholds were measured.

A zero-shot model has no labels of its own: `prompts` gives each label the sentences that describe it, and a
picture's score is how well it fits them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

from scanner.classifier_precision import AUTO, Precision
from scanner.errors import MalformedError
from scanner.labels import Category
from scanner.preprocess import PREPROCESS_VERSION
from scanner.settings import CLASSIFIERS

if TYPE_CHECKING:
    from collections.abc import Mapping

CALIBRATION_NAME: Final = "calibration.json"
MAX_CALIBRATION_BYTES: Final = 1 << 20
"""A thousand labels with their rules are about 150 KB."""
MAX_LABELS: Final = 4096
MAX_TEXT_CHARS: Final = 64
"""Names and versions end in reports, which peers store."""
MAX_PROMPTS: Final = 64
"""Of one label; published sets of prompts have up to 80 for a whole model, and each costs a run."""
MAX_PROMPT_CHARS: Final = 256
"""The text models in use read 64 to 77 tokens."""
FORMAT: Final = 1
PERMILLE: Final = 1000
MILLION: Final = 1_000_000
FORBIDDEN: Final = frozenset({Category.CSAM_KNOWN, Category.NCII_KNOWN, Category.NCII_REPORTED})
"""These say that a verified list or a person's notice names the picture, which no model can know."""

RESERVED: Final = frozenset({CLASSIFIERS, "allow-list", "exact-hash", "list-age", "pdq", "vpdq"})
"""Names of the other detectors: under one of them a classifier's answers would stand for theirs."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
_KEYS: Final = frozenset({"format", "name", "version", "preprocess", "files", "labels"})
_RULE_KEYS: Final = frozenset({"category", "threshold_permille"})
_OPTIONAL_KEYS: Final = frozenset({"advisory", "precision", "prompts"})
_OPTIONAL_RULE_KEYS: Final = frozenset({"label", "false_positives_per_million", "measured_on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """What one label of a model means.

    Attributes:
        category: What a score at or above the threshold claims.
        label: The finer word in the finding.
        threshold_permille: 1 to 1000.
        false_positives_per_million: Measured share of harmless pictures at or above the threshold.
        measured_on: How many pictures that rests on; both None where it was not measured.
    """

    category: Category
    label: str
    threshold_permille: int
    false_positives_per_million: int | None
    measured_on: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A parsed `calibration.json`.

    Attributes:
        name: Of the detector.
        version: Of the model and these thresholds.
        advisory: Whether findings are reported without deciding.
        files: SHA-256 of every file of the model, by name.
        labels: What each label of the model means; None where it means nothing.
        precision: The arithmetic in which the model runs; None where the machine decides.
        prompts: The sentences that describe each label of a zero-shot model; empty for other models.
    """

    name: str
    version: str
    advisory: bool
    files: Mapping[str, bytes]
    labels: Mapping[str, LabelRule | None]
    precision: Precision | None = None
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def model_state(self) -> dict[str, object]:
        """What decides the scores: scores of the same state may be compared."""
        state: dict[str, object] = {
            "preprocess": PREPROCESS_VERSION,
            "files": {name: digest.hex() for name, digest in sorted(self.files.items())},
        }
        if self.prompts:
            state["prompts"] = {name: list(texts) for name, texts in sorted(self.prompts.items())}
        return state

    @property
    def state(self) -> dict[str, object]:
        """Everything that decides: JSON-able, integers only."""
        return {
            "name": self.name,
            "version": self.version,
            **self.model_state,
            "thresholds": {
                name: {
                    "category": str(rule.category),
                    "label": rule.label,
                    "permille": rule.threshold_permille,
                }
                for name, rule in sorted(self.labels.items())
                if rule is not None
            },
        }


def parse_calibration(data: bytes, *, is_draft: bool = False) -> Calibration:
    """Parse a calibration strictly: unknown, missing and twofold keys are errors.

    Args:
        data: The file.
        is_draft: Whether it may leave all labels without a meaning, as it does before it was measured.

    Raises:
        MalformedError: with the key that is wrong and what it should be.
    """
    if len(data) > MAX_CALIBRATION_BYTES:
        _refuse(f"it is larger than {MAX_CALIBRATION_BYTES:,} bytes")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{CALIBRATION_NAME} cannot be used: it is not JSON with unique keys") from error
    fields = _object(document, "the file", required=_KEYS, optional=_OPTIONAL_KEYS)
    if fields["format"] != FORMAT:
        _refuse(f"`format` must be {FORMAT}")
    if fields["preprocess"] != PREPROCESS_VERSION:
        _refuse(
            f"`preprocess` must be {PREPROCESS_VERSION!r}, the pipeline of this version; thresholds "
            "that were measured with another one mean something else, so measure them again"
        )
    advisory = fields.get("advisory", True)
    if not isinstance(advisory, bool):
        _refuse("`advisory` must be true or false")
    name = _matching(fields["name"], _NAME, "`name`", "lower-case letters, digits, dots and hyphens")
    if name in RESERVED:
        _refuse(f"`name` must not be {name}, which another detector is called; choose another name")
    return Calibration(
        name=name,
        version=_text(fields["version"], "`version`"),
        advisory=advisory,
        files=_files(fields["files"]),
        labels=_labels(fields["labels"], is_draft=is_draft),
        precision=_precision(fields.get("precision", AUTO)),
        prompts=_prompts(fields["prompts"], fields["labels"]) if "prompts" in fields else {},
    )


def _precision(value: object) -> Precision | None:
    if value == AUTO:
        return None
    if not isinstance(value, str) or value not in tuple(Precision):
        _refuse(f"`precision` must be {AUTO}, {', '.join(Precision)}")
    return Precision(value)


def _prompts(value: object, labels: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or value.keys() != labels.keys():
        _refuse("`prompts` must give sentences for exactly the labels that `labels` names")
    prompts: dict[str, tuple[str, ...]] = {}
    for name, texts in value.items():
        if not isinstance(texts, list) or not 0 < len(texts) <= MAX_PROMPTS:
            _refuse(f"`prompts` of {name[:MAX_TEXT_CHARS]!r} must be a list of 1 to {MAX_PROMPTS} sentences")
        prompts[name] = tuple(_text(one, "a sentence in `prompts`", MAX_PROMPT_CHARS) for one in texts)
    return prompts


def _files(value: object) -> dict[str, bytes]:
    if not isinstance(value, dict) or not value:
        _refuse("`files` must name every file of the model with its SHA-256")
    return {
        _matching(name, _FILE, "a name in `files`", "a plain file name"): bytes.fromhex(
            _matching(digest, _SHA256, "a digest in `files`", "64 lower-case hexadecimal digits")
        )
        for name, digest in value.items()
    }


def _labels(value: object, *, is_draft: bool) -> dict[str, LabelRule | None]:
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_LABELS:
        _refuse(f"`labels` must name every label of the model (at most {MAX_LABELS:,})")
    labels = {name: None if rule is None else _rule(name, rule) for name, rule in value.items()}
    if not is_draft and not any(labels.values()):
        _refuse(
            "`labels` gives no label a meaning, so the classifier would never say anything; name a category "
            "and a threshold for those that matter (`breakwater classifier add` takes --map)"
        )
    return labels


def _rule(name: str, value: object) -> LabelRule:
    where = f"the label {name[:MAX_TEXT_CHARS]!r}"
    fields = _object(value, where, required=_RULE_KEYS, optional=_OPTIONAL_RULE_KEYS)
    try:
        category = Category(fields["category"])
    except (ValueError, TypeError) as error:
        raise MalformedError(
            f"{CALIBRATION_NAME} cannot be used: the category of {where} must be one of {', '.join(Category)}"
        ) from error
    if category in FORBIDDEN:
        _refuse(f"{where} may not claim {category}: only a verified list or a notice can")
    rate, count = fields.get("false_positives_per_million"), fields.get("measured_on")
    if (rate is None) != (count is None):
        _refuse(f"{where} must give `false_positives_per_million` together with `measured_on`, or neither")
    return LabelRule(
        category=category,
        label=_text(fields.get("label", name), f"`label` of {where}"),
        threshold_permille=_integer(
            fields["threshold_permille"], 1, PERMILLE, f"`threshold_permille` of {where}"
        ),
        false_positives_per_million=None
        if rate is None
        else _integer(rate, 0, MILLION, f"`false_positives_per_million` of {where}"),
        measured_on=None if count is None else _integer(count, 1, 1 << 53, f"`measured_on` of {where}"),
    )


def _object(
    value: object, what: str, *, required: frozenset[str], optional: frozenset[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{what} must be an object")
    if missing := sorted(required - value.keys()):
        _refuse(f"{what} lacks {', '.join(missing)}")
    if unknown := sorted(value.keys() - required - optional):
        _refuse(f"{what} has unknown keys: {', '.join(key[:32] for key in unknown[:5])}")
    return value


def _matching(value: object, pattern: re.Pattern[str], what: str, wanted: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        _refuse(f"{what} must be {wanted}")
    return value


def _text(value: object, what: str, longest: int = MAX_TEXT_CHARS) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        _refuse(f"{what} must be a text of 1 to {longest} printable characters")
    return value


def _integer(value: object, low: int, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        _refuse(f"{what} must be an integer from {low:,} to {high:,}")
    return value


def _refuse(reason: str) -> NoReturn:
    raise MalformedError(f"{CALIBRATION_NAME} cannot be used: {reason}")


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found
