"""Hold against peers what they attest of our canaries.

A canary is a harmless drawing that a list which comes with the scanner knows by its looks, in bytes of which
there are no others. A peer that attests that nothing was found in one, while it says that it has the very
list, has not looked. Nobody else has lied about anything: who has no such list is not spoken of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from db import canaries, reliance
from relay.audits.judging import Judged, judge_silence
from relay.audits.states import find_state
from relay.exchange.client import PeerFailure
from relay.exchange.weighing import Ground
from relay.trust import Audited
from scanner.canary import canary_list

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.mirror import MirroredAttestation
    from relay.exchange.peer_tools import PeerTools

# More than any admin draws; what is left is for the next round.
_AT_ONCE: Final = 100
# The detector that compares looks; by its digest a canary of fresh bytes is not known.
_BY_LOOKS: Final = "pdq"


async def note_attested(*, tools: PeerTools) -> int:
    """Make every attestation of a canary due for an audit; return how many there are.

    Raises:
        DatabaseError: Some were not noted; the next round does.
    """
    now = tools.clock.now()
    async with tools.database.connection() as conn:
        attested = await canaries.list_attested(conn, limit=_AT_ONCE)
        for one in attested:
            await reliance.note_reliance(
                conn,
                sha256=one.sha256,
                issuer=one.issuer,
                profile=one.profile,
                key_id=one.key_id,
                attestation_id=one.attestation_id,
                url="",
                audit_rate=1.0,
                due_at=now,
                now=now,
            )
    return len(attested)


async def judge_canary(
    word: MirroredAttestation, *, asked_at: datetime | None, tools: PeerTools
) -> Judged | None:
    """Judge a peer that attested a canary; None while it may still say what its scanner was.

    Args:
        word: What it attested.
        asked_at: Since when it is asked; None before the first time.
        tools: Asks it.

    Raises:
        DatabaseError: It cannot be known.
    """
    if not tools.profiles.covers(word.profile):
        # Under another policy it need not look for what canaries are taken for.
        return Judged(audited=Audited.NOT_COMPARABLE, ground=Ground.CANARY)
    theirs = await find_state(word, tools=tools)
    if isinstance(theirs, PeerFailure):
        return await judge_silence(word, theirs, asked_at=asked_at, tools=tools)
    audited = Audited.CONTRADICTS if knows_canary(theirs) else Audited.NOT_COMPARABLE
    return Judged(audited=audited, ground=Ground.CANARY)


def knows_canary(theirs: Mapping[str, Any]) -> bool:
    """Tell whether a peer's own description of its scanner has the list that knows canaries by their looks.

    Entry for entry: one that suspended it, or gave it another distance, has another list.
    """
    detectors = theirs.get("detectors")
    for one in detectors if isinstance(detectors, list) else ():
        state = one.get("state") if isinstance(one, dict) and one.get("name") == _BY_LOOKS else None
        lists = state.get("lists") if isinstance(state, dict) else None
        if isinstance(lists, list) and canary_list().state in lists:
            return True
    return False
