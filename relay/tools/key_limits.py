"""Bound the keys that strangers make us look up.

A key id is looked up before anything is known of who sent it, so that invented ones would turn every
request into one of ours. Keys that are known already cost nothing and are never bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.model import FetchFailure
from relay.tools.key_directory import KeyUnavailable

if TYPE_CHECKING:
    from relay.clock import Clock
    from relay.tools.key_directory import FoundKey, KeyDirectory
    from relay.tools.limits import FairShare

# A large server brings some ten people per second whom we have not heard of before, and hundreds on the
# first day; what is beyond is stored all the same, and verified a little later.
LOOKUPS_PER_SECOND: Final = 10.0
LOOKUPS_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedKeys:
    """The directory, as one address may use it.

    Attributes:
        directory: What knows the keys.
        fair_share: How many unknown keys an address may name in a time.
        address: Who names them.
        clock: The time.
    """

    directory: KeyDirectory
    fair_share: FairShare
    address: str
    clock: Clock

    async def find_key(self, key_id: str) -> FoundKey:
        """Find the key with this id; unavailable where this address has had its share."""
        is_admitted = self.directory.is_known(key_id) or self.fair_share.admits(
            self.address, now=self.clock.now()
        )
        if not is_admitted:
            return KeyUnavailable(key_id=key_id, failure=FetchFailure.TIMEOUT)
        return await self.directory.find_key(key_id)

    async def refetch(self, key_id: str) -> FoundKey:
        """Ask the origin again, which the directory bounds by itself."""
        return await self.directory.refetch(key_id)
