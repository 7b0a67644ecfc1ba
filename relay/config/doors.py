"""The sections of the configuration for every door but the inbox."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from relay.config.sections import Port, Positive, Seconds, Section


class Gateway(Section):
    """The outbound proxy of the backend: what it fetches is examined before it gets the bytes."""

    enabled: bool = False
    """Whether the gateway is opened. The backend has to be told to use it (`http_proxy`, `https_proxy`). With
    a Mastodon, Misskey or Sharkey, text is then forwarded while its media stay withheld here, as with
    `backend.enforces_media`: tell the backend first, or in the same step."""
    host: str = "127.0.0.1"
    """The address that it listens on. Never a public one: whoever reaches it can fetch through it."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port of that address; 0 takes the second one after `server.port`."""
    allowed_clients: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """The networks whose requests are served: those of the backend."""
    password: SecretStr = SecretStr("")
    """If set, the backend has to give it: `http://breakwater:PASSWORD@127.0.0.1:8792`."""
    password_file: Path | None = None
    """A file that holds that password."""
    opens_tls: bool = True
    """Whether connections to https servers are opened with the certificate authority of this installation
    (`breakwater keys ca`), which the backend has to trust. Otherwise they are tunnels of which only the host
    is seen, and nothing in them is examined."""
    blocked_hosts: tuple[str, ...] = ()
    """Hosts that nothing is fetched from, their subdomains included."""
    ports: Annotated[tuple[Port, ...], Field(min_length=1)] = (443, 80)
    """The ports that may be dialled for the backend."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The most connections of the backend at once. Beyond it new ones wait."""
    release_within_s: Seconds = 30
    """How long the backend waits for the verdict on one file. Then the file is withheld; the next request
    finds the verdict."""


class Doors(Section):
    """The doors for programs beside the backend: for pict-rs, for PieFed, and for programs of your own."""

    validator: bool = False
    """Whether pict-rs may ask about every file before it stores it (its `media.external_validation`)."""
    hash_endpoint: bool = False
    """Whether PieFed may ask for the hash of a picture (its `IMAGE_HASHING_ENDPOINT`)."""
    lookup: bool = False
    """Whether programs of your own may send a file and learn whether a hash list holds it."""
    host: str = "127.0.0.1"
    """The address that these doors listen on. Never a public one."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port of that address; 0 takes the third one after `server.port`."""
    secret: SecretStr = SecretStr("")
    """What stands in the path of their addresses, so that only those who were told it can ask. Unless given,
    one is made and kept in the data directory; `breakwater doors` prints the whole addresses."""
    secret_file: Path | None = None
    """A file that holds that secret."""
    validate_within_s: Annotated[float, Field(gt=0, le=600)] = 25
    """How long pict-rs waits for a verdict. Its own patience is 30 seconds unless it was told otherwise; what
    is not known by then is refused."""
    hashes_per_minute: Positive = 120
    """The most pictures a minute whose hash is fetched and computed for PieFed."""

    @property
    def is_any_open(self) -> bool:
        """Whether any of them is open."""
        return self.validator or self.hash_endpoint or self.lookup


class Uploads(Section):
    """What your own users upload, as Mastodon's webhook tells of it."""

    enabled: bool = False
    """Whether the webhook is answered, at `/webhooks/mastodon` below `identity.base_url`."""
    secret: SecretStr = SecretStr("")
    """The secret that Mastodon shows for the webhook; requests without its signature are refused."""
    secret_file: Path | None = None
    """A file that holds that secret."""
    media_hosts: tuple[str, ...] = ()
    """The hosts that your server's own media are fetched from, for instance `["files.social.example"]`. The
    domain of the instance is always among them."""


class Storage(Section):
    """What is already stored, for `breakwater sweep`."""

    path: Path | None = None
    """The directory that the server keeps media in, for `sweep local`."""
    s3_endpoint: str = ""
    """The address of the S3 service, for instance `https://s3.eu-central-1.amazonaws.com`."""
    s3_bucket: str = ""
    """The bucket that the server keeps media in."""
    s3_prefix: str = ""
    """The beginning of the names that are looked at; empty for the whole bucket."""
    s3_region: str = ""
    """The region, where the service asks for one."""
    s3_access_key: str = ""
    """The access key. One that may only list and read is enough."""
    s3_secret_key: SecretStr = SecretStr("")
    """The secret that belongs to it."""
    s3_secret_key_file: Path | None = None
    """A file that holds that secret."""
