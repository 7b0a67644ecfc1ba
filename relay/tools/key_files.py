"""Keep the relay's own keys in files that only its user can read.

What lies in `<data directory>/keys`:

    http.pem        RSA, signs requests to other servers
    signing.pem     Ed25519, signs attestations and nothing else
    api.pem         Ed25519, signs what relays ask and answer each other
    secret          32 random bytes, from which what must be unguessable is derived
    retired.json    the public halves of earlier signing keys, with the day on which each ends, and the one
                    since which others may have had it
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from relay.errors import StartupError
from signatures.errors import SignatureError
from signatures.keys import (
    KeyAlgorithm,
    PrivateKey,
    PublicKey,
    generate_ed25519,
    generate_rsa,
    parse_multikey,
    parse_private_key_pem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RETIREMENT: Final = timedelta(days=30)
"""How long an earlier key stays valid: the longest life that an attestation may have."""

_SECRET_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 65_536
"""An RSA key takes 1,700 bytes; a list of a hundred retired keys 15,000."""

_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredKey:
    """An earlier signing key, of which only the public half is left.

    Attributes:
        key: That half.
        expires: When its last attestation has ended.
        revoked: Since when others may have had the key; None for never.
    """

    key: PublicKey
    expires: datetime
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFiles:
    """The relay's own keys.

    Attributes:
        http_key: RSA, for HTTP signatures.
        signing_key: Ed25519, for attestations.
        secret: 32 bytes that never leave.
        retired: Earlier signing keys, expired ones included.
        api_key: Ed25519, for the peer API; None in what `find_keys` finds where the keys are from before
            there was one.
    """

    http_key: PrivateKey
    signing_key: PrivateKey
    secret: bytes
    retired: tuple[RetiredKey, ...] = ()
    api_key: PrivateKey | None = None


def find_keys(data_dir: Path) -> KeyFiles | None:
    """Read the keys; None where none were made yet.

    Raises:
        StartupError: They cannot be read, are damaged, or others can read them.
    """
    directory = data_dir / "keys"
    return _read_all(directory) if (directory / "signing.pem").exists() else None


def load_or_create_keys(data_dir: Path) -> KeyFiles:
    """Read the keys, making those that are missing.

    Raises:
        StartupError: They cannot be read or written, are damaged, or others can read them.
    """
    directory = data_dir / "keys"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(directory / "http.pem", lambda: generate_rsa().to_pem())
        create_private(directory / "secret", lambda: secrets.token_bytes(_SECRET_BYTES))
        create_private(directory / "api.pem", lambda: generate_ed25519().to_pem())
        # Last, because its presence means that the others are there.
        create_private(directory / "signing.pem", lambda: generate_ed25519().to_pem())
    except OSError as error:
        raise _unusable(directory, error) from error
    return _read_all(directory)


def rotate_signing_key(data_dir: Path, *, now: datetime) -> KeyFiles:
    """Put a new signing key in place; the old one's public half stays valid for as long as its attestations.

    Raises:
        StartupError: The keys cannot be read or written.
    """
    keys = load_or_create_keys(data_dir)
    retired = (*keys.retired, RetiredKey(key=keys.signing_key.public, expires=now + RETIREMENT))
    return _replace_signing_key(data_dir / "keys", retired)


def revoke_signing_key(
    data_dir: Path, *, since: datetime, now: datetime, multikey: str | None = None
) -> KeyFiles:
    """Note that others may have had a signing key since a time; one in use is replaced.

    Args:
        data_dir: Where the keys are.
        since: From then on nothing that it signed counts.
        now: The time.
        multikey: Which key, if not the one in use.

    Raises:
        StartupError: The keys cannot be read or written, or there was never such a key.
    """
    directory = data_dir / "keys"
    keys = load_or_create_keys(data_dir)
    in_use = keys.signing_key.public.to_multikey()
    since = since.replace(microsecond=0)
    retired = tuple(_revoke(one, since) if one.key.to_multikey() == multikey else one for one in keys.retired)
    if multikey in {None, in_use}:
        lost = RetiredKey(key=keys.signing_key.public, expires=now + RETIREMENT, revoked=since)
        return _replace_signing_key(directory, (*keys.retired, lost))
    if multikey not in {one.key.to_multikey() for one in retired}:
        raise StartupError(
            f"This relay never signed with {multikey}. Nothing was changed. `breakwater keys show` shows the "
            "keys that it signs or signed with."
        )
    try:
        _write_retired(directory, retired)
    except OSError as error:
        raise _unusable(directory, error) from error
    return _read_all(directory)


def _revoke(retired: RetiredKey, since: datetime) -> RetiredKey:
    # The earliest time that was ever named stays: what was said not to count never counts again.
    return replace(retired, revoked=since if retired.revoked is None else min(retired.revoked, since))


def _replace_signing_key(directory: Path, retired: Sequence[RetiredKey]) -> KeyFiles:
    try:
        # The old key is recorded before it goes, so that no attestation is ever without its key.
        _write_retired(directory, retired)
        replace_private(directory / "signing.pem", generate_ed25519().to_pem())
    except OSError as error:
        raise _unusable(directory, error) from error
    return _read_all(directory)


def _write_retired(directory: Path, retired: Sequence[RetiredKey]) -> None:
    rows = [
        {
            "publicKeyMultibase": one.key.to_multikey(),
            "expires": one.expires.strftime(_TIME_FORMAT),
            **({} if one.revoked is None else {"revoked": one.revoked.strftime(_TIME_FORMAT)}),
        }
        for one in retired
    ]
    replace_private(directory / "retired.json", json.dumps(rows, indent=1).encode())


def rotate_api_key(data_dir: Path) -> KeyFiles:
    """Put a new key of the peer API in place.

    Nothing that it signed outlives the moment, so that the old one simply ends: peers fetch the new one from
    the actor when they see its id.

    Raises:
        StartupError: The keys cannot be read or written.
    """
    directory = data_dir / "keys"
    load_or_create_keys(data_dir)
    try:
        replace_private(directory / "api.pem", generate_ed25519().to_pem())
    except OSError as error:
        raise _unusable(directory, error) from error
    return _read_all(directory)


def _read_all(directory: Path) -> KeyFiles:
    secret = read_private(directory / "secret")
    api = directory / "api.pem"
    if len(secret) != _SECRET_BYTES:
        raise _damaged(directory / "secret")
    return KeyFiles(
        http_key=_read_key(directory / "http.pem", KeyAlgorithm.RSA),
        signing_key=_read_key(directory / "signing.pem", KeyAlgorithm.ED25519),
        secret=secret,
        retired=_read_retired(directory / "retired.json"),
        # Reading makes no file: whoever runs a command may be another user than the relay's.
        api_key=_read_key(api, KeyAlgorithm.ED25519) if api.exists() else None,
    )


def _read_key(path: Path, algorithm: KeyAlgorithm) -> PrivateKey:
    try:
        key = parse_private_key_pem(read_private(path))
    except SignatureError as error:
        raise _damaged(path) from error
    if key.public.algorithm is not algorithm:
        raise _damaged(path)
    return key


def _read_retired(path: Path) -> tuple[RetiredKey, ...]:
    if not path.exists():
        return ()
    try:
        return tuple(
            RetiredKey(
                key=parse_multikey(row["publicKeyMultibase"]),
                expires=_parse_time(row["expires"]),
                revoked=_parse_time(row["revoked"]) if "revoked" in row else None,
            )
            for row in json.loads(read_private(path))
        )
    except (SignatureError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        StartupError: It cannot be read, or others can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise _unusable(path, error) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StartupError(
            f"Others can read {path}. Whoever has read it can sign in the name of this relay. Run `chmod 600 "
            f"{path}`, and if others use this machine, make a new key with `breakwater keys rotate`."
        )
    return data


def create_private(path: Path, make: Callable[[], bytes]) -> None:
    """Write a file unless it exists, whole or not at all, whoever else does the same at this moment.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists():
        return
    draft = _write_draft(path, make())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # Another process was quicker, and its key is as good as ours.
    finally:
        draft.unlink()
    _flush_directory(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Put a file in another's place, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    _write_draft(path, data).replace(path)
    _flush_directory(path.parent)


def _write_draft(path: Path, data: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> StartupError:
    return StartupError(
        f"The keys in {path} cannot be used ({error.strerror}). Without them nothing can be signed. Check "
        "the owner and the mode of the data directory, or choose another with --data-dir."
    )


def _damaged(path: Path) -> StartupError:
    return StartupError(
        f"{path} is damaged. Put it back from a backup. Without one, move the directory away and start "
        "again: new keys are made, and peers will have to learn them."
    )
