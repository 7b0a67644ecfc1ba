"""Faithful fakes of the services that know pictures, on loopback, their errors included.

Built from what their public clients and sources show of their interfaces; what a fake "knows" is told to it
by digest, since none holds anything real.
"""

from tests.service_servers.base import FakeService, Scripted
from tests.service_servers.google import FakeGoogle
from tests.service_servers.hma import FakeHma
from tests.service_servers.photodna import FakePhotoDna
from tests.service_servers.shield import FakeShield

__all__ = ["FakeGoogle", "FakeHma", "FakePhotoDna", "FakeService", "FakeShield", "Scripted"]
