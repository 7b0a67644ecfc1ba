"""Bind: may this sender deliver this activity?

A sender speaks for the actors of its own origin (FEP-fe34). Servers also pass on what others wrote, a
reply to those who follow the thread for instance; such an activity carries a proof of its own author
inside. That proof earns no trust here, but the backend may accept it, so that the activity goes on, is
examined like every other one, and is not taken for the sender's word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.tools.urls import is_same_origin

if TYPE_CHECKING:
    from relay.model import Activity, Sender
    from signatures.strictjson import JsonValue

# Linked Data signatures and Data Integrity proofs.
_PROOFS: Final = ("signature", "proof")


def is_bound(activity: Activity, document: JsonValue, sender: Sender) -> bool:
    """Tell whether the sender speaks for the activity's actor, or the activity brings a proof of its own."""
    if is_same_origin(sender.actor, activity.actor):
        return True
    return isinstance(document, dict) and any(isinstance(document.get(name), dict) for name in _PROOFS)
