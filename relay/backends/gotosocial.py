"""GoToSocial, from 0.17: Mastodon's API, with less of it.

It can look an object up at its origin, report it to its own moderators and suspend its author; other actions
on accounts it does not have. It takes down no posts from elsewhere. A file that the gateway withholds leaves
a link to its origin in the post, so that the delivery has to be held as well.

Source: https://docs.gotosocial.org/en/latest/api/swagger/ (search, reports, admin).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from relay.backends.abilities import Ability, AccountAction
from relay.backends.base import Statement, able, unable
from relay.backends.mastodon import NO_REMOVAL, MastodonApi

if TYPE_CHECKING:
    from collections.abc import Mapping


class GoToSocialApi(MastodonApi):
    """The API of a GoToSocial."""

    statements: ClassVar[Mapping[Ability, Statement]] = MappingProxyType(
        {
            **MastodonApi.statements,
            Ability.REMOVE: unable(NO_REMOVAL),
            Ability.PURGE_MEDIA: unable(
                "its API deletes no single file; `media_cleanup` forgets what nobody looked at for days"
            ),
            Ability.ACCOUNT_ACTION: able("suspending an account; it has no milder action"),
        }
    )
    actions: ClassVar[Mapping[AccountAction, str]] = MappingProxyType({AccountAction.SUSPEND: "suspend"})
