"""Keep withheld bytes, encrypted, until a ruling or their time is over.

The spool is addressed by content: the file name is an HMAC of the digest under the spool's own key,
so that a listing of the directory names no digest. Bytes are sealed with AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # Source: NIST SP 800-38D, 5.2.1.1, the recommended IV length of 96 bits.


class SpoolFullError(BreakwaterError):
    """The spool has reached its size; nothing more can be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """Hold withheld bytes under one directory.

    Attributes:
        directory: Where the sealed files lie; mode 0700.
        key: 32 bytes, from a file of the data directory.
        max_bytes: The most that all sealed files together may take.
    """

    directory: Path
    key: bytes
    max_bytes: int

    def keep(self, sha256: bytes, data: bytes) -> None:
        """Seal bytes into the spool; keeping the same bytes twice is one file.

        Raises:
            SpoolFullError: The spool's size is reached.
        """
        path = self._path(sha256)
        if path.exists():
            return
        if self.size_bytes() + len(data) > self.max_bytes:
            raise SpoolFullError(
                "The spool for withheld media is full. Nothing is released because of it, but these bytes "
                "are not kept for a ruling. Rule on open cases, or raise hold.spool_bytes."
            )
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(self.key).encrypt(nonce, data, sha256)
        temporary = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with temporary.open("wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)

    def find(self, sha256: bytes) -> bytes | None:
        """Find the bytes of a digest; None where they are not kept, no longer kept, or were altered."""
        try:
            sealed = self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        try:
            data = AESGCM(self.key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], sha256)
        except (InvalidTag, ValueError):
            return None
        return data if hashlib.sha256(data).digest() == sha256 else None

    def holds(self, sha256: bytes) -> bool:
        """Tell whether something is kept of a digest; whether it can be opened, only `find` tells."""
        return self._path(sha256).exists()

    def purge(self, sha256: bytes) -> None:
        """Remove the bytes of a digest, if they are kept."""
        self._path(sha256).unlink(missing_ok=True)

    def purge_expired(self, *, now: datetime, max_age: timedelta) -> int:
        """Remove everything older than `max_age` and return how many files that were."""
        removed = 0
        for path in self.directory.iterdir():
            try:
                is_old = path.stat().st_mtime < (now - max_age).timestamp()
            except FileNotFoundError:
                continue
            if is_old:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def size_bytes(self) -> int:
        """Return what all sealed files take together."""
        total = 0
        for path in self.directory.iterdir():
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def _path(self, sha256: bytes) -> Path:
        return self.directory / hmac.new(self.key, sha256, "sha256").hexdigest()


def open_spool(directory: Path, *, max_bytes: int) -> Spool:
    """Open the spool under a directory, making it and its key on first use.

    Raises:
        OSError: The directory cannot be made or read.
    """
    sealed = directory / "sealed"
    sealed.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_path = directory / "spool.key"
    try:
        descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = key_path.read_bytes()
    else:
        key = secrets.token_bytes(_KEY_BYTES)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    return Spool(directory=sealed, key=key, max_bytes=max_bytes)
