"""What an admin reads about a peer's warnings says how it was judged, and what follows."""

from __future__ import annotations

from relay.cli.peers_words import explain_warnings


def test_a_peers_warnings_are_told_with_what_became_of_them() -> None:
    assert explain_warnings({}) == "None has fitted media of ours yet."
    heard = explain_warnings({"upheld": 7, "released": 5, "open": 2})
    assert heard == "Of 12 that fitted media of ours and were ruled on, 7 were upheld; 2 wait for a person."
    unheard = explain_warnings({"upheld": 3, "released": 9})
    assert unheard.startswith("Of 12 that fitted media of ours and were ruled on, 3 were upheld; 0 wait")
    assert "no more are taken in" in unheard
