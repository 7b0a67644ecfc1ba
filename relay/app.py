"""Build everything, run it, and take it down in the opposite order; the only place that does."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from db import hashlists, states
from relay import assembly
from relay.backends.choice import Backends
from relay.backends.client import open_backend
from relay.backends.standin import open_standin
from relay.errors import StartupError
from relay.pipeline import Tools
from relay.selftest import SelftestTools, open_selftest_origin, run_selftest
from relay.stages.attest import AttestTools
from relay.stages.scan import ScanTools
from relay.tools.database import open_owned_database
from relay.tools.fetching import open_guarded_client
from relay.tools.flights import open_flights
from relay.tools.hash_lists import load_lists
from relay.tools.identity import Identity, IdentitySigner
from relay.tools.key_directory import KeyDirectory
from relay.tools.key_files import load_or_create_keys
from relay.tools.key_store import DatabaseKeyStore
from relay.tools.scanning import open_scanning
from relay.tools.spool import open_spool
from relay.web.admin import AdminPages
from relay.web.attestations import AttestationDoor
from relay.web.identity import IdentityPages
from relay.web.inbox import InboxDoor
from relay.workers import Workers, WorkerSettings
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.pool import Database
    from relay.clock import Clock
    from relay.config import Settings
    from relay.metrics import Metrics
    from relay.tools.scanning import Scanning
    from signatures.strictjson import JsonObject
