"""What is exchanged with other relays: what asks them, what answers them, and what goes on in between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from relay import assembly
from relay.exchange.admission import PeerRefresher
from relay.exchange.alert_courier import AlertCourier, CourierTools
from relay.exchange.announcing import Announcer, AnnounceTools
from relay.exchange.client import PeerClient
from relay.exchange.courier import Courier
from relay.exchange.feed_pages import FeedBell, FeedDesk
from relay.exchange.lookups import BucketWidth
from relay.exchange.matching import AlertMatcher
from relay.exchange.notices import tell_doubt
from relay.exchange.peer_tools import PeerTools
from relay.exchange.reader import FeedReader, ReaderTools
from relay.exchange.receiving import FollowTools
from relay.exchange.signing import create_peer_signer
from relay.exchange.taking import FeedTaking
from relay.exchange.upkeep import PeerUpkeep
from relay.tools.flights import open_flights
from relay.tools.spool import open_spool
from relay.web.actor_inbox import ActorInboxDoor
from relay.web.peer_alerts import AlertDesk, add_alert_route
from relay.web.peer_api import PeerApi, add_peer_routes
from relay.web.peer_door import PeerDoor

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from aiohttp import web

    from relay.app.ground import Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What asks other relays.

    Attributes:
        client: Asks them, with signed questions.
        refresher: Looks again at who they are.
        tools: What the line needs of them.
    """

    client: PeerClient
    refresher: PeerRefresher
    tools: PeerTools


async def open_asking(stack: AsyncExitStack, ground: Ground) -> Asking:
    """Build what asks other relays."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    signer = create_peer_signer(ground.identity, clock)
    client = PeerClient(client=ground.client, signer=signer, clock=clock, metrics=ground.metrics)
    refresher = PeerRefresher(database=database, client=ground.client, clock=clock)
    tools = PeerTools(
        database=database,
        clock=clock,
        steps=assembly.build_steps(settings),
        asker=client,
        refetch=refresher,
        costly=ground.scanning.costly_detectors,
        profiles=assembly.build_profile_rule(settings),
        retained=open_spool(settings.server.data_dir / "audits", max_bytes=settings.exchange.audit_bytes),
        gathering=await stack.enter_async_context(open_flights()),
        beginning=await stack.enter_async_context(open_flights()),
        on_doubt=partial(tell_doubt, identity=ground.identity),
        allow_http=assembly.allows_http_peers(settings),
    )
    return Asking(client=client, refresher=refresher, tools=tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What answers other relays, and what goes on beside it.

    Attributes:
        actor_inbox: Takes what they say to our actor.
        bell: Wakes the peers that wait for something new in our feed.
        announcer: Takes back what was attested and does not hold any more.
        alert_courier: Sends warnings to peers.
        alert_matcher: Compares the warnings of peers with what was seen.
        courier: Delivers to other relays what we have to say to them.
        upkeep: Looks at our peers now and then.
        reader: Reads their feeds; None where the admin does not want it.
        api: Answers what peers ask.
        alerts: Takes their warnings.
        door: Knows a peer by its signature.
    """

    actor_inbox: ActorInboxDoor
    bell: FeedBell
    announcer: Announcer
    alert_courier: AlertCourier
    alert_matcher: AlertMatcher
    courier: Courier
    upkeep: PeerUpkeep
    reader: FeedReader | None
    api: PeerApi
    alerts: AlertDesk
    door: PeerDoor

    def add_routes(self, application: web.Application, *, base: str, api: str) -> None:
        """Open the doors for other relays below these paths."""
        add_peer_routes(application, self.api, door=self.door, path=api)
        add_alert_route(application, self.alerts, door=self.door, path=api)
        application.router.add_post(f"{base}/actor/inbox", self.actor_inbox.handle)


def build_answering(ground: Ground, asking: Asking) -> Answering:
    """Build what answers other relays."""
    settings, identity, database, clock = ground.settings, ground.identity, ground.database, ground.clock
    allow_http = assembly.allows_http_peers(settings)
    bell = FeedBell(database)
    follows = FollowTools(
        identity=identity,
        database=database,
        client=ground.client,
        clock=clock,
        follows_per_hour=settings.exchange.follows_per_hour,
    )
    reading = ReaderTools(
        database=database,
        client=asking.client,
        clock=clock,
        refresh=asking.refresher,
        take=FeedTaking(database=database, refetch=asking.refresher, allow_http=allow_http),
        on_doubt=asking.tools.on_doubt,
        allow_http=allow_http,
        metrics=ground.metrics,
    )
    return Answering(
        actor_inbox=ActorInboxDoor(
            tools=follows, keys=ground.keys, trusted_proxies=settings.server.trusted_proxies
        ),
        bell=bell,
        announcer=Announcer(
            AnnounceTools(
                database=database,
                identity=identity,
                scanning=ground.scanning,
                profile=settings.attest.profile,
                clock=clock,
            )
        ),
        alert_courier=AlertCourier(
            CourierTools(database=database, identity=identity, client=asking.client, clock=clock)
        ),
        alert_matcher=AlertMatcher(database=database, clock=clock),
        courier=Courier(database=database, client=ground.client, signer=ground.signer, clock=clock),
        upkeep=PeerUpkeep(database=database, refresher=asking.refresher),
        reader=FeedReader(reading) if settings.exchange.uses_feed else None,
        api=PeerApi(
            database=database,
            clock=clock,
            desk=FeedDesk(database=database, clock=clock, bell=bell),
            width=BucketWidth(database),
            lookups=assembly.build_lookup_share(settings),
        ),
        alerts=AlertDesk(
            database=database,
            clock=clock,
            recipient=identity.actor,
            refetch=asking.refresher,
            allow_http=allow_http,
        ),
        door=PeerDoor(
            database=database,
            clock=clock,
            signer=create_peer_signer(identity, clock),
            base_url=identity.base_url,
            trusted_proxies=settings.server.trusted_proxies,
            refresh=asking.refresher,
            metrics=ground.metrics,
        ),
    )
