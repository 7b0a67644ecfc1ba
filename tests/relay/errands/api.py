"""A backend's API that answers what a test wants, and remembers what it was asked."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from relay.backends.abilities import Ability, ApiFailure, Done, ObjectKind, Resolved, Target, TokenCheck

if TYPE_CHECKING:
    import asyncio

    from relay.backends.abilities import AccountAction


class ScriptedApi:
    """Answers `Done` unless something else is next.

    Attributes:
        asked: What it was asked, as words.
        answers: What the next questions are answered.
        gate: If set, every answer waits for it.
    """

    abilities = frozenset(Ability)

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.answers: deque[ApiFailure] = deque()
        self.gate: asyncio.Event | None = None

    async def check_token(self) -> TokenCheck | ApiFailure:
        return TokenCheck(usable=self.abilities)

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        answer = await self._answer("resolve", url)
        return Resolved(kind=ObjectKind.POST, local_id="1") if isinstance(answer, Done) else answer

    async def report(self, target: Target, *, comment: str) -> Done | ApiFailure:
        return await self._answer("report", target.object_id, target.actor_id, comment)

    async def remove(self, target: Target, *, reason: str) -> Done | ApiFailure:
        return await self._answer("remove", target.object_id, target.actor_id, reason)

    async def purge(self, target: Target, *, reason: str) -> Done | ApiFailure:
        return await self._answer("purge", target.object_id, target.actor_id, reason)

    async def purge_media(self, alias: str) -> Done | ApiFailure:
        return await self._answer("purge_media", alias)

    async def act_on_account(
        self, target: Target, *, action: AccountAction, reason: str
    ) -> Done | ApiFailure:
        return await self._answer("act", target.actor_id, action.value, reason)

    async def _answer(self, *words: str) -> Done | ApiFailure:
        self.asked.append(words)
        if self.gate is not None:
            await self.gate.wait()
        return self.answers.popleft() if self.answers else Done()
