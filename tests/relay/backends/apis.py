"""What the tests of all adapters share: a server of each kind, and posts that it knows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from relay.backends.adapters import open_adapter
from relay.config.sections import Backend, Software
from tests.fediverse.servers import (
    ApiServer,
    GoToSocialServer,
    LemmyServer,
    MastodonServer,
    MisskeyServer,
    PiefedServer,
    Post,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.backends.abilities import BackendApi

HERE = Post(
    uri="https://far.example/users/eve/statuses/11",
    page="https://far.example/@eve/11",
    author="https://far.example/users/eve",
    number=4711,
    author_number=42,
)
ELSEWHERE = Post(
    uri="https://far.example/users/eve/statuses/12",
    author="https://far.example/users/eve",
    number=4712,
    author_number=42,
)
COMMENT = Post(
    uri="https://far.example/comment/13",
    author="https://far.example/users/eve",
    number=4713,
    author_number=42,
    is_comment=True,
)
NOWHERE = "https://far.example/users/eve/statuses/404"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A server that the adapters are tried against."""

    software: Software
    server: type[ApiServer]
    options: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([self.software.value, *(str(option) for option in self.options.values())])


KINDS = (
    Kind(software=Software.MASTODON, server=MastodonServer, options={}),
    Kind(software=Software.GOTOSOCIAL, server=GoToSocialServer, options={}),
    Kind(software=Software.LEMMY, server=LemmyServer, options={"version": "v3"}),
    Kind(software=Software.LEMMY, server=LemmyServer, options={"version": "v4"}),
    Kind(software=Software.PIEFED, server=PiefedServer, options={}),
    Kind(software=Software.MISSKEY, server=MisskeyServer, options={}),
    Kind(software=Software.SHARKEY, server=MisskeyServer, options={}),
)


def settings_for(server: ApiServer, software: Software, **given: Any) -> Backend:
    values = {
        "url": server.url,
        "software": software,
        "token": SecretStr(server.token),
        "hosts": (server.host,),
        **given,
    }
    return Backend(**values)


@asynccontextmanager
async def connect(server: ApiServer, software: Software, **given: Any) -> AsyncIterator[BackendApi]:
    """Open the adapter for a server."""
    async with open_adapter(settings_for(server, software, **given)) as api:
        assert api is not None
        yield api


@asynccontextmanager
async def open_kind(kind: Kind, **given: Any) -> AsyncIterator[tuple[ApiServer, BackendApi]]:
    """Open a server that knows some posts, and the adapter for it."""
    async with kind.server.open(**kind.options) as server:
        server.has(HERE)
        server.knows_elsewhere(ELSEWHERE)
        async with connect(server, kind.software, **given) as api:
            yield server, api
