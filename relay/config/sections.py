"""The sections of the configuration: every key with its type, its bounds and its default.

The sentence under each key is what the template of `breakwater init` and the reference page print.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from scanner.settings import Measure

DEFAULT_PORT: Final = 8790

_MAX_BODY_BYTES: Final = 1_048_576
"""The extraction of media reads no longer activity than this."""

Port = Annotated[int, Field(ge=1, le=65_535)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


PrivateTarget: TypeAlias = IPv4Network | IPv6Network | tuple[IPv4Address | IPv6Address, int]
"""A network, or an address with its port."""


def parse_private(text: str) -> PrivateTarget:
    """Parse a network (`10.0.0.0/8`, `::1`) or an endpoint (`127.0.0.1:8080`, `[::1]:8080`).

    Raises:
        ValueError: It is neither.
    """
    address, colon, port = text.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    if colon and port.isdecimal() and (bare != address or ":" not in address):
        return ip_address(bare), int(port)
    return ip_network(text)


class Section(BaseModel):
    """A frozen section in which every key is known."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Choose where everything is kept: for root the system's place, for others the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/breakwater")
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "breakwater"


class Server(Section):
    """Where the relay listens and what it accepts there."""

    host: str = "127.0.0.1"
    """The address that the inbox door and the relay's own documents are served on."""
    port: Port = DEFAULT_PORT
    """The port of that address. The reverse proxy in front sends inbox requests here."""
    admin_host: str = "127.0.0.1"
    """The address of `/livez`, `/readyz`, `/metrics` and the admin's pages. Never a public one."""
    admin_port: Port = Field(default_factory=lambda data: min(data.get("port", DEFAULT_PORT) + 1, 65_535))
    """The port of that address; unless given, the one after `port`."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """The networks whose `X-Forwarded-For` is believed: those of the reverse proxy in front."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=_MAX_BODY_BYTES)] = _MAX_BODY_BYTES
    """The longest body that an inbox request may have."""
    data_dir: Path = Field(default_factory=lambda: default_data_dir({}))
    """The directory for keys, withheld media and the embedded database. For root `/var/lib/breakwater`, for
    others `~/.local/share/breakwater`."""


class Identity(Section):
    """How the relay presents itself to others."""

    base_url: str = ""
    """The public URL under which others reach the relay's actor and attestations, for instance
    `https://social.example/breakwater`. Unless given, the local address, which nobody else can use."""
    domain: str = ""
    """The domain of the instance that the relay stands in front of; unless given, the host of `base_url`."""
    contact: str = ""
    """A mail address or URL under which other admins reach you. Shown in the relay's actor."""


class Software(StrEnum):
    """The servers whose ways are known."""

    MASTODON = "mastodon"
    LEMMY = "lemmy"
    PIEFED = "piefed"
    MBIN = "mbin"
    MISSKEY = "misskey"
    SHARKEY = "sharkey"
    GOTOSOCIAL = "gotosocial"
    PLEROMA = "pleroma"
    AKKOMA = "akkoma"
    PIXELFED = "pixelfed"
    PEERTUBE = "peertube"
    BOOKWYRM = "bookwyrm"
    TAKAHE = "takahe"
    SNAC = "snac"
    OTHER = "other"


_SHORT_WINDOW: Final = timedelta(minutes=3)
_LONG_WINDOW: Final = timedelta(hours=12)
SIGNATURE_WINDOWS: Final[Mapping[Software, timedelta]] = {
    **dict.fromkeys(Software, _LONG_WINDOW),
    Software.MISSKEY: _SHORT_WINDOW,
    Software.SHARKEY: _SHORT_WINDOW,
    Software.BOOKWYRM: _SHORT_WINDOW,
    Software.PEERTUBE: timedelta(minutes=20),
    Software.LEMMY: timedelta(minutes=45),
    Software.MASTODON: timedelta(minutes=50),
}
"""How long after its signing a request still passes at the backend, less a margin.

Source: the servers' own bounds (300 s for Misskey and BookWyrm, 30 min for PeerTube, 60 min for Lemmy, 65
min for Mastodon, 24 h or none for the others).
"""


