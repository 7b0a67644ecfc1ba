"""Choose the adapter for the server behind the relay; none without a token.

Nothing is asked of a server's API unless its admin gave a token for it, so that every acting is off until it
was switched on.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from relay.backends.api import ApiPlace, open_api
from relay.backends.gotosocial import GoToSocialApi
from relay.backends.lemmy import LEMMY_CODES, LemmyApi
from relay.backends.mastodon import MastodonApi
from relay.backends.misskey import MISSKEY_CODES, MisskeyApi
from relay.backends.pictrs import PICTRS_CODES, PictrsApi
from relay.backends.piefed import PIEFED_CODES, PiefedApi
from relay.config.sections import Software

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from relay.backends.abilities import BackendApi, Refusal
    from relay.backends.base import Adapter
    from relay.config.sections import Backend

ADAPTERS: Final[Mapping[Software, type[Adapter]]] = MappingProxyType(
    {
        Software.MASTODON: MastodonApi,
        Software.GOTOSOCIAL: GoToSocialApi,
        Software.LEMMY: LemmyApi,
        Software.PIEFED: PiefedApi,
        Software.MISSKEY: MisskeyApi,
        Software.SHARKEY: MisskeyApi,
    }
)
"""The servers whose API is known."""

_CODES: Final[Mapping[Software, Mapping[str, Refusal]]] = MappingProxyType(
    {
        Software.LEMMY: LEMMY_CODES,
        Software.PIEFED: PIEFED_CODES,
        Software.MISSKEY: MISSKEY_CODES,
        Software.SHARKEY: MISSKEY_CODES,
    }
)


@asynccontextmanager
async def open_adapter(backend: Backend, *, domain: str = "") -> AsyncIterator[BackendApi | None]:
    """Open the API of the server behind the relay; None without a token, or for a server that has no adapter.

    Args:
        backend: Its section of the configuration.
        domain: The domain of the instance, for servers that answer by name, where `backend.hosts` names none.
            One with a port is the relay's own address, for want of a public one, and is not used.

    Raises:
        ValueError: An address in the configuration is none.
    """
    token, base_url = backend.token.get_secret_value(), backend.api_url or backend.url
    if not token or not base_url or backend.software not in ADAPTERS:
        yield None
        return
    is_misskey = backend.software in {Software.MISSKEY, Software.SHARKEY}
    place = ApiPlace(
        base_url=base_url,
        host=backend.hosts[0] if backend.hosts else (domain if ":" not in domain else ""),
        headers=MappingProxyType({} if is_misskey else {"Authorization": f"Bearer {token}"}),
        codes=_CODES.get(backend.software, MappingProxyType({})),
    )
    async with open_api(place) as client, open_pictrs(backend) as pictrs:
        match backend.software:
            case Software.MASTODON:
                yield MastodonApi(client)
            case Software.GOTOSOCIAL:
                yield GoToSocialApi(client)
            case Software.LEMMY:
                yield LemmyApi(client, pictrs=pictrs)
            case Software.PIEFED:
                yield PiefedApi(client)
            case _:
                yield MisskeyApi(client, token=token)


@asynccontextmanager
async def open_pictrs(backend: Backend) -> AsyncIterator[PictrsApi | None]:
    """Open the API of the pict-rs behind a Lemmy; None without its address or its key.

    Raises:
        ValueError: Its address is none.
    """
    key = backend.pictrs_key.get_secret_value()
    if not key or not backend.pictrs_url:
        yield None
        return
    place = ApiPlace(
        base_url=backend.pictrs_url,
        headers=MappingProxyType({"X-Api-Token": key}),
        server="pict-rs",
        credential="backend.pictrs_key",
        codes=PICTRS_CODES,
    )
    async with open_api(place) as client:
        yield PictrsApi(client)
