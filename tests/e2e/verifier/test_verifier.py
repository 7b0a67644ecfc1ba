"""What is attested can be checked by another program: a verifier in JavaScript, of Node's own parts alone.

It shares no line with this project's packages, so that the two agree only where the FEP's text is clear.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from relay.cli.peers_work import show_evidence
from relay.exchange.equivocators import hold_against_issuers
from relay.exchange.intake import admit_page
from signatures.attestation import build_attestation
from signatures.jcs import canonicalize
from signatures.revocation import RevocationBody, Scope, build_revocation
from signatures.strictjson import parse_json
from signatures.times import format_json_time
from tests.fediverse.clock import START
from tests.relay.exchange.issuer import Issuer
from tests.signatures.test_attestation import ACTOR, BODY, KEY, KEY_ID
from tests.vectors.attestation.make import FOLDER
from tests.vectors.attestation.reading import raw_of, read_cases, read_example

if TYPE_CHECKING:
    from db.pool import Database

_HERE: Final = Path(__file__).parent
_FOLDERS: Final = ("attestations", "revocations", "alerts", "doubts", "fields", "messages")
# The first with String.prototype.isWellFormed.
_OLDEST_NODE: Final = 20
_NODE: Final = shutil.which("node")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(_NODE is None, reason="the verifier in JavaScript needs node, which is not installed"),
]


async def _run(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=_HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    # What it says about wrong use and about its own faults counts as what it says.
    return process.returncode, (out + errors).decode()


@pytest.fixture(autouse=True)
async def _node() -> None:
    _, version = await _run("--version")
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        pytest.skip(f"the verifier in JavaScript needs node {_OLDEST_NODE}, and this is {version.strip()}")


async def _verify(
    folder: Path, raw: bytes, key: dict[str, str], now: str, **more: Any
) -> tuple[int | None, str]:
    """Verify one object through the command line, as an implementer would."""
    (folder / "object.json").write_bytes(raw)
    (folder / "keys.json").write_text(json.dumps({"keys": [key], **more}))
    code, said = await _run("verify.mjs", str(folder / "object.json"), str(folder / "keys.json"), now)
    return code, said.strip()


def _our_key() -> dict[str, str]:
    return {"actor": ACTOR, "id": KEY_ID, "multikey": KEY.public.to_multikey()}


async def test_every_vector_ends_as_expected_at_the_step_expected() -> None:
    code, said = await _run("verify.mjs", "--vectors", str(FOLDER))
    assert code == 0, said
    judged = {one["path"]: one for one in map(json.loads, said.splitlines())}
    cases = [case for folder in _FOLDERS for case in read_cases(folder)]
    assert set(judged) == {case["path"] for case in cases}
    for case in cases:
        verdict = judged[case["path"]]
        assert verdict["outcome"] == case["expected"], case["path"]
        assert "step" not in case or verdict["step"] == case["step"], case["path"]


async def test_what_this_project_signs_is_verified(tmp_path: Path) -> None:
    attestation = build_attestation(BODY, key=KEY, verification_method=KEY_ID)
    body = RevocationBody(
        id="https://relay.a.example/revocations/1",
        issuer=ACTOR,
        audience=BODY.audience,
        published=BODY.published,
        scope=Scope.PROFILE,
        object=BODY.profile,
    )
    revocation = build_revocation(body, key=KEY, verification_method=KEY_ID)
    for raw in (attestation, revocation):
        assert await _verify(tmp_path, raw, _our_key(), format_json_time(BODY.published)) == (0, "ok")


async def test_the_attestation_that_a_post_carries_verifies_once_it_is_taken_out(tmp_path: Path) -> None:
    example = read_example()
    [attached] = example["note"]["attachment"]
    key = {"actor": ACTOR, "id": example["issuerKeyId"], "multikey": example["issuerMultikey"]}
    raw = canonicalize(attached["scanAttestation"])
    assert raw == example["attestation"].encode()
    assert await _verify(tmp_path, raw, key, example["now"]) == (0, "ok")


async def test_a_refusal_names_the_rule_and_the_step(tmp_path: Path) -> None:
    [case] = [one for one in read_cases("attestations/refused") if one["name"] == "signed by another key"]
    code, said = await _verify(tmp_path, raw_of(case), case["key"], case["now"])
    assert code == 1
    assert said.startswith("refused: bad_signature at step 9: ")


async def test_a_revocation_that_is_known_takes_back(tmp_path: Path) -> None:
    example = read_example()
    key = {"actor": ACTOR, "id": example["issuerKeyId"], "multikey": example["issuerMultikey"]}
    taken_back = parse_json(example["revocation"].encode(), max_bytes=8_192, max_depth=8)
    assert isinstance(taken_back, dict)
    entry = {name: taken_back[name] for name in ("scope", "object", "published")} | {"issuer": ACTOR}
    code, said = await _verify(
        tmp_path, example["attestation"].encode(), key, example["now"], revocations=[entry]
    )
    assert code == 1
    assert said.startswith("refused: revoked at step 10: ")


async def test_anybody_can_verify_the_proof_that_a_relay_said_two_things_under_one_name(
    tmp_path: Path, database: Database
) -> None:
    # What `breakwater peers evidence --json` prints is all that the verifier is given.
    issuer = Issuer()
    await issuer.introduce(database)
    body = issuer.body(b"some bytes")
    raws = (issuer.sign(body), issuer.sign(replace(body, size=11)))
    found = await admit_page(raws, database=database, now=START)
    assert await hold_against_issuers(found, database=database, now=START) == 1
    evidence = json.loads(json.dumps(await show_evidence(database, issuer.domain)))

    [pair], [key] = evidence["pairs"], evidence["keys"]
    assert pair["first"] != pair["second"]
    for raw in (pair["first"], pair["second"]):
        assert json.loads(raw)["id"] == pair["id"]
        assert await _verify(tmp_path, raw.encode(), key, format_json_time(START)) == (0, "ok")
        changed = raw.replace('"no-match"', '"match"').encode()
        assert (await _verify(tmp_path, changed, key, format_json_time(START)))[0] == 1


@pytest.mark.parametrize("arguments", [(), ("object.json",), ("object.json", "keys.json", "tomorrow")])
async def test_wrong_use_is_told(arguments: tuple[str, ...]) -> None:
    code, said = await _run("verify.mjs", *arguments)
    assert code == 2
    assert said.startswith("usage: ")
