"""Servers on loopback that give out lists as their makers do, with their pages, tombstones and errors."""

from tests.lists_servers.files import FileServer
from tests.lists_servers.ncmec import Entry, NcmecServer
from tests.lists_servers.server import Fault, ListServer
from tests.lists_servers.stopncii import Hash, StopNciiServer
from tests.lists_servers.threatexchange import Indicator, ThreatExchangeServer

__all__ = [
    "Entry",
    "Fault",
    "FileServer",
    "Hash",
    "Indicator",
    "ListServer",
    "NcmecServer",
    "StopNciiServer",
    "ThreatExchangeServer",
]
