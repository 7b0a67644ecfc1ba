"""The section of the configuration for what is exchanged with other relays."""

from typing import Annotated

from pydantic import Field

from relay.config.sections import Positive, Section


class Exchange(Section):
    """What is exchanged with other relays. Nothing is, before you have approved a peer."""

    uses_headers: bool = True
    """Whether an attestation that comes with the bytes of media is read."""
    uses_inline: bool = True
    """Whether an attestation that stands in an activity is read."""
    asks_origin: bool = True
    """Whether the relay of the server that media came from is asked about them, if it is a peer."""
    uses_feed: bool = True
    """Whether the feeds of the peers that you follow are read and kept."""
    asks_buckets: bool = False
    """Whether other peers are asked, too. They learn a part of the digest, which some two hundred others
    share."""
    ask_within_ms: Annotated[int, Field(ge=10, le=5_000)] = 300
    """How long asking may take altogether; then the media is scanned."""
    patience_s: Annotated[int, Field(ge=0, le=120)] = 0
    """How long a delivery may wait for the word of a peer that you rely on, before its media is scanned here.
    Large servers set 0 and scan at once; small ones spare most of their scans with 20."""
    profiles: tuple[str, ...] = ()
    """Further scanning profiles of peers, by their whole address, that look for what yours looks for. One
    with the name of your own (`attest.profile`) is taken for the same in any case."""
    audit_bytes: Annotated[int, Field(ge=16_777_216)] = 268_435_456
    """How many bytes of media that a peer's word let through may lie sealed on disk until they are audited,
    for an hour at the most."""
    follows_per_hour: Positive = 60
    """The most requests to follow this relay that are stored in an hour."""
    lookups_per_minute: Positive = 600
    """The most look-ups that one peer may make in a minute."""
    media_front: bool = False
    """Whether the relay serves your server's own media, with attestations: the reverse proxy then sends their
    path here."""
    media_upstream: str = ""
    """Where your server's own media are really fetched from, for instance `http://127.0.0.1:3000`."""
    media_paths: tuple[str, ...] = ("/system/", "/media/", "/pictrs/", "/fileserver/")
    """The beginnings of the paths that the media front answers for."""
    front_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The port of the media front on `server.host`; 0 takes the fourth one after `server.port`."""
