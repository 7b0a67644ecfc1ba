"""The addresses of the doors for programs beside the backend, and the secret that stands in them.

Neither pict-rs nor PieFed can send a password, so that what they are told is an address nobody can guess.
Unless the admin gives a secret, it is derived from the installation's own, which lies in the data directory:
the addresses stay the same from start to start, and no further file has to be guarded.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.errors import ConfigError
from signatures.encoding import encode_base64url

if TYPE_CHECKING:
    from relay.config import Settings

VALIDATE: Final = "validate"
"""The end of the validator's path."""

PDQ: Final = "pdq"
"""The end of the hash endpoint's path."""

LOOKUP: Final = "lookup"
"""The end of the look-up door's path."""

# Names this use of the installation's secret, so that nothing else that is derived from it is the same.
_PURPOSE: Final = b"doors beside the backend"

# RFC 3986, 2.3: what stands for itself in a path, however it is written. Sixteen such characters hold 64 bits
# even where they are hexadecimal, which nobody guesses over a network.
_USABLE: Final = re.compile(r"[A-Za-z0-9._~-]{16,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorAddresses:
    """Where pict-rs, PieFed and programs of the admin's own ask; whoever knows an address may ask there."""

    validator: str
    hash_endpoint: str
    lookup: str


def find_door_secret(settings: Settings, *, installation_secret: bytes) -> str:
    """Return the secret in the paths: the admin's own, or the one of this installation.

    Raises:
        ConfigError: The admin's own cannot stand in a path, or could be guessed.
    """
    given = settings.doors.secret.get_secret_value()
    if not given:
        return encode_base64url(hmac.digest(installation_secret, _PURPOSE, "sha256"))
    if _USABLE.fullmatch(given) is None:
        raise ConfigError(
            "doors.secret cannot be used: it stands in a path, and takes 16 to 256 letters, digits, hyphens, "
            "full stops, underscores or tildes. Leave it out to have one made, or make one yourself with "
            "`openssl rand -hex 32`."
        )
    return given


def build_addresses(base_url: str, secret: str) -> DoorAddresses:
    """Build the whole addresses below the URL that the doors are reachable at."""
    return DoorAddresses(
        validator=f"{base_url}/{secret}/{VALIDATE}",
        hash_endpoint=f"{base_url}/{secret}/{PDQ}",
        lookup=f"{base_url}/{secret}/{LOOKUP}",
    )
