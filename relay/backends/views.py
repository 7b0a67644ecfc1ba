"""Read the views of posts, comments and people that Lemmy and PieFed answer with.

Lemmy 0.19 and PieFed wrap each once more (`{"post": {"post": {…}, "creator": {…}}}`); Lemmy 1.0 gives one
view (`{"type_": "post", "post": {…}, "creator": {…}}`), and its betas gave a list of them in `results`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.backends.abilities import ObjectKind, Resolved
from relay.backends.reading import dig, dig_id, dig_text, is_same, iterate

if TYPE_CHECKING:
    from relay.backends.reading import Json

# A view of a comment names its post as well, and each names its community: the innermost comes first.
_KINDS = (
    ("comment", ObjectKind.COMMENT),
    ("post", ObjectKind.POST),
    ("person", ObjectKind.ACCOUNT),
    ("community", ObjectKind.COMMUNITY),
)


def read_view(url: str, answer: Json) -> Resolved | None:
    """Read what an address resolved to; None where the answer holds nothing, or something else."""
    wrapped = [dig(answer, name) for name, _ in _KINDS]
    for view in (answer, *wrapped, *iterate(answer, "results")):
        found = _read_one(url, view)
        if found is not None:
            return found
    return None


def is_admin(site: Json, person_id: str) -> bool:
    """Tell whether a site names somebody among its admins."""
    return any(dig_id(one, "person", "id") == person_id for one in iterate(site, "admins"))


def name_content(found: Resolved) -> dict[str, int]:
    """Name a post or a comment as these servers want it named; its id was read as a number."""
    return {f"{found.kind.value}_id": int(found.local_id)}


def read_report_number(answer: Json) -> str:
    """Read the number that a report was given; empty where the answer holds none."""
    numbers = (dig_id(answer, f"{kind}_report_view", f"{kind}_report", "id") for kind in ("post", "comment"))
    return next(filter(None, numbers), "")


def _read_one(url: str, view: Json) -> Resolved | None:
    for name, kind in _KINDS:
        local_id = dig_id(view, name, "id")
        if not local_id.isdecimal():
            continue
        given = (dig_text(view, name, "ap_id"), dig_text(view, name, "actor_id"))
        if not is_same(url, *given):
            return None
        author = local_id if kind is ObjectKind.ACCOUNT else dig_id(view, "creator", "id")
        return Resolved(kind=kind, local_id=local_id, account_id=author)
    return None
