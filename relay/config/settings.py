"""All sections together, with what follows from several of them."""

from datetime import timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pydantic import model_validator

from relay.config.doors import Doors, Gateway, Storage, Uploads
from relay.config.exchange import Exchange
from relay.config.policy import DEFAULT_POLICIES, Conditions, DeliveryHandling, Policy
from relay.config.sections import (
    Attest,
    Backend,
    DatabaseSection,
    Fetch,
    Hold,
    Identity,
    Legal,
    Limits,
    Logs,
    Metrics,
    Scanner,
    Section,
    Server,
    Software,
)
from relay.config.services import Services, loosened_services, service_problems
from relay.model import MediaDecision

_STRICTNESS: Final = {MediaDecision.RELEASE: 0, MediaDecision.WITHHOLD: 1, MediaDecision.BLOCK: 2}

# They show their people copies that they fetched themselves, never the address at the origin.
_SERVE_COPIES: Final = frozenset({Software.MASTODON, Software.MISSKEY, Software.SHARKEY})

_LOOKUPS: Final = frozenset({"exact-hash", "pdq", "vpdq"})
"""Detectors that find known content: in shadow they find it and it passes."""

# After the inbox door and the admin's pages.
_GATEWAY_OFFSET: Final = 2
_DOORS_OFFSET: Final = 3
_FRONT_OFFSET: Final = 4
_MAX_PORT: Final = 65_535


