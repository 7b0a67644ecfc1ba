"""Translate the settings into what each part understands; nothing is opened here."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from db.errands import ErrandKind
from relay.backends.intake import INTAKES
from relay.config import BackendAction, DeliveryHandling, Retention
from relay.errors import ConfigError
from relay.exchange.peer_tools import Steps
from relay.exchange.standings import ProfileRule
from relay.selftest import DoorAddresses
from relay.stages.act import Acting
from relay.stages.authenticate import AuthenticationPolicy
from relay.stages.decide import Condition, Policy, Rule
from relay.stages.release import ReleaseTools
from relay.stages.store import HoldPolicy
from relay.tools.door_secret import build_addresses, find_door_secret
from relay.tools.limits import Backlog, FairShare
from relay.tools.own_media import OwnMedia, name_front
from relay.tools.policy import FetchPolicy
from relay.tools.urls import DEFAULT_PORTS, MalformedUrlError, parse_url
from relay.web.front.door import FrontSettings
from relay.web.gateway.access import Access
from relay.web.gateway.door import GatewaySettings
from scanner.settings import CLASSIFIERS, ScannerSettings
from signatures.http import Freshness

if TYPE_CHECKING:
    from relay.backends.abilities import Ability
    from relay.config import Settings
    from relay.stages.fetch import MediaSource
    from relay.stages.release import Resolver
    from relay.tools.addresses import Endpoint
    from relay.tools.authority import Authority
    from relay.tools.fetching import GuardedClient, Signer
    from relay.tools.politeness import PoliteClient
    from relay.tools.urls import FetchUrl

_ERRANDS: Final = {BackendAction.REPORT: ErrandKind.REPORT, BackendAction.REMOVE: ErrandKind.REMOVE}

# Clocks of servers that federate are off by minutes, and Mastodon's signed times may lie ahead.
_MAX_AHEAD: Final = timedelta(minutes=5)
# Replayed deliveries are as old as the backend would take them; never less than an hour, since a
# sender's queue retries with the first signature.
_MIN_AGE: Final = timedelta(hours=1, minutes=5)


def build_policy(settings: Settings) -> Policy:
    """Build the decision table."""
    conditions = settings.policy.conditions
    return Policy(
        rules={
            category: Rule(
                media=policy.media,
                drops_delivery=policy.delivery is DeliveryHandling.DROP,
                purge=policy.retain is Retention.NONE,
            )
            for category, policy in settings.policy.categories.items()
        },
        conditions={
            Condition.UNSCANNABLE: conditions.unscannable,
            Condition.UNREACHABLE: conditions.unreachable,
            Condition.LINK_UNREACHABLE: conditions.link_unreachable,
            Condition.DETECTOR_DOWN: conditions.detector_down,
        },
        enforces_media=settings.enforces_media,
    )


def build_acting(settings: Settings, *, abilities: frozenset[Ability]) -> Acting:
    """Build what is done on the backend.

    Args:
        settings: The configuration.
        abilities: What the backend's API can do; empty without a token.
    """
    return Acting(
        actions={
            category: _ERRANDS[policy.act]
            for category, policy in settings.policy.categories.items()
            if policy.act is not BackendAction.NONE
        },
        abilities=abilities,
        own_host=urlsplit(f"//{settings.domain}").hostname or "",
    )


def build_release_tools(settings: Settings, *, signer: Signer, resolver: Resolver | None) -> ReleaseTools:
    """Build what brings deliveries to the backend that its signature window has passed.

    Args:
        settings: The configuration.
        signer: Signs as the relay's own actor.
        resolver: The backend's API; None where there is no token for it.
    """
    return ReleaseTools(
        signer=signer,
        resolver=resolver,
        intake=INTAKES[settings.backend.software],
        window=settings.backend.signature_window,
        enforces_media=settings.enforces_media,
    )


def build_hold_policy(settings: Settings) -> HoldPolicy:
    """Build the bounds on what is held."""
    limits = settings.limits
    return HoldPolicy(
        budget=settings.hold_budget,
        window=settings.backend.signature_window,
        backlog=Backlog(limit=settings.hold.max_pending),
        fair_share=FairShare(per_second=limits.per_domain_per_second, burst=limits.per_domain_burst),
    )


def build_authentication_policy(settings: Settings) -> AuthenticationPolicy:
    """Build how old a signature may be: what the backend would still take, but at least an hour."""
    max_age = max(settings.backend.signature_window, _MIN_AGE)
    return AuthenticationPolicy(freshness=Freshness(max_age=max_age, max_ahead=_MAX_AHEAD))


def build_fetch_policy(settings: Settings, *, own: tuple[Endpoint, ...]) -> FetchPolicy:
    """Build the bounds on what the relay fetches.

    Args:
        settings: The configuration.
        own: Loopback endpoints of ours that are part of the self-test.
    """
    fetch = settings.fetch
    return FetchPolicy(
        allow_http=fetch.allow_http,
        ports=frozenset(fetch.ports),
        allow_private=(*own, *fetch.private_targets),
        refused=_backend_endpoints(settings),
        connect_timeout=timedelta(seconds=fetch.connect_timeout_s),
        first_byte_timeout=timedelta(seconds=fetch.first_byte_timeout_s),
        total_timeout=timedelta(seconds=fetch.total_timeout_s),
        max_redirects=fetch.max_redirects,
    )


def build_gateway_settings(settings: Settings, *, own: tuple[Endpoint, ...]) -> GatewaySettings:
    """Build how the backend's outbound proxy works.

    Args:
        settings: The configuration.
        own: Loopback endpoints of ours that are part of the self-test.
    """
    gateway = settings.gateway
    return GatewaySettings(
        host=gateway.host,
        port=settings.gateway_port,
        access=Access(
            clients=gateway.allowed_clients,
            password=gateway.password.get_secret_value(),
            blocked_hosts=frozenset(_normalize_host(host) for host in gateway.blocked_hosts),
            ports=frozenset(gateway.ports),
            own=(*own, *(target for target in settings.fetch.private_targets if isinstance(target, tuple))),
        ),
        max_connections=gateway.max_connections,
        release_within=timedelta(seconds=gateway.release_within_s),
        copies=settings.server.data_dir / "copies",
    )


def build_front_settings(settings: Settings, *, secret: bytes) -> FrontSettings:
    """Build how the media front works.

    Args:
        settings: The configuration.
        secret: What its name is derived from.

    Raises:
        ConfigError: The address of the server behind it cannot be used.
    """
    return FrontSettings(
        upstream=_read_media_upstream(settings),
        paths=settings.exchange.media_paths,
        trusted_proxies=settings.server.trusted_proxies,
        copies=settings.server.data_dir / "copies",
        via=name_front(secret),
    )


def _read_media_upstream(settings: Settings) -> FetchUrl:
    try:
        return parse_url(settings.exchange.media_upstream)
    except MalformedUrlError as error:
        raise ConfigError(
            f"exchange.media_upstream cannot be used ({error}) Write it as http://127.0.0.1:3000."
        ) from error


def build_media_source(settings: Settings, *, inside: GuardedClient, outside: PoliteClient) -> MediaSource:
    """Build what fetches the server's own media: as the world does, or past our own front.

    Args:
        settings: The configuration.
        inside: Asks the server behind the front.
        outside: Asks the world.

    Raises:
        ConfigError: The address of the server behind the front cannot be used.
    """
    if not settings.exchange.media_front:
        return outside
    return OwnMedia(
        upstream=_read_media_upstream(settings),
        paths=settings.exchange.media_paths,
        inside=inside,
        outside=outside,
    )


def _normalize_host(text: str) -> str:
    """Return a host as it stands in URLs that were read: lower case, in its ASCII form."""
    host = text.strip().strip(".")
    try:
        return parse_url(f"https://{host}/").host
    except MalformedUrlError:
        return host.lower()


def build_scanner_settings(settings: Settings) -> ScannerSettings:
    """Build how the scanner works."""
    scanner = settings.scanner
    return ScannerSettings(
        workers=scanner.workers or None,
        max_bytes=settings.fetch.max_media_bytes,
        max_pixels=scanner.max_pixels,
        max_frames=scanner.max_frames,
        decode_timeout=timedelta(seconds=scanner.decode_timeout_s),
        worker_wait=timedelta(seconds=scanner.wait_timeout_s),
        accept_sampled=scanner.accept_sampled,
        accept_audio=scanner.accept_audio,
        video_timeout=timedelta(seconds=scanner.video_timeout_s),
        max_video_gap=timedelta(seconds=scanner.video_gap_s),
        accept_weaker_sandbox=frozenset(scanner.accept_weaker_sandbox),
        canary=scanner.canary,
        embedded_classifier=scanner.has_embedded_classifier,
        classifier_dirs=scanner.classifier_dirs,
        advisory=frozenset({CLASSIFIERS}) if scanner.classifier_advisory else frozenset(),
        shadow=frozenset(scanner.shadow),
        text_cache=settings.server.data_dir / "classifier-texts",
    )


def attestation_life(settings: Settings, *, has_lists: bool) -> timedelta:
    """Return how long an attestation holds: a day where daily lists are part of it, else a week."""
    attest = settings.attest
    return timedelta(hours=attest.life_with_lists_hours if has_lists else attest.life_models_only_hours)


def allows_http_peers(settings: Settings) -> bool:
    """Tell whether peers may be without TLS: only where we are so ourselves, as in development."""
    return settings.base_url.startswith("http://")


def build_steps(settings: Settings) -> Steps:
    """Build which ways to a peer's word are open."""
    exchange = settings.exchange
    return Steps(
        uses_headers=exchange.uses_headers,
        uses_inline=exchange.uses_inline,
        asks_origin=exchange.asks_origin,
        asks_buckets=exchange.asks_buckets,
        ask_within=timedelta(milliseconds=exchange.ask_within_ms),
        patience=timedelta(seconds=exchange.patience_s),
    )


