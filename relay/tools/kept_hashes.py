"""Keep the hashes of what was scanned, and read them again when the lists have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.media_hashes import MediaHashes
from scanner.errors import MalformedError
from scanner.keeping import pack_pictures, unpack_pictures
from scanner.report import Fingerprints, PdqHash

if TYPE_CHECKING:
    from datetime import datetime

    from scanner.detector import PictureHashes
    from scanner.scan import Begun


def build_hashes(begun: Begun, *, now: datetime) -> MediaHashes:
    """Build what is kept of a scan for lists that come later."""
    prints = begun.report.fingerprints
    return MediaHashes(
        sha256=prints.sha256,
        sha1=prints.sha1,
        md5=prints.md5,
        pictures=pack_pictures(begun.sample.pictures),
        lists_digest=begun.lists_digest,
        seen_at=now,
    )


def is_readable(kept: MediaHashes) -> bool:
    """Tell whether the perceptual hashes can be read: neither damaged nor packed by another version."""
    try:
        unpack_pictures(kept.pictures)
    except MalformedError:
        return False
    return True


def read_hashes(kept: MediaHashes) -> tuple[Fingerprints, tuple[PictureHashes, ...]]:
    """Read what was kept, as the scanner compares it; what is not readable is left out."""
    pictures = unpack_pictures(kept.pictures) if is_readable(kept) else ()
    hashes = tuple(PdqHash(bits=one.dihedral[0], quality=one.quality, frame=one.frame) for one in pictures)
    return Fingerprints(sha256=kept.sha256, sha1=kept.sha1, md5=kept.md5, pdq=hashes), pictures