class Backend(Section):
    """The server that the relay stands in front of."""

    url: str = ""
    """Its address as the relay reaches it, for instance `http://127.0.0.1:3000`. Without one, a built-in
    stand-in records what it receives, to try the relay out."""
    software: Software = Software.OTHER
    """What it runs: mastodon, lemmy, piefed, mbin, misskey, sharkey, gotosocial, pleroma, akkoma, pixelfed,
    peertube, bookwyrm, takahe, snac or other. Decides how long its signature window is."""
    hosts: tuple[str, ...] = ()
    """The host names under which deliveries reach it, for instance `["social.example"]`. A request that was
    signed for another server is then refused. Empty accepts any, and leaves that check to the backend."""
    enforces_media: bool = False
    """Whether the backend fetches media only through a door of this relay. If so, text is forwarded while its
    media stay withheld; if not, the whole delivery is held."""
    signature_window_s: Annotated[int, Field(ge=0, le=86_400)] = 0
    """How old a signed request may be when the backend sees it, in seconds; 0 takes what is known of
    `software`."""
    timeout_s: Seconds = 8
    """How long the backend may take to answer. Senders give up after 5 to 10 seconds."""
    api_url: str = ""
    """Where its API is reached, if that is another address than `url`; reports and look-ups go there."""
    token: SecretStr = SecretStr("")
    """The token of a bot account on it, with which the relay reports, removes and looks up. Without one the
    relay only withholds. `breakwater doctor` says what the token may do."""
    token_file: Path | None = None
    """A file that holds the token, so that it stands in no configuration."""
    pictrs_url: str = ""
    """Where the pict-rs behind a Lemmy is reached, for instance `http://127.0.0.1:8080`. Needed to purge what
    it has stored and to sweep it."""
    pictrs_key: SecretStr = SecretStr("")
    """The API key of that pict-rs (its `server.api_key`)."""
    pictrs_key_file: Path | None = None
    """A file that holds that API key."""

    @property
    def signature_window(self) -> timedelta:
        """How old a signed request may be when the backend sees it."""
        if self.signature_window_s:
            return timedelta(seconds=self.signature_window_s)
        return SIGNATURE_WINDOWS[self.software]


class Hold(Section):
    """How long and how much is held back."""

    patience_s: Annotated[int, Field(ge=1, le=43_200)] = 300
    """How long a delivery may wait for its media to be examined, in seconds. The backend's signature window
    bounds it further."""
    spool_bytes: Positive = 2_147_483_648
    """The most that withheld media may take on disk, all together."""
    withheld_hours: Annotated[int, Field(ge=1, le=720)] = 72
    """How long withheld media are kept, encrypted, for a ruling. Then they are purged; they stay withheld."""
    max_pending: Positive = 10_000
    """The most deliveries that wait at once. Beyond it senders are asked to come back later."""


class Limits(Section):
    """The fair share of every sending domain."""

    per_domain_per_second: Annotated[float, Field(gt=0)] = 200
    """Deliveries that one domain may send per second in the long run."""
    per_domain_burst: Positive = 2_000
    """Deliveries that one domain may send at once."""


class DatabaseSection(Section):
    """The PostgreSQL that everything but media is stored in."""

    url: SecretStr = SecretStr("")
    """The connection URL, for instance `postgresql://breakwater@localhost/breakwater`. Without one, an
    embedded PostgreSQL is started in the data directory."""
    url_file: Path | None = None
    """A file that holds the connection URL, so that its password stands in no configuration."""
    max_connections: Annotated[int, Field(ge=2, le=200)] = 10
    """The most connections that one relay opens."""


