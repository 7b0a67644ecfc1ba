"""How the relay goes out: the bounds on every request that it makes itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from relay.tools.addresses import AddressRules, Endpoint, IpNetwork

# A name server or a host that needs longer is down; the sender's own queue was not faster.
CONNECT_TIMEOUT: Final = timedelta(seconds=5)
# Object stores that fetch from cold storage answer in seconds, not in tens of seconds.
FIRST_BYTE_TIMEOUT: Final = timedelta(seconds=10)
# The bound on everything together, redirects included: an attacker gets this much of one connection.
TOTAL_TIMEOUT: Final = timedelta(seconds=60)
# At this rate 40 MB would take 40 minutes, so that it hinders nobody's honest line; it ends a drip early.
MIN_BYTES_PER_SECOND: Final = 16 * 1024
# The rate counts after this time, and nothing may arrive for no longer than it.
THROUGHPUT_GRACE: Final = timedelta(seconds=5)
# The servers in front of which the relay stands refuse larger pictures and short videos by default.
MAX_BYTES: Final = 40_000_000
# Chains of real hosts (http to https, apex to www, application to object store) need three.
MAX_REDIRECTS: Final = 5
DEFAULT_USER_AGENT: Final = "Breakwater/0.1 (ActivityPub media scanning relay)"
HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """The bounds on every request.

    Attributes:
        allow_http: Plain http may be asked for (its port 80 too). A redirect from https to http may
            not be followed even then.
        ports: The ports that may be dialled; None for any.
        allow_private: Networks and exact endpoints that may be dialled whatever the registries say. An
            exact endpoint that a URL names by address may also be plain http on any port: it is ours.
        refused: The relay's own addresses and the backend's.
        max_bytes: The bound on a body where the caller names none, counted after transfer decoding.
    """

    allow_http: bool = False
    ports: frozenset[int] | None = frozenset((HTTPS_PORT,))
    allow_private: tuple[IpNetwork | Endpoint, ...] = ()
    refused: tuple[IpNetwork | Endpoint, ...] = ()
    connect_timeout: timedelta = CONNECT_TIMEOUT
    first_byte_timeout: timedelta = FIRST_BYTE_TIMEOUT
    total_timeout: timedelta = TOTAL_TIMEOUT
    min_bytes_per_second: int = MIN_BYTES_PER_SECOND
    throughput_grace: timedelta = THROUGHPUT_GRACE
    max_bytes: int = MAX_BYTES
    max_redirects: int = MAX_REDIRECTS
    user_agent: str = DEFAULT_USER_AGENT

    @property
    def rules(self) -> AddressRules:
        """The exceptions from the registries of addresses."""
        return AddressRules(allowed=self.allow_private, refused=self.refused)
