"""Every reason that the relay writes down can be explained to a person."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import db
import relay
from db.deliveries import SUPERSEDED
from relay.backends.abilities import Refusal
from relay.tools.reasons import explain, find_explanation
from signatures.errors import Reason

_CODE = Path(relay.__file__).parent
# Where deliveries are moved, and what tells those who move them why.
_FILES = (
    "workers.py",
    "pipeline.py",
    "stages/decide.py",
    "stages/dispatch.py",
    "stages/house.py",
    "stages/record.py",
    "stages/release.py",
    "cli/cases.py",
    "cli/deliveries.py",
)
_DECISION = "DeliveryDecision"


def _written(tree: ast.AST) -> set[str]:
    """Collect what is given as a reason, is returned beside a decision, or buries a delivery."""
    values: list[ast.expr] = []
    constants: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            constants[node.target.id] = node.value
        elif isinstance(node, ast.Assign | ast.keyword) and _name(node) == "reason":
            values.append(node.value)
        elif isinstance(node, ast.Tuple) and node.elts and _DECISION in ast.unparse(node.elts[0]):
            values.append(node.elts[-1])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_bury"):
            values.append(node.args[-1])
    resolved = [constants.get(value.id, value) if isinstance(value, ast.Name) else value for value in values]
    return {reason for value in resolved for reason in _texts(value)}


def _name(node: ast.Assign | ast.keyword) -> str | None:
    return node.arg if isinstance(node, ast.keyword) else ast.unparse(node.targets[0])


def _texts(value: ast.expr) -> set[str]:
    """Read the texts that an expression may be; what is filled in stays a hole."""
    match value:
        case ast.Constant(value=str(text)) if text:
            return {text}
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body) | _texts(orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(beginning)), *_]):
            return {f"{beginning}…"}
        case _:
            return set()


WRITTEN = {reason for name in _FILES for reason in _written(ast.parse((_CODE / name).read_text()))}


def test_the_code_was_read() -> None:
    """The test below would pass on nothing."""
    assert {
        "busy",
        "budget_over",
        "poison",
        "policy",
        "released",
        "replayed",
        "sender_unknown",
        "too_old",
        "upheld",
        "backend_answered_…",
        "resolve_…",
    } <= WRITTEN


@pytest.mark.parametrize("reason", sorted(WRITTEN | {SUPERSEDED}))
def test_every_reason_in_the_code_is_in_the_table(reason: str) -> None:
    assert find_explanation(reason) is not None


@pytest.mark.parametrize(
    "reason",
    [
        *(f"backend_answered_{status}" for status in (202, 302, 400, 401, 403, 408, 410, 429, 500, 503)),
        *(f"relay_signed_backend_answered_{status}" for status in (400, 401, 403)),
        *(f"backend_{silence}" for silence in ("refused", "timeout", "broken")),
        *(f"resolve_{refusal.value}" for refusal in Refusal),
        *(reason.value for reason in Reason),
        "wrong_origin",
        "key_gone",
    ],
)
def test_what_is_put_together_at_run_time_is_in_the_table(reason: str) -> None:
    assert find_explanation(reason) is not None


def test_the_most_exact_explanation_is_given() -> None:
    assert "busy" in explain("resolve_unavailable").happened
    assert "could not fetch" in explain("resolve_not_found").happened
    assert "redirect" in explain("backend_answered_302").happened
    assert explain("backend_answered_401") != explain("backend_answered_403")
    assert explain("relay_signed_backend_answered_401") != explain("backend_answered_401")


def test_a_reason_of_another_version_is_not_taken_for_none() -> None:
    assert "does not know" in explain("of_tomorrow").happened
    assert "turn" in explain(None).means


def test_only_the_database_writes_a_reason_of_its_own() -> None:
    """`superseded` is the one that no caller gives."""
    queue = (Path(db.__file__).parent / "deliveries.py").read_text()
    assert queue.count("reason = $4") == 1