def build_profile_rule(settings: Settings) -> ProfileRule:
    """Build which profiles of peers cover what our own detectors look for."""
    return ProfileRule(name=settings.attest.profile, accepted=frozenset(settings.exchange.profiles))


def build_lookup_share(settings: Settings) -> FairShare:
    """Build the bound on the look-ups of each peer: so many a minute, all of them at once if need be."""
    a_minute = settings.exchange.lookups_per_minute
    return FairShare(per_second=a_minute / 60, burst=a_minute)


def feed_kept(settings: Settings) -> timedelta:
    """Return how long the feed is kept: a day longer than the longest life of an attestation in it."""
    attest = settings.attest
    return timedelta(hours=max(attest.life_with_lists_hours, attest.life_models_only_hours), days=1)


def _backend_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Name the addresses that strangers must not make the relay ask: the backend's and its own."""
    server = settings.server
    places = [
        (server.host, server.port),
        (server.admin_host, server.admin_port),
    ]
    if settings.gateway.enabled:
        places.append((settings.gateway.host, settings.gateway_port))
    if settings.doors.is_any_open:
        places.append((settings.doors.host, settings.doors_port))
    if settings.exchange.media_front:
        places.append((server.host, settings.front_port))
    for url in (settings.backend.url, settings.exchange.media_upstream):
        if url:
            parts = urlsplit(url)
            places.append((parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 80)))
    found: list[Endpoint] = []
    for host, port in places:
        try:
            found.append((ip_address(host), port))
        except ValueError:
            continue  # A name: what it resolves to is vetted when somebody asks for it.
    return tuple(found)


