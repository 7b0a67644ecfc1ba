"""The sections of the services that know pictures, and the sentences by which an admin consents to them.

Each service sends something about people's media to somebody else. None is on by default, and none can be
switched on without the sentence that says what is sent to whom.
"""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from relay.config.sections import Positive, Section
from scanner.labels import Category

Patience = Annotated[float, Field(gt=0, le=30)]
"""Seconds. A backend waits 30 s at the gateway."""


class Sends(StrEnum):
    """Whose media may be sent to services."""

    PUBLIC = "public"
    UNSTATED = "unstated"
    ALL = "all"


class Asks(StrEnum):
    """When a service is asked."""

    UNMATCHED = "unmatched"
    ALWAYS = "always"


class What(StrEnum):
    """What is sent of media."""

    MEDIA = "media"
    HASHES = "hashes"


class Priority(StrEnum):
    """How urgently Google advises a person to look, in rising order."""

    VERY_LOW = "VERY_LOW"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    VERY_HIGH = "VERY_HIGH"


class Service(Section):
    """What all services have."""

    enabled: bool = False
    """Whether it is asked."""
    url: str = ""
    """Its address."""
    consent: str = ""
    """The sentence that `breakwater services list` prints for it, word for word. Without it nothing is
    sent."""
    credentials_file: Path | None = None
    """A file with what the service gave you to sign in, on one line."""
    essential: bool = True
    """Whether media count as not examined, and stay withheld, while it cannot be asked."""
    asks: Asks = Asks.UNMATCHED
    """`unmatched` asks about media in which your own lists found no abuse; `always` about all."""
    timeout_s: Patience = 5
    """How long it may take to answer."""
    daily_limit: Positive = 10_000
    """The most requests a day, counted from midnight UTC. Beyond it the service counts as out of reach."""


class Arachnid(Service):
    """Arachnid Shield of the Canadian Centre for Child Protection: known abuse material, exact and near.

    The file holds `name:password`.
    """

    url: str = "https://shield.projectarachnid.com"
    """Its address."""
    what: What = What.MEDIA
    """`media` sends the bytes, by which it finds the most; `hashes` sends only PDQ hashes of pictures."""


class PhotoDna(Service):
    """Microsoft's PhotoDNA Cloud Service: known abuse material, near matches.

    The file holds the subscription key.
    """

    url: str = "https://api.microsoftmoderator.com/photodna/v1.0"
    """Its address."""


class Hma(Service):
    """A server of the Hasher-Matcher-Actioner kind, your own or a partner's.

    The file holds its API key, if it wants one.
    """

    url: str = ""
    """Its address, for instance `http://127.0.0.1:5000`."""
    what: What = What.HASHES
    """`hashes` sends PDQ hashes of pictures; `media` sends the bytes, for it to hash."""
    banks: tuple[str, ...] = ()
    """Which of its banks count, and as what: `["KNOWN_CSAM=csam-known", "TVEC=tvec"]`. Others do not."""

    @field_validator("banks")
    @classmethod
    def _check_banks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            name, equals, category = value.rpartition("=")
            if not equals or not name.strip():
                raise ValueError(f"{value!r} names no bank with its category; write BANK=category")
            if category.strip() not in set(Category):
                raise ValueError(f"{category.strip()!r} is no category; take one of {', '.join(Category)}")
        return values

    @property
    def categories(self) -> Mapping[str, Category]:
        """The category of each bank that counts."""
        parts = (value.rpartition("=") for value in self.banks)
        return {name.strip(): Category(category.strip()) for name, _, category in parts}


class Google(Service):
    """Google's Content Safety API: which pictures a person should look at first. It decides nothing.

    The file holds the API key.
    """

    essential: bool = False
    """Always false: what it says is for a person to review, and decides nothing."""
    url: str = "https://contentsafety.googleapis.com/v1beta1"
    """Its address."""
    report_from: Priority = Priority.HIGH
    """The priority from which on a picture is reported: VERY_LOW, LOW, MEDIUM, HIGH or VERY_HIGH."""


class Services(Section):
    """Services of others that know pictures. Nothing is sent to anyone that you did not switch on here."""

    sends: Sends = Sends.PUBLIC
    """Whose media may be sent: `public` those of public posts; `unstated` also what comes in where nobody
    says who may see it (gateway, validator, sweeps); `all` also those of followers-only and direct posts."""
    arachnid: Arachnid = Arachnid()
    """Arachnid Shield."""
    photodna: PhotoDna = PhotoDna()
    """PhotoDNA."""
    hma: Hma = Hma()
    """A Hasher-Matcher-Actioner."""
    google: Google = Google()
    """Google's Content Safety API."""

    @property
    def by_name(self) -> Mapping[str, Service]:
        """The services by the names of their sections."""
        return {
            "arachnid": self.arachnid,
            "photodna": self.photodna,
            "hma": self.hma,
            "google": self.google,
        }


