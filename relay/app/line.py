"""The tools of the line, built on the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay import assembly
from relay.backends.choice import Backends
from relay.backends.client import open_backend
from relay.pipeline import Tools
from relay.services.opening import open_desk
from relay.stages.attest import AttestTools
from relay.stages.scan import ScanTools
from relay.tools.flights import open_flights
from relay.tools.key_limits import LOOKUPS_AT_ONCE, LOOKUPS_PER_SECOND
from relay.tools.limits import FairShare
from relay.tools.memory import MemoryBudget
from relay.tools.politeness import PoliteClient
from relay.tools.spool import open_spool

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from relay.app.ground import Ground
    from relay.exchange.peer_tools import PeerTools


async def open_line(stack: AsyncExitStack, ground: Ground, *, peers: PeerTools) -> Tools:
    """Build the tools of the line; the stack closes what has to be closed."""
    enter = stack.enter_async_context
    settings, clock, api = ground.settings, ground.clock, ground.api
    timeout_s = settings.backend.timeout_s
    return Tools(
        database=ground.database,
        client=PoliteClient(ground.client, clock),
        memory=MemoryBudget(),
        signer=ground.signer,
        keys=ground.keys,
        lookups=FairShare(per_second=LOOKUPS_PER_SECOND, burst=LOOKUPS_AT_ONCE),
        authentication=assembly.build_authentication_policy(settings),
        scans=ScanTools(
            scanning=ground.scanning,
            flights=await enter(open_flights()),
            database=ground.database,
            clock=clock,
            worker=ground.name,
            services=await enter(
                open_desk(settings.services, database=ground.database, metrics=ground.metrics, clock=clock)
            ),
        ),
        spool=open_spool(settings.server.data_dir / "spool", max_bytes=settings.hold.spool_bytes),
        backends=Backends(
            main=await enter(open_backend(settings.backend.url or ground.standin.url, timeout_s=timeout_s)),
            standin=await enter(open_backend(ground.standin.url, timeout_s=timeout_s)),
            selftest_actor=ground.origin.actor,
        ),
        policy=assembly.build_policy(settings),
        acting=assembly.build_acting(settings, abilities=frozenset() if api is None else api.abilities),
        hold=assembly.build_hold_policy(settings),
        releasing=assembly.build_release_tools(settings, signer=ground.signer, resolver=api),
        vouching=AttestTools(
            is_enabled=settings.attest.enabled,
            identity=ground.identity,
            database=ground.database,
            scanning=ground.scanning,
            profile=settings.attest.profile,
            life=assembly.attestation_life(settings, has_lists=True),
            withheld_permille=settings.attest.withhold_share_permille,
        ),
        metrics=ground.metrics,
        clock=clock,
        max_media_bytes=settings.fetch.max_media_bytes,
        examines_restricted=settings.legal.scan_restricted,
        peers=peers,
    )
