"""The errors of the trunk.

BreakwaterError
├── ConfigError            the settings cannot be used; nothing was started
├── StartupError           a part could not be started (database, port, keys)
├── MalformedActivityError the body is not an activity that can be examined
└── MalformedUrlError      see `relay.tools.urls`; SpoolFullError and others stand with their tools

Only the edge (`relay.web.problems`, `relay.cli`) turns them into statuses and sentences.
"""

from __future__ import annotations


class BreakwaterError(Exception):
    """Say what happened, what it means and what to do, in one message."""


class ConfigError(BreakwaterError):
    """The settings cannot be used."""


class StartupError(BreakwaterError):
    """A part of the relay could not be started."""


class MalformedActivityError(BreakwaterError):
    """A body is not an activity that can be examined."""
