"""Look at bytes: find evidence on them, judge it, and keep what a person has to rule on.

    consult ─► begin ─► gather ─► rely ─► scan ─► learn ─► judge ─► preserve

What is known comes first. Then our own lists are asked, always; what they say is all that a peer's word can
be laid beside. Where no word suffices, the scan that was begun is finished, and what it finds says what the
words were worth. Services of others are part of a scan only for media that may leave this machine; a verdict
without them is kept apart, and never stands for one with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from db import media as media_table
from db.media_hashes import put_hashes
from relay.model import Evidence, EvidenceBasis
from relay.services.exposure import Exposure
from relay.stages.consult import consult
from relay.stages.decide import judge
from relay.stages.gather import Reach, find_hosts, gather_words, is_worth_asking, recall_words
from relay.stages.heed import heed
from relay.stages.preserve import preserve
from relay.stages.rely import learn, may_be_spared, rely
from relay.stages.scan import begin, keep_here, scan
from relay.tools.kept_hashes import build_hashes

if TYPE_CHECKING:
    from relay.exchange.peer_tools import PeerTools
    from relay.line import LookTools
    from relay.model import Media, MediaOutcome, MediaReference
    from relay.stages.scan import ScanTools


async def look(
    media: Media,
    reference: MediaReference,
    *,
    tools: LookTools,
    reach: Reach = Reach.NOWHERE,
    sender: str | None = None,
    exposure: Exposure = Exposure.UNSTATED,
) -> MediaOutcome:
    """Find out about bytes, by what is known of them or else by a scan, and judge what was found."""
    outcome = await weigh(media, reference, tools=tools, reach=reach, sender=sender, exposure=exposure)
    await preserve(outcome, media, spool=tools.spool)
    return outcome


async def weigh(
    media: Media,
    reference: MediaReference,
    *,
    tools: LookTools,
    reach: Reach = Reach.NOWHERE,
    sender: str | None = None,
    exposure: Exposure = Exposure.UNSTATED,
) -> MediaOutcome:
    """Do as `look` does, but keep the verdict alone and never the bytes.

    Args:
        media: The bytes.
        reference: What pointed at them.
        tools: What it is done with.
        reach: How far to go for the word of a peer.
        sender: Who pointed at them, if that is known.
        exposure: Who can see them anyway.

    Raises:
        DatabaseError: Verdicts could not be read or kept; nothing is known.
    """
    if media.is_attestation_malformed:
        tools.metrics.count_attestation(outcome="malformed")
    scans = await choose_scans(media.sha256, exposure, tools=tools)
    for state in dict.fromkeys((tools.scans.state_digest, scans.state_digest)):
        # What a service has said of the very same bytes holds for whoever brings them.
        known = await consult(media, reference, database=tools.database, state_digest=state)
        if known is not None:
            return judge(known, tools.policy)
    evidence: Evidence | None = None
    # Before there is a verdict of our own, with which nobody would ask again.
    warning = await heed(media.sha256, database=tools.database, now=tools.clock.now())
    # What a peer warns of is scanned here, whatever another says.
    if warning is None and tools.peers is not None and reach is not Reach.NOWHERE:
        hosts = find_hosts(reference.url, sender)
        evidence = await _weigh_words(
            media,
            reference,
            reach=reach,
            hosts=hosts,
            author=sender,
            peers=tools.peers,
            tools=tools,
            scans=scans,
        )
    if evidence is None:
        evidence = await scan(media, reference, tools=scans, state_digest=scans.state_digest)
    return judge(replace(evidence, warning=warning), tools.policy)


async def choose_scans(sha256: bytes, exposure: Exposure, *, tools: LookTools) -> ScanTools:
    """Choose whether services are asked about bytes, too: only as far as the admin lets them go."""
    services = tools.scans.services
    if services is None or services.takes(exposure):
        return tools.scans
    if exposure is Exposure.UNSTATED and services.takes(Exposure.PUBLIC):
        async with tools.database.connection() as conn:
            if await media_table.was_public(conn, sha256):
                return tools.scans
    return keep_here(tools.scans)


async def _weigh_words(
    media: Media,
    reference: MediaReference,
    *,
    reach: Reach,
    hosts: tuple[str, ...],
    author: str | None,
    peers: PeerTools,
    tools: LookTools,
    scans: ScanTools,
) -> Evidence | None:
    """Rely on the word of a peer beside our own lists, or else learn from our whole scan what it is worth.

    None where there is nobody whose word would be weighed, or nothing that it could spare.
    """
    if not await is_worth_asking(peers):
        return None
    state = scans.state_digest
    begun = await begin(media, reference, tools=scans, state_digest=state, flights=peers.beginning)
    if may_be_spared(begun.report):
        words = await gather_words(media, reference, reach=reach, hosts=hosts, tools=peers)
        if await rely(words, media, reference, begun.report, tools=peers, author=author) is not None:
            tools.metrics.count_spared()
            # Our own lists may hold it tomorrow, whatever a peer said today.
            async with tools.database.transaction(waits_for_disk=False) as conn:
                await put_hashes(conn, build_hashes(begun, now=tools.clock.now()))
            return Evidence(
                reference=reference,
                basis=EvidenceBasis.PEER,
                sha256=media.sha256,
                report=begun.report,
                state_digest=state,
            )
    else:
        # What our lists hold, peers are not asked about; what they said of it before is weighed all the same.
        words = await recall_words(media.sha256, tools=peers)
    evidence = await scan(media, reference, tools=scans, state_digest=state, begun=begun)
    if evidence.report is not None:
        await learn(evidence.report, words, media.sha256, tools=peers)
    return evidence
