"""The checks of `breakwater doctor` on the media front: it runs, and stands where the world asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from relay import assembly
from relay.cli.diagnosis import Diagnosis, Finding
from relay.tools.key_files import find_keys
from relay.tools.own_media import name_front

if TYPE_CHECKING:
    from relay.config import Settings

_ANSWER_TIMEOUT_S: Final = 5.0
_CHECK: Final = "media front"
# No server has it; what is asked is who answers.
_NAME: Final = "breakwater-doctor"


async def check_front(settings: Settings) -> list[Diagnosis]:
    """Check that the media front answers for the server's own media, and finds them past itself.

    A request that bears the front's own name is refused as a loop, whatever the path: so each place shows
    whether the front is behind it, and no file of anybody is asked for.

    Raises:
        StartupError: The keys cannot be read.
    """
    if not settings.exchange.media_front:
        return []
    keys = await asyncio.to_thread(find_keys, settings.server.data_dir)
    if keys is None:
        return [_problem("the relay has no keys yet, so that its front has no name", "Start the relay once.")]
    via = name_front(keys.secret)
    paths = settings.exchange.media_paths
    own = assembly.local_url(settings.server.host, settings.front_port)
    async with httpx.AsyncClient(timeout=_ANSWER_TIMEOUT_S, trust_env=False) as http:
        if not await _is_front(http, own, paths[0], via=via):
            return [
                _problem(
                    f"the media front does not answer at {own}: your server's media are not served",
                    "Start the relay, or correct exchange.front_port. To close the front, take its lines out "
                    "of your reverse proxy first.",
                )
            ]
        found = await _check_upstream(http, settings.exchange.media_upstream, paths[0], via=via)
        for place in _list_places(settings):
            found.append(await _check_place(http, place, paths, via=via))
    return found


async def _check_upstream(http: httpx.AsyncClient, upstream: str, path: str, *, via: str) -> list[Diagnosis]:
    is_front = await _is_front(http, upstream.rstrip("/"), path, via=via)
    if is_front is None:
        return [
            _problem(
                f"exchange.media_upstream, {upstream}, does not answer: no media can be served",
                "Start what listens there; with nginx that is the line `listen 127.0.0.1:8795;`.",
            )
        ]
    if is_front:
        return [
            _problem(
                f"exchange.media_upstream, {upstream}, leads back to the front: no media are served",
                "Name the port at which your reverse proxy does not send media to the front.",
            )
        ]
    return [Diagnosis(check=_CHECK, finding=Finding.OK, detail=f"it finds your media at {upstream}")]


async def _check_place(http: httpx.AsyncClient, place: str, paths: tuple[str, ...], *, via: str) -> Diagnosis:
    """Check whether the world that asks for media at a place asks the front."""
    answers = {path: await _is_front(http, place, path, via=via) for path in paths}
    fronted = [path for path, is_front in answers.items() if is_front]
    if fronted:
        return Diagnosis(
            check=_CHECK, finding=Finding.OK, detail=f"{place} sends {', '.join(fronted)} through it"
        )
    if all(is_front is None for is_front in answers.values()):
        return Diagnosis(
            check=_CHECK,
            finding=Finding.NOTE,
            detail=f"{place} does not answer from here: nobody knows what stands before your media",
            remedy="Ask for one of your pictures from elsewhere: its answer has the header Repr-Digest.",
        )
    return _problem(
        f"{place} serves media past the front: nothing withholds what matched, and no attestation comes with "
        "what did not",
        "Put the files of deploy/nginx in place as they say, and see that exchange.media_paths are your "
        "server's. If a cache before your server drops the header Via, look for Repr-Digest in the answer to "
        "one of your pictures instead.",
    )


def _list_places(settings: Settings) -> list[str]:
    """List where the world finds the server's media: the hosts that the admin named, or its own."""
    base = urlsplit(settings.base_url)
    return [f"{base.scheme}://{host}" for host in settings.uploads.media_hosts or (base.netloc,)]


async def _is_front(http: httpx.AsyncClient, place: str, path: str, *, via: str) -> bool | None:
    """Tell whether the front is what answers there; None where nothing does."""
    try:
        answer = await http.get(f"{place}{path}{_NAME}", headers={"Via": f"1.1 {via}"})
    except httpx.HTTPError:
        return None
    return answer.status_code == httpx.codes.LOOP_DETECTED


def _problem(detail: str, remedy: str) -> Diagnosis:
    return Diagnosis(check=_CHECK, finding=Finding.PROBLEM, detail=detail, remedy=remedy)