class Settings(Section):
    """The whole configuration of one relay."""

    server: Server = Server()
    identity: Identity = Identity()
    backend: Backend = Backend()
    gateway: Gateway = Gateway()
    doors: Doors = Doors()
    uploads: Uploads = Uploads()
    storage: Storage = Storage()
    hold: Hold = Hold()
    limits: Limits = Limits()
    database: DatabaseSection = DatabaseSection()
    fetch: Fetch = Fetch()
    scanner: Scanner = Scanner()
    services: Services = Services()
    policy: Policy = Policy()
    legal: Legal = Legal()
    attest: Attest = Attest()
    exchange: Exchange = Exchange()
    logs: Logs = Logs()
    metrics: Metrics = Metrics()

    @property
    def base_url(self) -> str:
        """The URL under which the relay's own documents lie, without a slash at its end."""
        if self.identity.base_url:
            return self.identity.base_url.rstrip("/")
        return f"http://127.0.0.1:{self.server.port}/breakwater"

    @property
    def domain(self) -> str:
        """The domain of the instance, as it stands in its users' names."""
        return self.identity.domain or urlsplit(self.base_url).netloc

    @property
    def gateway_port(self) -> int:
        """The port of the gateway."""
        return self.gateway.port or min(self.server.port + _GATEWAY_OFFSET, _MAX_PORT)

    @property
    def doors_port(self) -> int:
        """The port of the doors for programs beside the backend."""
        return self.doors.port or min(self.server.port + _DOORS_OFFSET, _MAX_PORT)

    @property
    def enforces_media(self) -> bool:
        """Whether media stay withheld at a door of ours while the text goes through.

        A gateway that opens TLS is such a door for servers that show only what they fetched. Others leave a
        link to the original, or let browsers fetch it, so that their deliveries are held as a whole unless
        the admin says otherwise.
        """
        is_guarded = self.gateway.enabled and self.gateway.opens_tls
        return self.backend.enforces_media or (is_guarded and self.backend.software in _SERVE_COPIES)

    @property
    def front_port(self) -> int:
        """The port of the media front."""
        return self.exchange.front_port or min(self.server.port + _FRONT_OFFSET, _MAX_PORT)

    @property
    def hold_budget(self) -> timedelta:
        """How long a delivery may be held before it is forwarded without its media."""
        return min(timedelta(seconds=self.hold.patience_s), self.backend.signature_window)

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        """Refuse sections that contradict each other."""
        problems = list(_contradictions(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _contradictions(settings: Settings) -> list[str]:
    problems: list[str] = []
    server, backend = settings.server, settings.backend
    if server.port == server.admin_port and server.host == server.admin_host:
        problems.append(
            f"server.admin_port is {server.admin_port}, as server.port is; give it a port of its own"
        )
    if backend.url:
        target = urlsplit(backend.url)
        if target.hostname in {server.host, "localhost"} and target.port in {server.port, server.admin_port}:
            problems.append("backend.url is the relay's own address; give that of the server behind it")
    problems += _crowded_ports(settings)
    problems += _misplaced_media(settings.exchange)
    problems += service_problems(
        settings.services,
        scans_restricted=settings.legal.scan_restricted,
        csam_problems=csam_handling_problems(settings),
    )
    if settings.uploads.enabled and not settings.uploads.secret.get_secret_value():
        problems.append(
            "uploads.enabled is on without uploads.secret; give the secret that Mastodon shows for the "
            "webhook, since anybody could pretend to be your server"
        )
    if settings.legal.scan_restricted and not settings.legal.scan_restricted_basis.strip():
        problems.append(
            "legal.scan_restricted is on without legal.scan_restricted_basis; say on which legal basis "
            "followers-only and direct posts are examined, or leave it off",
        )
    if settings.fetch.first_byte_timeout_s > settings.fetch.total_timeout_s:
        problems.append(
            "fetch.first_byte_timeout_s is longer than fetch.total_timeout_s; give it a shorter time"
        )
    return problems


def _misplaced_media(exchange: Exchange) -> list[str]:
    """Name what keeps the media front from finding the media; nothing where it is closed."""
    if not exchange.media_front:
        return []
    problems: list[str] = []
    upstream = _find_place(exchange.media_upstream)
    if upstream is None:
        problems.append(
            "exchange.media_front is on and exchange.media_upstream is no http(s) address; name the server "
            "that has the media, for instance http://127.0.0.1:3000"
        )
    elif upstream.path.strip("/") or upstream.query or upstream.username:
        problems.append(
            "exchange.media_upstream is more than a scheme, a host and a port; leave the rest out, since "
            "media are asked for there by the paths that they have here"
        )
    if not exchange.media_paths or not all(path.startswith("/") for path in exchange.media_paths):
        problems.append(
            "exchange.media_paths has to name the beginnings of paths, each with a slash before it, for "
            "instance /system/"
        )
    return problems


def _find_place(url: str) -> SplitResult | None:
    """Read the URL of a server; None where it is none."""
    try:
        parts = urlsplit(url)
        is_place = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_place else None


def _crowded_ports(settings: Settings) -> list[str]:
    """Name the ports that more than one of the doors that are open would listen on."""
    server = settings.server
    taken = {
        (server.host, server.port): "server.port",
        (server.admin_host, server.admin_port): "server.admin_port",
    }
    problems: list[str] = []
    for name, is_open, place in (
        ("gateway.port", settings.gateway.enabled, (settings.gateway.host, settings.gateway_port)),
        (
            "doors.port",
            settings.doors.is_any_open,
            (settings.doors.host, settings.doors_port),
        ),
        ("exchange.front_port", settings.exchange.media_front, (server.host, settings.front_port)),
    ):
        if is_open and place in taken:
            problems.append(f"{name} is {place[1]}, as {taken[place]} is; give it a port of its own")
        elif is_open:
            taken[place] = name
    return problems


def loosened_policies(settings: Settings) -> list[str]:
    """List what the settings handle more loosely than the defaults do, one sentence each."""
    sentences: list[str] = []
    for category, policy in settings.policy.categories.items():
        default = DEFAULT_POLICIES[category]
        name = f"policy.{category.value}"
        if _STRICTNESS[policy.media] < _STRICTNESS[default.media]:
            sentences.append(f"{name}.media is {policy.media.value}; the default is {default.media.value}.")
        if policy.delivery is DeliveryHandling.FORWARD and default.delivery is DeliveryHandling.DROP:
            sentences.append(f"{name}.delivery is forward; the default is drop.")
    defaults = Conditions()
    for name in Conditions.model_fields:
        given, default_decision = getattr(settings.policy.conditions, name), getattr(defaults, name)
        if _STRICTNESS[given] < _STRICTNESS[default_decision]:
            sentences.append(
                f"policy.conditions.{name} is {given.value}; the default is {default_decision.value}. "
                "Media that nobody looked at will pass.",
            )
    sentences += _loosened_scanner(settings)
    sentences += loosened_services(settings.services)
    if settings.fetch.allow_private:
        sentences.append("fetch.allow_private lets strangers make the relay reach private addresses.")
    if settings.fetch.allow_http:
        sentences.append("fetch.allow_http lets anybody on the way change what is fetched.")
    return sentences


def _loosened_scanner(settings: Settings) -> list[str]:
    sentences: list[str] = []
    if settings.scanner.accept_weaker_sandbox:
        missing = ", ".join(sorted(settings.scanner.accept_weaker_sandbox))
        sentences.append(f"scanner.accept_weaker_sandbox lets hostile pictures be decoded without {missing}.")
    if settings.scanner.accept_sampled:
        sentences.append("scanner.accept_sampled lets animations pass of which not every frame was seen.")
    if lookups := sorted(_LOOKUPS & set(settings.scanner.shadow)):
        sentences.append(f"scanner.shadow lets known content pass that only {', '.join(lookups)} would find.")
    if "list-age" in settings.scanner.shadow:
        sentences.append("scanner.shadow lets media pass although a list is older than you said it may be.")
    return sentences


def csam_handling_problems(settings: Settings) -> list[str]:
    """List what must be answered before lists of child abuse material may be used; empty when all is."""
    legal = settings.legal
    questions = {
        "legal.jurisdiction": (legal.jurisdiction, "the country whose law you act under"),
        "legal.reporting_route": (legal.reporting_route, "where such material is reported from there"),
        "legal.responsible_role": (legal.responsible_role, "who at your instance decides on such cases"),
    }
    return [f"{key} is not set: say {what}." for key, (value, what) in questions.items() if not value.strip()]
