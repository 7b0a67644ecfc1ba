from __future__ import annotations

from typing import TYPE_CHECKING

from signatures.keys import KeyAlgorithm, parse_multikey, parse_public_key_pem
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_are_made_shown_and_replaced(tmp_path: Path) -> None:
    missing = breakwater("keys", "show", data_dir=tmp_path)
    assert missing.exit_code == 2
    assert "breakwater keys generate" in missing.stderr
    made = answer("keys", "generate", data_dir=tmp_path)
    assert parse_multikey(made["signing"]["publicKeyMultibase"]).algorithm is KeyAlgorithm.ED25519
    assert parse_public_key_pem(made["http"]["publicKeyPem"]).algorithm is KeyAlgorithm.RSA
    assert made["signing"]["id"].startswith(made["actor"] + "#z6Mk")
    assert answer("keys", "generate", data_dir=tmp_path) == answer("keys", "show", data_dir=tmp_path) == made
    rotated = answer("keys", "rotate", data_dir=tmp_path)
    assert rotated["signing"] != made["signing"]
    assert rotated["http"] == made["http"]
    assert rotated["retired"][0]["publicKeyMultibase"] == made["signing"]["publicKeyMultibase"]
    text = breakwater("keys", "show", data_dir=tmp_path).output
    assert rotated["signing"]["id"] in text
    assert "retired" in text


def test_rotation_asks_first(tmp_path: Path) -> None:
    made = answer("keys", "generate", data_dir=tmp_path)
    assert breakwater("keys", "rotate", data_dir=tmp_path, typed="n\n").exit_code == 1
    assert answer("keys", "show", data_dir=tmp_path) == made
    assert breakwater("keys", "rotate", "--yes", data_dir=tmp_path).exit_code == 0
    assert answer("keys", "show", data_dir=tmp_path)["signing"] != made["signing"]


def test_a_stolen_key_is_replaced_and_shown_as_stolen_since_then(tmp_path: Path) -> None:
    made = answer("keys", "generate", data_dir=tmp_path)
    stolen = made["signing"]["publicKeyMultibase"]
    revoked = answer("keys", "revoke", "--since", "2026-11-22T03:00:00Z", data_dir=tmp_path)
    assert revoked["signing"] != made["signing"]
    (retired,) = revoked["retired"]
    assert retired["publicKeyMultibase"] == stolen
    assert retired["revoked"] == "2026-11-22T03:00:00+00:00"
    # It turns out to have been earlier, and cannot have been later.
    for since in ("2026-11-21", "2026-11-22"):
        again = answer("keys", "revoke", "--since", since, "--key", stolen, data_dir=tmp_path)
        assert again["signing"] == revoked["signing"]
        assert again["retired"][0]["revoked"] == "2026-11-21T00:00:00+00:00"
    assert "stolen at 2026-11-21" in breakwater("keys", "show", data_dir=tmp_path).output


def test_a_revocation_asks_first_and_refuses_the_future_and_keys_of_others(tmp_path: Path) -> None:
    made = answer("keys", "generate", data_dir=tmp_path)
    since = ("--since", "2026-11-22")
    assert breakwater("keys", "revoke", *since, data_dir=tmp_path, typed="n\n").exit_code == 1
    future = breakwater("keys", "revoke", "--since", "2999-01-01", "--yes", data_dir=tmp_path)
    assert future.exit_code == 2
    assert "future" in future.stderr
    foreign = breakwater("keys", "revoke", *since, "--key", "z6Mkx", "--yes", data_dir=tmp_path)
    assert foreign.exit_code == 2
    assert "never signed" in foreign.stderr
    assert answer("keys", "show", data_dir=tmp_path) == made


def test_the_key_for_peers_is_replaced_alone(tmp_path: Path) -> None:
    made = answer("keys", "generate", data_dir=tmp_path)
    assert made["api"]["id"].startswith(made["actor"] + "#z6Mk")
    assert made["api"]["fingerprint"] != made["signing"]["fingerprint"]
    rotated = answer("keys", "rotate", "--api", data_dir=tmp_path)
    assert rotated["api"] != made["api"]
    assert rotated == {**made, "api": rotated["api"]}
    text = breakwater("keys", "show", data_dir=tmp_path).output
    assert rotated["api"]["fingerprint"] in text


def test_keys_from_before_there_was_one_for_peers_are_shown_and_completed(tmp_path: Path) -> None:
    made = answer("keys", "generate", data_dir=tmp_path)
    (tmp_path / "keys" / "api.pem").unlink()
    assert answer("keys", "show", data_dir=tmp_path) == {**made, "api": None}
    assert "made when the relay starts" in breakwater("keys", "show", data_dir=tmp_path).output
    completed = answer("keys", "generate", data_dir=tmp_path)
    assert completed["api"] is not None
    assert completed["signing"] == made["signing"]


def test_no_private_key_is_ever_printed(tmp_path: Path) -> None:
    for words in (
        ["generate"],
        ["show"],
        ["rotate", "--yes"],
        ["rotate", "--api", "--yes"],
        ["show", "--json"],
    ):
        assert "PRIVATE" not in breakwater("keys", *words, data_dir=tmp_path).output
