"""Ask every service that is switched on, side by side, and put what they say into the report.

Each is asked only if its breaker is closed, its budget of the day is not used up, and our own lists do not
already say what it could say. What does not take a file gets reduced copies of it. Whatever keeps it from
answering is an answer of its own: a failure, which is never taken for a no.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from db.errors import DatabaseError
from relay.config.services import CSAM, Asks, Sends
from relay.services.answers import (
    UNASKED,
    Answer,
    Answered,
    Failed,
    FailureKind,
    Material,
    NotTaken,
    Question,
)
from relay.services.copies import Copying
from relay.services.exposure import Exposure, may_be_sent
from relay.services.http import MAX_CONNECTIONS
from relay.services.merge import Consulted, merge
from scanner.labels import Category
from scanner.report import Basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.clock import Clock
    from relay.metrics import Metrics
    from relay.services.answers import Service
    from relay.services.breaker import Breaker
    from relay.services.budget import Budget
    from relay.services.copies import CopyMaker
    from scanner.report import Report

_log = logging.getLogger(__name__)

_TURN_WITHIN_S: Final = 20.0
"""How long a question waits for its turn: less than a backend waits at the gateway."""

_ANSWER_WITHIN_S: Final = 30.0
"""How long one question takes at the most, however many requests it is made of: with the turn before it less
than the lease of an examination."""

_SETTLED: Final = CSAM | {Category.NCII_KNOWN, Category.NCII_REPORTED, Category.NCII_SYNTHETIC}
"""What no service could say anything graver than, and what is shown to nobody else without need. What a list
says otherwise, that it is spam for instance, an admin may let pass, so that the services are asked."""

_KNOWN: Final = frozenset({Basis.EXACT_HASH, Basis.NEAR_HASH})

# An answer of the service about this very file; it works.
_WORKS: Final = frozenset({FailureKind.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One service and what stands before it.

    Attributes:
        service: The service.
        asks: When it is asked.
        breaker: Whether it is left alone.
        budget: How often it may be asked yet.
        turns: How many ask it at once.
    """

    service: Service
    asks: Asks
    breaker: Breaker
    budget: Budget
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_CONNECTIONS))


class Desk:
    """All services that are switched on."""

    def __init__(self, windows: Sequence[Window], *, sends: Sends, metrics: Metrics, clock: Clock) -> None:
        self._windows = tuple(windows)
        self._sends = sends
        self._metrics = metrics
        self._clock = clock

    def takes(self, exposure: Exposure) -> bool:
        """Tell whether the admin lets media that these people can see go to services."""
        return bool(self._windows) and may_be_sent(exposure, self._sends)

    def announce(self, report: Report) -> Report:
        """Name in a report of our own detectors the services that were not asked yet."""
        return merge(
            report,
            [
                Consulted(
                    facts=window.service.facts,
                    answer=NotTaken() if window.service.choose_material(report) is Material.NOTHING else None,
                )
                for window in self._windows
            ],
        )

    async def ask(self, data: bytes, report: Report, *, make_copies: CopyMaker) -> Report:
        """Ask about some bytes, and return the report with all answers in it.

        Args:
            data: The bytes.
            report: What our own detectors say of them, all of them.
            make_copies: What makes reduced copies of them.
        """
        question, copying = Question(data=data, report=report), Copying(data, make_copies)
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(self._consult(window, question, copying)) for window in self._windows]
        return merge(report, [one.result() for one in asking])

    async def _consult(self, window: Window, question: Question, copying: Copying) -> Consulted:
        facts = window.service.facts
        if window.asks is Asks.UNMATCHED and is_settled(question.report):
            return Consulted(facts=facts, answer=None)
        material = window.service.choose_material(question.report)
        answer: Answer = NotTaken()
        if material is Material.ORIGINAL:
            answer = await self._ask(window, question, None)
        if material is Material.COPIES or (isinstance(answer, NotTaken) and answer.takes_copies):
            answer = await self._ask(window, question, copying)
        self._metrics.count_service_answer(service=facts.name, outcome=_word_of(answer))
        if isinstance(answer, Failed):
            # While it is left alone, that was said when it began; the numbers go on counting.
            level = logging.DEBUG if answer.kind in UNASKED else logging.WARNING
            _log.log(level, "service_failed service=%s reason=%s", facts.name, answer.kind.value)
        return Consulted(facts=facts, answer=answer)

    async def _ask(self, window: Window, question: Question, copying: Copying | None) -> Answer:
        try:
            async with asyncio.timeout(_TURN_WITHIN_S):
                await window.turns.acquire()
        except TimeoutError:
            return Failed(kind=FailureKind.BUSY)
        try:
            return await self._ask_in_turn(window, question, copying)
        finally:
            window.turns.release()

    async def _ask_in_turn(self, window: Window, question: Question, copying: Copying | None) -> Answer:
        breaker, name = window.breaker, window.service.facts.name
        if not breaker.admit():
            return Failed(kind=FailureKind.BREAKER_OPEN)
        try:
            copies = None if copying is None else await copying.get()
            if isinstance(copies, Failed):
                answer: Answer = copies
            else:
                answer = await self._spend_and_ask(window, replace(question, copies=copies))
        except BaseException:
            # Whoever waited has gone: it says nothing about the service.
            breaker.abandon()
            raise
        _note(breaker, answer)
        self._metrics.set_service_breaker(service=name, is_open=breaker.is_open)
        return answer

    async def _spend_and_ask(self, window: Window, question: Question) -> Answer:
        service, name = window.service, window.service.facts.name
        left = await _spend(window.budget, service.count_requests(question))
        if isinstance(left, Failed):
            return left
        self._metrics.set_service_budget(service=name, left=left)
        start = self._clock.monotonic()
        answer = await _ask_in_time(service, question)
        self._metrics.observe_step(step=f"service_{name}", seconds=self._clock.monotonic() - start)
        return answer


def is_settled(report: Report) -> bool:
    """Tell whether a list of our own already knows the media as abuse: no service needs to be asked."""
    return any(
        not finding.advisory and finding.basis in _KNOWN and finding.category in _SETTLED
        for finding in report.findings
    )


async def _ask_in_time(service: Service, question: Question) -> Answer:
    """Ask, within a bound on all the requests that one question may take."""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            return await service.ask(question)
    except TimeoutError:
        return Failed(kind=FailureKind.TIMEOUT)


async def _spend(budget: Budget, requests: int) -> int | Failed:
    try:
        left = await budget.spend(requests)
    except DatabaseError:
        return Failed(kind=FailureKind.UNCOUNTED)
    return Failed(kind=FailureKind.OVER_BUDGET) if left is None else left


def _note(breaker: Breaker, answer: Answer) -> None:
    if not isinstance(answer, Failed) or answer.kind in _WORKS:
        breaker.succeed()
    elif answer.kind in UNASKED:
        breaker.abandon()
    else:
        breaker.fail(answer.retry_after)


def _word_of(answer: Answer) -> str:
    """Name an answer by whether there is one, never by what it says."""
    match answer:
        case Answered():
            return "answered"
        case NotTaken():
            return "not_taken"
        case Failed(kind=kind):
            return kind.value
