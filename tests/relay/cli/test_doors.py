from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


def _lines(shown: list[dict[str, Any]]) -> dict[str, str]:
    return dict(line.split("=", 1) for one in shown for line in one["lines"])


def test_the_addresses_are_printed_with_the_lines_that_tell_them(tmp_path: Path) -> None:
    shown = answer("doors", "--port", 9000, data_dir=tmp_path)
    lines = _lines(shown)

    assert lines.keys() == {"PICTRS__MEDIA__EXTERNAL_VALIDATION", "IMAGE_HASHING_ENDPOINT"}
    assert [one["on"] for one in shown] == [False, False, False]
    address = lines["PICTRS__MEDIA__EXTERNAL_VALIDATION"]
    base, secret, name = address.rsplit("/", 2)
    assert (base, name) == ("http://127.0.0.1:9003", "validate")
    assert len(secret) >= 43
    assert lines["IMAGE_HASHING_ENDPOINT"] == f"{base}/{secret}/pdq"

    assert answer("doors", "--port", 9000, data_dir=tmp_path) == shown
    text = breakwater("doors", "--port", 9000, data_dir=tmp_path).output
    assert f"PICTRS__MEDIA__EXTERNAL_VALIDATION={address}\n" in text
    assert "Set doors.validator = true and restart the relay." in text


def test_an_installation_has_a_secret_of_its_own(tmp_path: Path) -> None:
    assert _lines(answer("doors", data_dir=tmp_path / "one")) != _lines(
        answer("doors", data_dir=tmp_path / "other")
    )


def test_the_admins_own_secret_is_taken_where_it_can_stand_in_a_path(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text(
        '[doors]\nvalidator = true\nhost = "0.0.0.0"\nport = 9100\nsecret = "an-own-secret-of-an-admin"\n'
        "validate_within_s = 40\n"
    )
    shown = answer("doors", data_dir=tmp_path)

    assert _lines(shown) == {
        "PICTRS__MEDIA__EXTERNAL_VALIDATION": "http://127.0.0.1:9100/an-own-secret-of-an-admin/validate",
        "PICTRS__MEDIA__EXTERNAL_VALIDATION_TIMEOUT": "45",
        "IMAGE_HASHING_ENDPOINT": "http://127.0.0.1:9100/an-own-secret-of-an-admin/pdq",
    }
    assert [one["on"] for one in shown] == [True, False, False]
    for secret in (
        "short",
        "with/a-slash-and-more-of-it",
        "with a space and some more",
        "percent%20encoded-x",
    ):
        path.write_text(f'[doors]\nsecret = "{secret}"\n')
        refused = breakwater("doors", data_dir=tmp_path)
        assert refused.exit_code == 2
        assert "doors.secret cannot be used" in refused.stderr
        assert secret not in refused.stderr
