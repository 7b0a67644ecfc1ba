"""Read the credentials of a source from where the admin keeps them.

The database knows the place alone (`file:/etc/breakwater/ncmec` or `env:NCMEC_LOGIN`): a copy of it opens no
list. They are read anew for every fetch, so that a changed one needs no restart.
"""

from __future__ import annotations

import base64
import stat
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relay.sources.model import FailureKind, SourceFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES: Final = 64 * 1024
FILE_PREFIX: Final = "file:"
VARIABLE_PREFIX: Final = "env:"
_FUNCTION_KEY: Final = "x-functions-key"
_SUBSCRIPTION_KEY: Final = "ocp-apim-subscription-key"


class CredentialForm(StrEnum):
    """How credentials are written."""

    USER_PASSWORD = "user_password"  # noqa: S105 (the name of a form)
    STOPNCII_KEYS = "stopncii_keys"
    TOKEN = "token"  # noqa: S105 (the name of a form)
    HTTP = "http"


DESCRIPTIONS: Final[Mapping[CredentialForm, str]] = MappingProxyType(
    {
        CredentialForm.USER_PASSWORD: "one line, user:password",
        CredentialForm.STOPNCII_KEYS: "two lines, `x-functions-key: …` and `Ocp-Apim-Subscription-Key: …`",
        CredentialForm.TOKEN: "one line, the access token",
        CredentialForm.HTTP: "one line, user:password, or `Bearer` and a token",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What proves to a source who we are.

    Attributes:
        headers: Goes with every request.
        token: The access token of those sources that take it as a parameter; empty for all others.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token: str = field(default="", repr=False)


def read_credentials(
    place: str, form: CredentialForm, *, environ: Mapping[str, str]
) -> Credentials | SourceFailure:
    """Read and check credentials; no credentials are needed where no place is given.

    Reads a file: call it where the event loop may wait.
    """
    if not place:
        return Credentials()
    text = _read_variable(place, environ) if place.startswith(VARIABLE_PREFIX) else _read_file(place)
    if isinstance(text, SourceFailure):
        return text
    parsed = _parse(text, form)
    if parsed is None:
        return SourceFailure(
            kind=FailureKind.CREDENTIALS,
            detail=f"{describe_place(place)} does not hold what is needed there. Write {DESCRIPTIONS[form]}.",
        )
    return parsed


def describe_place(place: str) -> str:
    """Name the place for people."""
    if place.startswith(VARIABLE_PREFIX):
        return f"The environment variable {place.removeprefix(VARIABLE_PREFIX)}"
    return place.removeprefix(FILE_PREFIX)


def is_open_to_others(place: str) -> bool:
    """Tell whether everybody on this machine may read the credentials."""
    if not place.startswith(FILE_PREFIX):
        return False
    try:
        return bool(Path(place.removeprefix(FILE_PREFIX)).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _read_variable(place: str, environ: Mapping[str, str]) -> str | SourceFailure:
    value = environ.get(place.removeprefix(VARIABLE_PREFIX))
    if value:
        return value
    return SourceFailure(
        kind=FailureKind.CREDENTIALS,
        detail=f"{describe_place(place)} is not set for this process, so that the list cannot be asked for. "
        "Set it where the relay is started, or keep the credentials in a file.",
    )


def _read_file(place: str) -> str | SourceFailure:
    path = Path(place.removeprefix(FILE_PREFIX))
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        return SourceFailure(
            kind=FailureKind.CREDENTIALS,
            detail=f"The credentials in {path} cannot be read ({reason.lower()}), so that the list cannot be "
            "asked for. Let the user that the relay runs as read the file.",
        )


def _parse(text: str, form: CredentialForm) -> Credentials | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not all(line.isprintable() for line in lines):
        return None
    match form:
        case CredentialForm.USER_PASSWORD:
            return _basic(lines)
        case CredentialForm.HTTP:
            scheme, _, token = lines[0].partition(" ")
            if scheme.lower() == "bearer" and token.strip() and len(lines) == 1:
                return Credentials(headers=(("Authorization", f"Bearer {token.strip()}"),))
            return _basic(lines)
        case CredentialForm.TOKEN:
            return Credentials(token=lines[0]) if len(lines) == 1 else None
        case CredentialForm.STOPNCII_KEYS:
            return _keys(lines)


def _basic(lines: list[str]) -> Credentials | None:
    user, colon, password = lines[0].partition(":")
    if len(lines) != 1 or not (user and colon and password):
        return None
    encoded = base64.b64encode(lines[0].encode()).decode()
    return Credentials(headers=(("Authorization", f"Basic {encoded}"),))


def _keys(lines: list[str]) -> Credentials | None:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    if set(found) != {_FUNCTION_KEY, _SUBSCRIPTION_KEY} or not all(found.values()):
        return None
    if not all(value.isascii() for value in found.values()):
        return None
    return Credentials(
        headers=(
            ("x-functions-key", found[_FUNCTION_KEY]),
            ("Ocp-Apim-Subscription-Key", found[_SUBSCRIPTION_KEY]),
        )
    )
