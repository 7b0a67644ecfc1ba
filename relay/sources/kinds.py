"""Know about each kind of source whose it is, who may use it, and what with, before it is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relay.sources.credentials import CredentialForm
from relay.sources.model import SourceKind
from scanner.labels import Category

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_INTERVAL: Final = timedelta(minutes=5)
"""NCMEC names ten minutes as reasonable; nobody gives out a list for which less makes a difference."""

_PLAIN_TERMS: Final = (
    "Whoever makes this list has terms. You say that you may use it, and that you keep its hashes to "
    "yourself where the terms ask for it. A list decides what is withheld at your instance: use only those "
    "whose makers you trust to decide that."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """What one kind of source is.

    Attributes:
        title: Its name for people.
        url: Where it is; empty where the admin has to say.
        category: What a match means; None where the admin has to say.
        every: How often it is fetched unless the admin says otherwise.
        form: How its credentials are written.
        needs_credentials: It gives nothing to strangers.
        terms: Who may use it, and what an admin promises.
    """

    title: str
    url: str = ""
    category: Category | None = None
    every: timedelta
    form: CredentialForm
    needs_credentials: bool
    terms: str


FACTS: Final[Mapping[SourceKind, KindFacts]] = MappingProxyType(
    {
        SourceKind.NCMEC: KindFacts(
            title="NCMEC Hash Sharing (version 2)",
            url="https://report.cybertip.org/hashsharing",
            category=Category.CSAM_KNOWN,
            every=timedelta(hours=1),
            form=CredentialForm.USER_PASSWORD,
            needs_credentials=True,
            terms=(
                "For members of NCMEC's Hash Sharing only: electronic service providers that are registered "
                "at esp.ncmec.org, and partners of its other lists. You say that your instance is a member "
                "and follows the agreement that it signed: hashes go to nobody else, entries that NCMEC "
                "takes back are taken back here, and in the United States apparent child sexual abuse "
                "material is reported to the CyberTipline."
            ),
        ),
        SourceKind.STOPNCII: KindFacts(
            title="StopNCII.org",
            url="https://api.stopncii.org/v1",
            category=Category.NCII_KNOWN,
            every=timedelta(hours=1),
            form=CredentialForm.STOPNCII_KEYS,
            needs_credentials=True,
            terms=(
                "For partners of StopNCII.org only. The hashes were made by adults whose intimate pictures "
                "were or may be shared against their will; nobody looked at the pictures. You say that your "
                "instance is a partner, uses the hashes only to keep these pictures from being shared, and "
                "gives them to nobody. What somebody withdraws is taken back here."
            ),
        ),
        SourceKind.THREATEXCHANGE: KindFacts(
            title="Meta ThreatExchange",
            url="https://graph.facebook.com/v26.0",
            every=timedelta(minutes=30),
            form=CredentialForm.TOKEN,
            needs_credentials=True,
            terms=(
                "For members of Meta's ThreatExchange and of the privacy group that you name. You say that "
                "your instance is one and follows the terms of both, which above all say to whom the hashes "
                "may be shown. Whoever has the access token can read the group: keep its file to yourself."
            ),
        ),
        SourceKind.IWF: KindFacts(
            title="Internet Watch Foundation hash list, as a file",
            category=Category.CSAM_KNOWN,
            every=timedelta(hours=24),
            form=CredentialForm.HTTP,
            needs_credentials=False,
            terms=(
                "For members of the Internet Watch Foundation that license its Hash List. You say that your "
                "instance is one and follows the licence: the list stays on your machines and is used to "
                "prevent the pictures from being shared, nothing else. Lists of web addresses and keywords "
                "of the IWF are not for this."
            ),
        ),
        SourceKind.CSV: KindFacts(
            title="A list as CSV",
            every=timedelta(hours=6),
            form=CredentialForm.HTTP,
            needs_credentials=False,
            terms=_PLAIN_TERMS,
        ),
        SourceKind.JSON: KindFacts(
            title="A list as JSON",
            every=timedelta(hours=6),
            form=CredentialForm.HTTP,
            needs_credentials=False,
            terms=_PLAIN_TERMS,
        ),
        SourceKind.TEXT: KindFacts(
            title="A list of one hash a line",
            every=timedelta(hours=6),
            form=CredentialForm.HTTP,
            needs_credentials=False,
            terms=_PLAIN_TERMS,
        ),
    }
)
