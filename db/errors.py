"""The errors of the database leaf.

DatabaseError
├── DatabaseUnavailableError  down, full, overloaded or in conflict: the same call may succeed later
├── EmbeddedPostgresError     our own server could not be started; says what to do
├── MigrationError            the schema and this code do not fit; nothing was changed
└── AuditChainError           the audit log was tampered with; names the first broken entry

No message carries a value from a row or a parameter: those may be the URL or the digest of flagged
media, and messages end in logs.
"""

from __future__ import annotations


class DatabaseError(Exception):
    """A statement could not be carried out."""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot serve now; doors answer 503 and nothing was accepted."""


class EmbeddedPostgresError(DatabaseError):
    """The embedded server could not be started."""

    def __init__(self, *, what: str, meaning: str, remedy: str) -> None:
        """Join the three sentences that an admin needs."""
        super().__init__(f"{what} {meaning} {remedy}")
        self.what = what
        self.meaning = meaning
        self.remedy = remedy


class MigrationError(DatabaseError):
    """The recorded migrations and the shipped ones contradict each other."""


class AuditChainError(DatabaseError):
    """An entry of the audit log does not follow from the one before it."""

    def __init__(self, seq: int) -> None:
        """Name the first entry that does not hold."""
        super().__init__(f"the audit log is broken at entry {seq}")
        self.seq = seq
