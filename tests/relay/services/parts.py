"""Services that speak to fakes, and reports to ask them about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.config.services import Arachnid, Google, Hma, PhotoDna
from relay.services.answers import Answered, Question
from relay.services.opening import open_service
from scanner.reduced import Copy
from scanner.report import MediaFacts, PdqHash, Report
from scanner.sniff import MediaType
from tests.images import encode, marker
from tests.relay.stages import parts
from tests.service_servers import FakeGoogle, FakeHma, FakePhotoDna, FakeShield
from tests.service_servers.google import KEY as GOOGLE_KEY
from tests.service_servers.hma import KEY as HMA_KEY
from tests.service_servers.photodna import KEY as PHOTODNA_KEY
from tests.service_servers.shield import CREDENTIALS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.services import Service
    from relay.services.answers import Answer

Fake: TypeAlias = FakeShield | FakePhotoDna | FakeHma | FakeGoogle

SECRETS: dict[type, str] = {
    FakeShield: CREDENTIALS,
    FakePhotoDna: PHOTODNA_KEY,
    FakeHma: HMA_KEY,
    FakeGoogle: GOOGLE_KEY,
}
SECTIONS: dict[type, type[Service]] = {
    FakeShield: Arachnid,
    FakePhotoDna: PhotoDna,
    FakeHma: Hma,
    FakeGoogle: Google,
}
BANKS = ("KNOWN=csam-known", "TERROR=tvec")

PICTURE = encode(marker(3, width=320, height=240), "PNG")
HASH = bytes(range(32))


def section_for(fake: Fake, directory: Path, *, secret: str | None = None, **given: Any) -> Service:
    """The settings of the service that a fake stands for."""
    path = directory / f"{type(fake).__name__}.secret"
    path.write_text((SECRETS[type(fake)] if secret is None else secret) + "\n")
    banks = {"banks": BANKS} if isinstance(fake, FakeHma) else {}
    return SECTIONS[type(fake)].model_validate(
        {"enabled": True, "url": fake.url, "credentials_file": path, **banks, **given}
    )


def report_on(
    data: bytes = PICTURE,
    media_type: MediaType | None = MediaType.PNG,
    *,
    hashes: tuple[PdqHash, ...] = (PdqHash(bits=HASH, quality=100, frame=0),),
    **facts: Any,
) -> Report:
    """What the scanner says of a picture that it knows nothing of."""
    given = {"size": len(data), "width": 320, "height": 240, "frames": 1, **facts}
    report = parts.report(data=data, facts=MediaFacts(media_type=media_type, **given))
    return replace(report, fingerprints=replace(report.fingerprints, pdq=hashes))


def copy_of(seed: int = 1, *, width: int = 320, height: int = 240) -> Copy:
    """A reduced copy that shows a drawn picture."""
    data = encode(marker(seed, width=width, height=height), "JPEG")
    return Copy(data=data, width=width, height=height)


async def no_copies(data: bytes, **_bounds: int) -> tuple[Copy, ...]:
    """What makes copies where none are needed."""
    raise AssertionError(f"{len(data)} bytes were to be copied")


async def ask(
    section: Service,
    report: Report | None = None,
    data: bytes = PICTURE,
    copies: tuple[Copy, ...] | None = None,
) -> Answer:
    """Ask a service."""
    async with open_service(section) as service:
        question = Question(data=data, report=report or report_on(data), copies=copies)
        return await service.ask(question)


async def find(
    section: Service, report: Report | None = None, data: bytes = PICTURE
) -> list[tuple[str, str]]:
    """Ask a service that answers; return the categories that it claims, each with its basis."""
    answer = await ask(section, report, data)
    assert isinstance(answer, Answered), answer
    return [(one.category.value, one.basis.value) for one in answer.findings]


def sha256(data: bytes) -> bytes:
    """The digest of some bytes."""
    return hashlib.sha256(data).digest()
