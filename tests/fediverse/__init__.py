"""The simulated remote world: real HTTP servers on loopback that are honest, broken or hostile on request.

`Fediverse` opens origins; an `Origin` hosts actors and serves media and objects by behaviours
(`tests.fediverse.behaviours`); `tests.fediverse.shapes` builds activities as the known servers send
them; `RecordingBackend` stands where the instance behind the relay would.
"""

from tests.fediverse.actors import Actor, KeyForm
from tests.fediverse.backend import RecordingBackend
from tests.fediverse.clock import FrozenClock
from tests.fediverse.wire import WireRequest, WireResponse, send
from tests.fediverse.world import Fediverse, Origin

__all__ = [
    "Actor",
    "Fediverse",
    "FrozenClock",
    "KeyForm",
    "Origin",
    "RecordingBackend",
    "WireRequest",
    "WireResponse",
    "send",
]