def build_hosts(settings: Settings) -> frozenset[str]:
    """Name the hosts under which deliveries are taken; empty for any. Our own test always gets in."""
    if not settings.backend.hosts:
        return frozenset()
    own = local_url(settings.server.host, settings.server.port).partition("//")[2]
    return frozenset(host.lower() for host in (*settings.backend.hosts, own))


def build_media_hosts(settings: Settings) -> frozenset[str]:
    """Name the hosts that the server's own media are fetched from, as the guarded client reads them."""
    found: set[str] = set()
    for place in (settings.domain, *settings.uploads.media_hosts):
        try:
            found.add(parse_url(f"https://{place}/").host)
        except MalformedUrlError:
            continue  # No address of media can name it either; `breakwater doctor` says so.
    return frozenset(found)


def build_selftest_doors(
    settings: Settings, *, authority: Authority | None, installation_secret: bytes
) -> DoorAddresses:
    """Say where the doors beside the inbox are, as reachable from this machine.

    Raises:
        ConfigError: The secret of the doors cannot be used.
    """
    gateway, doors = settings.gateway, settings.doors
    proxy = local_url(gateway.host, settings.gateway_port)
    password = quote(gateway.password.get_secret_value(), safe="")
    if password:
        proxy = proxy.replace("://", f"://breakwater:{password}@", 1)
    local = None
    if doors.is_any_open:
        secret = find_door_secret(settings, installation_secret=installation_secret)
        local = build_addresses(local_url(doors.host, settings.doors_port), secret)
    return DoorAddresses(
        gateway=proxy if gateway.enabled else None,
        authority_pem=None if authority is None else authority.certificate_pem,
        validator=local.validator if local is not None and doors.validator else None,
        hash_endpoint=local.hash_endpoint if local is not None and doors.hash_endpoint else None,
        lookup=local.lookup if local is not None and doors.lookup else None,
    )


def local_url(host: str, port: int) -> str:
    """Return the URL under which a port of ours is reachable from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 (read, not bound)
    return f"http://{reachable}:{port}"


def withheld_kept(settings: Settings) -> timedelta:
    """Return how long withheld bytes await a ruling."""
    return timedelta(hours=settings.hold.withheld_hours)
