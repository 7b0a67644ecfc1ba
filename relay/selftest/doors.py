"""The checks of the doors beside the inbox: what the backend itself would fetch, ask and be given there."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from db import cases
from relay.selftest.parts import PATIENCE_S, SelftestFailure
from relay.selftest.pictures import draw_fresh_canary, draw_harmless
from scanner.canary import draw_canary
from scanner.report import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.selftest.origin import SelftestOrigin
    from relay.selftest.parts import SelftestTools

# A name that nobody can own (RFC 6761, 6.4): its certificate is made and checked, and nothing is fetched.
_NOWHERE: Final = "selftest.invalid"
_PNG: Final = {"Content-Type": "image/png"}
_PDQ_BITS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorAddresses:
    """Where the doors are that are open; None for those that are not.

    Attributes:
        gateway: The address of the gateway, with its password if it has one.
        authority_pem: The certificate that the backend trusts; None where the gateway opens no TLS.
        validator: Where pict-rs asks, secret included.
        hash_endpoint: Where PieFed asks, secret included.
        lookup: Where programs of the admin's own ask, secret included.
    """

    gateway: str | None = None
    authority_pem: str | None = None
    validator: str | None = None
    hash_endpoint: str | None = None
    lookup: str | None = None


async def check_gateway(addresses: DoorAddresses, tools: SelftestTools) -> str:
    """Fetch a harmless picture and the canary as the backend would.

    Raises:
        SelftestFailure: The one was changed or kept, or the other was delivered.
    """
    harmless, canary = await asyncio.to_thread(_draw_both)
    async with httpx.AsyncClient(proxy=addresses.gateway, timeout=PATIENCE_S, trust_env=False) as http:
        with _served(tools.origin, harmless) as url:
            answer = await http.get(url)
        if answer.status_code in {httpx.codes.FORBIDDEN, httpx.codes.PROXY_AUTHENTICATION_REQUIRED}:
            raise SelftestFailure(
                f"a harmless picture was answered {answer.status_code}. If the gateway listens on an address "
                "of its own, gateway.allowed_clients has to name this machine, too; else `breakwater doctor` "
                "says whether the scanner works."
            )
        if answer.content != harmless:
            raise SelftestFailure(
                f"a harmless picture came back changed, or not at all ({answer.status_code})"
            )
        with _served(tools.origin, canary) as url:
            answer = await http.get(url)
    await _close_case(canary, tools)
    if answer.is_success or canary in answer.content:
        raise SelftestFailure(
            "the canary was delivered through the gateway: it does not withhold. Do not let your server use "
            "it until `breakwater doctor` says what is wrong."
        )
    if addresses.authority_pem is None:
        return (
            "a harmless picture came byte for byte, the canary did not; https is tunnelled and NOT examined"
        )
    return "a harmless picture came byte for byte, the canary did not"


async def check_gateway_tls(addresses: DoorAddresses, tools: SelftestTools) -> str:
    """Let the gateway speak for a host, and look whether its certificate is one that the backend would trust.

    Raises:
        SelftestFailure: It is not.
    """
    del tools
    trust = ssl.create_default_context(cadata=addresses.authority_pem)
    async with httpx.AsyncClient(
        proxy=addresses.gateway, verify=trust, timeout=PATIENCE_S, trust_env=False
    ) as http:
        try:
            answer = await http.head(f"https://{_NOWHERE}/")
        except httpx.HTTPError as error:
            raise SelftestFailure(
                f"no https connection could be opened ({type(error).__name__}). Make the authority anew with "
                "`breakwater keys ca --renew`, and give its certificate to your server."
            ) from error
    if answer.is_success:
        raise SelftestFailure("a host that cannot exist was answered; something stands before the gateway")
    return "https is opened with a certificate of this installation's own authority"


async def check_validator(addresses: DoorAddresses, tools: SelftestTools) -> str:
    """Ask about a harmless picture and the canary as pict-rs would.

    Raises:
        SelftestFailure: The one was refused, or the other accepted.
    """
    harmless, canary = await asyncio.to_thread(_draw_both)
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
        first = await http.post(addresses.validator or "", content=harmless, headers=_PNG)
        second = await http.post(addresses.validator or "", content=canary, headers=_PNG)
    await _close_case(canary, tools)
    if second.is_success:
        raise SelftestFailure(
            "the canary was accepted: the validator does not withhold. Do not use it until `breakwater "
            "doctor` says what is wrong."
        )
    if not first.is_success:
        raise SelftestFailure(
            f"a harmless picture was answered {first.status_code}, and pict-rs would not store it. "
            "`breakwater doctor` says whether the scanner works."
        )
    return "a harmless picture is accepted, the canary is refused"


async def check_hash_endpoint(addresses: DoorAddresses, tools: SelftestTools) -> str:
    """Ask for the hash of the canary as PieFed would.

    Raises:
        SelftestFailure: There is none.
    """
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
        with _served(tools.origin, draw_canary()) as url:
            answer = await http.get(addresses.hash_endpoint or "", params={"image_url": url})
    if not answer.is_success or len(answer.json().get("pdq_hash_binary", "")) != _PDQ_BITS:
        raise SelftestFailure(
            f"the hash of a picture was answered {answer.status_code}; `breakwater doctor` says whether the "
            "scanner works"
        )
    return "a picture is fetched and its hash comes back"


async def check_lookup(addresses: DoorAddresses, tools: SelftestTools) -> str:
    """Ask whether the lists hold a harmless picture and the canary.

    Raises:
        SelftestFailure: They are said to hold the one, or not to hold the other.
    """
    del tools
    harmless, canary = await asyncio.to_thread(_draw_both)
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
        first, second = [
            await http.post(addresses.lookup or "", files={"file": ("picture", picture, "image/png")})
            for picture in (harmless, canary)
        ]
    if not (first.is_success and second.is_success):
        raise SelftestFailure(
            f"a picture was answered {first.status_code} and {second.status_code}; `breakwater doctor` says "
            "whether the scanner works"
        )
    if (first.json()["verdict"], second.json()["verdict"]) != (Verdict.NO_MATCH, Verdict.MATCH):
        raise SelftestFailure(
            "the lists are said to hold a harmless picture, or not to hold the canary. Do not rely on this "
            "door until `breakwater doctor` says what is wrong."
        )
    return "the canary is found, a harmless picture is not"


def _draw_both() -> tuple[bytes, bytes]:
    return draw_harmless(), draw_fresh_canary()


@contextmanager
def _served(origin: SelftestOrigin, picture: bytes) -> Iterator[str]:
    """Let the self-test's own origin serve a picture, and give its address."""
    name = f"{secrets.token_hex(8)}.png"
    origin.pictures[name] = picture
    try:
        yield f"{origin.url}/pictures/{name}"
    finally:
        del origin.pictures[name]


async def _close_case(picture: bytes, tools: SelftestTools) -> None:
    """Close the case that the canary opened, so that nobody is asked about a test."""
    async with tools.database.transaction() as conn:
        for case in await cases.list_cases_about(conn, hashlib.sha256(picture).digest()):
            await cases.rule_case(
                conn, case.id, to=cases.CaseState.UPHELD, ruled_by="selftest", now=tools.clock.now()
            )