class Fetch(Section):
    """How media and documents are fetched from other servers."""

    allow_http: bool = False
    """Fetch from plain `http:` addresses, too. For test networks."""
    allow_private: tuple[str, ...] = ()
    """Networks (`10.0.0.0/8`) and single endpoints (`127.0.0.1:8080`) that may be reached although they are
    not public. For test networks."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1)] = (443,)
    """The ports that may be dialled."""
    max_media_bytes: Annotated[int, Field(ge=1_024, le=134_217_728)] = 40_000_000
    """The longest media that is fetched. Longer media is withheld."""
    connect_timeout_s: Seconds = 5
    """How long it may take to reach a server."""
    first_byte_timeout_s: Seconds = 10
    """How long a server may take to begin its answer."""
    total_timeout_s: Seconds = 60
    """How long one fetch may take in all, redirects included."""
    max_redirects: Annotated[int, Field(ge=0, le=10)] = 5
    """How many redirects are followed; each is checked like a first address."""

    @field_validator("allow_private")
    @classmethod
    def _check_private(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            parse_private(value)
        return values

    @property
    def private_targets(self) -> tuple[PrivateTarget, ...]:
        """The networks and endpoints of `allow_private`, parsed."""
        return tuple(parse_private(value) for value in self.allow_private)


EMBEDDED_CLASSIFIER: Final = "embedded"
"""The name of the built-in classifier in the settings."""


class Scanner(Section):
    """How media is examined."""

    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Sandboxed decoder processes; 0 starts one per processor."""
    classifier: str | tuple[str, ...] = "embedded"
    """`embedded`, `none`, the path of a directory with an image classifier of your own that `breakwater
    classifier add` prepared, or a list of these."""
    classifier_advisory: bool = True
    """Whether classifiers only label and report. Otherwise what they find is withheld for a person to
    decide."""
    own_lists: bool = True
    """Whether what moderators uphold becomes hash lists of your own, one a category, so that copies that were
    resized or cropped wait for a ruling, too. The lists are brought up to date once a day."""
    shadow: tuple[str, ...] = ()
    """Detectors that are only tried out, by the name of a classifier of yours, or `classifier` for all of
    them: they look at everything and are counted by `breakwater classifier status`, but decide and report
    nothing."""
    canary: bool = True
    """Whether the drawn test picture is recognised, with which the whole line can be tried out."""
    accept_weaker_sandbox: tuple[Measure, ...] = ()
    """Sandbox measures that may be missing on this machine: no_new_privs, parent_death_signal, limits,
    unprivileged_user, landlock, seccomp. By default a missing one stops the start."""
    accept_sampled: bool = False
    """Whether an animation of which only an even sample of frames was seen may pass."""
    accept_audio: bool = True
    """Whether sound may pass. It shows nothing; its cover pictures are examined in any case."""
    video_timeout_s: Annotated[float, Field(ge=1, le=24)] = 20
    """How long looking at one video may take before its frames are thinned out; the limit for one picture
    comes on top of it."""
    video_gap_s: Annotated[float, Field(ge=1, le=600)] = 10
    """The longest stretch of a video that may stay unseen when that time is over; with a longer one it is
    withheld."""
    decode_timeout_s: Seconds = 20
    """How long the decoding of one picture may take."""
    wait_timeout_s: Seconds = 300
    """How long one picture waits for a free worker."""
    max_pixels: Annotated[int, Field(ge=10_000, le=200_000_000)] = 66_355_200
    """The most pixels of one picture; bigger ones are withheld unread."""
    max_frames: Annotated[int, Field(ge=1, le=20_000)] = 1_000
    """The most frames of an animation that are all read; longer ones are sampled."""

    @property
    def classifiers(self) -> tuple[str, ...]:
        """What the setting names, one or several, without the word for none."""
        names = (self.classifier,) if isinstance(self.classifier, str) else self.classifier
        return tuple(dict.fromkeys(name for name in names if name not in {"", "none"}))

    @property
    def has_embedded_classifier(self) -> bool:
        """Whether the built-in classifier runs."""
        return EMBEDDED_CLASSIFIER in self.classifiers

    @property
    def classifier_dirs(self) -> tuple[Path, ...]:
        """The directories of the admin's own classifiers."""
        return tuple(Path(name) for name in self.classifiers if name != EMBEDDED_CLASSIFIER)


class Legal(Section):
    """What the law decides. Lists of child abuse material cannot be used before it is answered."""

    jurisdiction: Annotated[str, Field(pattern=r"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$")] = ""
    """The country whose law you act under, as its ISO 3166 code, for instance `DE` or `US-CA`."""
    reporting_route: str = ""
    """Where such material is reported from there, for instance `NCMEC CyberTipline` or `jugendschutz.net`."""
    responsible_role: str = ""
    """Who at your instance decides on such cases, for instance `child safety officer`."""
    scan_restricted: bool = False
    """Whether followers-only and direct posts are examined, too."""
    scan_restricted_basis: str = ""
    """The legal basis for that; it is recorded in the audit log. Required if `scan_restricted` is on."""


class Attest(Section):
    """What the relay states to its peers about media that it scanned."""

    enabled: bool = True
    """Whether attestations are issued."""
    profile: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "image-1"
    """The name of the published policy under which scans are attested."""
    withhold_share_permille: Annotated[int, Field(ge=0, le=900)] = 100
    """The share of scans without a match that are not attested, in thousandths, so that a missing
    attestation says nothing."""
    life_with_lists_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """How long an attestation counts where hash lists were part of the scan."""
    life_models_only_hours: Annotated[int, Field(ge=1, le=720)] = 168
    """How long an attestation counts where only models were."""


class Logs(Section):
    """What the relay says of its work. Never addresses or digests of media."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged: debug, info, warning or error."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for machines, one event a line."""


class Metrics(Section):
    """Numbers for monitoring."""

    enabled: bool = True
    """Whether `/metrics` is served on the admin address."""
