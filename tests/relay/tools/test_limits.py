"""What is stored while the table is counted is not lost from the backlog."""

from __future__ import annotations

from relay.tools.limits import UNVERIFIED, Backlog


def test_what_is_stored_during_a_recount_still_counts() -> None:
    backlog = Backlog(limit=3)
    backlog.add(1, domain="a.example")
    backlog.start_recount()
    backlog.add(1, domain="a.example")
    backlog.add(1, domain=UNVERIFIED)

    # The table was read before the last two were committed.
    backlog.set(1, by_domain={"a.example": 1})

    assert backlog.is_full
    backlog.add(-1, domain="a.example")
    assert not backlog.is_full


def test_a_recount_forgets_what_the_table_no_longer_holds() -> None:
    backlog = Backlog(limit=3)
    for _ in range(3):
        backlog.add(1, domain="a.example")
    backlog.start_recount()

    backlog.set(1)

    assert not backlog.is_full
