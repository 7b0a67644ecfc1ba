"""Read what a `Content-Type` claims."""

from __future__ import annotations

import re
from typing import Final

ACTIVITY_JSON: Final = "application/activity+json"
LD_JSON: Final = "application/ld+json"
ACTIVITYSTREAMS_PROFILE: Final = "https://www.w3.org/ns/activitystreams"

# RFC 8288's and RFC 6906's profile parameter: a quoted, space-separated list of URIs. Some servers leave
# out the quotes.
_PROFILE = re.compile(r';[ \t]*profile[ \t]*=[ \t]*(?:"([^"]*)"|([^";, \t]+))', re.IGNORECASE)


def essence_of(content_type: str) -> str:
    """Return type and subtype in lower case, without parameters."""
    return content_type.partition(";")[0].strip(" \t").lower()


def is_activity_type(content_type: str) -> bool:
    """Tell whether a body of this type could pass for an activity somewhere.

    Wider than `is_document_type` on purpose: this one is asked in order to refuse.
    """
    return essence_of(content_type) in (ACTIVITY_JSON, LD_JSON)


def is_document_type(content_type: str) -> bool:
    """Tell whether a body of this type is an ActivityPub document.

    ActivityPub section 3.2: "the server MUST respond with the ActivityStreams object representation in
    response to application/ld+json; profile="https://www.w3.org/ns/activitystreams"".
    """
    essence = essence_of(content_type)
    if essence == ACTIVITY_JSON:
        return True
    if essence != LD_JSON:
        return False
    profiles = (quoted or bare for quoted, bare in _PROFILE.findall(content_type))
    return any(ACTIVITYSTREAMS_PROFILE in profile.split() for profile in profiles)
