"""What each server takes in from another actor than the one that an activity names.

A request is signed by whoever sends it, at the time of sending. What is older than the server's window can
be brought to it by somebody else who signs the request anew, if the server looks for the author elsewhere:
in a signature inside the activity, or at the object's own origin.

Source, for each: the server's own code, as named beside it. Proofs after FEP-8b32 are in none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.config.sections import Software

if TYPE_CHECKING:
    from collections.abc import Mapping

LINKED_DATA_SIGNATURE: Final = "RsaSignature2017"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """How a server finds the author of what somebody else brings.

    Attributes:
        inner_signatures: The types of signature inside an activity that it verifies.
        fetches: The types of activity of which it fetches the object from its origin instead.
        refreshes: Asked by its API for an object that it has, it fetches it again, so that an Update
            arrives in this way, too.
    """

    inner_signatures: frozenset[str] = frozenset()
    fetches: frozenset[str] = frozenset()
    refreshes: bool = False


_LINKED_DATA: Final = frozenset({LINKED_DATA_SIGNATURE})
_ITS_OWN_SENDERS_ONLY: Final = Intake()

INTAKES: Final[Mapping[Software, Intake]] = {
    **dict.fromkeys(Software, _ITS_OWN_SENDERS_ONLY),
    # app/services/activitypub/process_collection_service.rb (different_actor?, verify_actor!);
    # fetch_remote_status_service.rb treats a known status as an Update.
    Software.MASTODON: Intake(inner_signatures=_LINKED_DATA, refreshes=True),
    # packages/backend/src/queue/processors/InboxProcessorService.ts.
    Software.MISSKEY: Intake(inner_signatures=_LINKED_DATA),
    Software.SHARKEY: Intake(inner_signatures=_LINKED_DATA),
    # app/activitypub/routes.py: else the object is reduced to its id and fetched.
    Software.PIEFED: Intake(inner_signatures=_LINKED_DATA, fetches=frozenset({"Create", "Update"})),
    # users/views/activitypub.py.
    Software.TAKAHE: Intake(inner_signatures=_LINKED_DATA),
    # lib/pleroma/web/activity_pub/activity_pub_controller.ex (post_inbox_relayed_create).
    Software.PLEROMA: Intake(fetches=frozenset({"Create"})),
}
