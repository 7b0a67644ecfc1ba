"""`breakwater keys ca`: made once, renewed on demand, its key shown to nobody."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


def test_the_authority_is_made_once_and_stays(tmp_path: Path) -> None:
    made = answer("keys", "ca", data_dir=tmp_path)
    again = answer("keys", "ca", data_dir=tmp_path)
    assert (made["made"], again["made"]) == (True, False)
    assert made["fingerprint"] == again["fingerprint"]
    renewed = answer("keys", "ca", "--renew", data_dir=tmp_path)
    assert renewed["made"]
    assert renewed["fingerprint"] != made["fingerprint"]


def test_the_certificate_is_written_for_the_backend_alone_and_with_the_systems(tmp_path: Path) -> None:
    export, bundle = tmp_path / "ca.pem", tmp_path / "bundle.pem"
    made = answer("keys", "ca", "--export", str(export), "--bundle", str(bundle), data_dir=tmp_path / "data")
    assert export.read_text() == made["certificate"]
    assert stat.S_IMODE(export.stat().st_mode) == 0o644
    assert bundle.read_text().endswith("-----END CERTIFICATE-----\n" + made["certificate"])
    assert made["environment"]["misskey"]["NODE_EXTRA_CA_CERTS"] == str(export)
    assert made["environment"]["mastodon"]["SSL_CERT_FILE"] == str(bundle)


def test_the_advice_names_each_server_and_no_private_key(tmp_path: Path) -> None:
    text = breakwater("keys", "ca", data_dir=tmp_path).output
    for name in (
        "mastodon",
        "gotosocial",
        "piefed",
        "misskey",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
    ):
        assert name in text
    for words in ([], ["--json"], ["--renew"]):
        assert "PRIVATE" not in breakwater("keys", "ca", *words, data_dir=tmp_path).output
    assert stat.S_IMODE((tmp_path / "keys" / "gateway-ca.pem").stat().st_mode) == 0o600


def test_an_authority_that_others_can_read_is_refused(tmp_path: Path) -> None:
    answer("keys", "ca", data_dir=tmp_path)
    (tmp_path / "keys" / "gateway-ca.pem").chmod(0o644)
    refused = breakwater("keys", "ca", data_dir=tmp_path)
    assert refused.exit_code == 2
    assert "chmod 600" in refused.stderr