CONSENTS: Final[Mapping[str, str]] = {
    "arachnid": "I have an agreement with the Canadian Centre for Child Protection, and I consent that media "
    "of my users and of others, or their hashes, are sent to its Arachnid Shield.",
    "photodna": "I have an agreement with Microsoft, and I consent that media of my users and of others, or "
    "reduced copies of them, are sent to its PhotoDNA Cloud Service.",
    "hma": "I trust whoever runs this server, and I consent that media of my users and of others, or their "
    "hashes, are sent to it.",
    "google": "I have an agreement with Google, and I consent that media of my users and of others, or "
    "reduced copies of them, are sent to its Content Safety API, and I will have a person look before "
    "anything is done.",
}
"""By section: what an admin has to write to switch a service on."""

_SIGN_IN: Final = frozenset({"arachnid", "photodna", "google"})
"""These do nothing without credentials."""

# An HMA stands beside the relay as a rule, in a network where TLS ends elsewhere.
_MAY_BE_PLAIN: Final = frozenset({"hma"})


def service_problems(services: Services, *, scans_restricted: bool, csam_problems: list[str]) -> list[str]:
    """List what keeps the services that are switched on from being used; each sentence says what to do.

    Args:
        services: The sections.
        scans_restricted: Whether followers-only and direct posts are examined at all.
        csam_problems: What has to be answered before child abuse material may be dealt with.
    """
    problems: list[str] = []
    switched_on = {name: one for name, one in services.by_name.items() if one.enabled}
    for name, service in switched_on.items():
        problems += _problems_of(name, service)
        if csam_problems and _finds_csam(service):
            problems.append(
                f"services.{name} looks for child abuse material, and it is not said how that is dealt with: "
                f"{' '.join(csam_problems)}"
            )
    if switched_on and services.sends is Sends.ALL and not scans_restricted:
        problems.append(
            "services.sends is all, but followers-only and direct posts are not examined; set "
            'legal.scan_restricted with its basis, or services.sends = "unstated"'
        )
    return problems


def loosened_services(services: Services) -> list[str]:
    """List how the services that are switched on are handled more loosely than by default."""
    sentences = [
        f"services.{name}.essential is false: media pass while it cannot be asked."
        for name, one in services.by_name.items()
        if one.enabled and not one.essential and not isinstance(one, Google)
    ]
    if services.sends is not Sends.PUBLIC and any(one.enabled for one in services.by_name.values()):
        sentences.append(
            f"services.sends is {services.sends.value}: media that not everybody may see can go to services."
        )
    return sentences


def _problems_of(name: str, service: Service) -> list[str]:
    place = f"services.{name}"
    problems: list[str] = []
    if " ".join(service.consent.split()) != CONSENTS[name]:
        problems.append(
            f"{place} is on without your consent, and it sends something about people's media to somebody "
            f'else; if that is what you want, set {place}.consent = "{CONSENTS[name]}"'
        )
    if name in _SIGN_IN and service.credentials_file is None:
        problems.append(
            f"{place} is on without {place}.credentials_file; name the file that holds what the service gave "
            "you to sign in"
        )
    if isinstance(service, Google) and service.essential:
        problems.append(
            f"{place}.essential is true, but what it says is advice for a person and decides nothing; set it "
            "to false"
        )
    if isinstance(service, Hma) and not service.banks:
        problems.append(f"{place} is on without {place}.banks; say which of its banks count, and as what")
    return problems + _address_problems(f"{place}.url", service.url, name)


def _address_problems(key: str, url: str, name: str) -> list[str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or parts.query:
        return [f"{key} is {url!r}; give an http or https URL of scheme, host, port and path"]
    if parts.scheme == "http" and name not in _MAY_BE_PLAIN and not _is_loopback(host):
        return [f"{key} begins with http:, so that everybody on the way could read along; give its https URL"]
    return []


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _finds_csam(service: Service) -> bool:
    if isinstance(service, Hma):
        return bool(set(service.categories.values()) & CSAM)
    return True


CSAM: Final = frozenset(
    {Category.CSAM_KNOWN, Category.CSAM_SUSPECTED, Category.CSAM_SIMULATED, Category.CSEM_OTHER}
)
"""What is dealt with only where it is said how."""
