"""The errors of this package.

SignatureError
├── MalformedError       the bytes could not be parsed
└── VerificationError    the bytes were parsed and are not to be believed; `.reason` says why
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a well-formed message, proof or key was not believed."""

    NO_SIGNATURE = "no_signature"
    UNKNOWN_SCHEME = "unknown_scheme"
    MISSING_COMPONENT = "missing_component"
    MISSING_DIGEST = "missing_digest"
    DIGEST_MISMATCH = "digest_mismatch"
    MISSING_TIME = "missing_time"
    STALE = "stale"
    FUTURE = "future"
    EXPIRED = "expired"
    WRONG_AUTHORITY = "wrong_authority"
    WRONG_KEY = "wrong_key"
    BAD_SIGNATURE = "bad_signature"
    KEY_REFUSED = "key_refused"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    UNKNOWN_ISSUER = "unknown_issuer"
    WRONG_ORIGIN = "wrong_origin"
    WRONG_CONTEXT = "wrong_context"
    WRONG_SUITE = "wrong_suite"
    WRONG_PURPOSE = "wrong_purpose"
    WRONG_TYPE = "wrong_type"
    WRONG_PROOF = "wrong_proof"
    UNSUPPORTED_CLAIM = "unsupported_claim"
    WINDOW = "window"
    REVOKED = "revoked"


class SignatureError(Exception):
    """The root of everything that this package raises on purpose."""


class MalformedError(SignatureError):
    """The input could not be parsed, so nothing can be said about it."""


class VerificationError(SignatureError):
    """The input was parsed and is not to be believed.

    Attributes:
        reason: the rule that it broke; callers branch on this and never on the text.
        detail: what was wrong, in words.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
