"""Local servers that answer as the real ones do: their paths, their documents, their errors."""

from tests.fediverse.servers.base import ApiServer, Asked, Post
from tests.fediverse.servers.gotosocial import GoToSocialServer
from tests.fediverse.servers.lemmy import LemmyServer
from tests.fediverse.servers.mastodon import MastodonServer
from tests.fediverse.servers.misskey import MisskeyServer
from tests.fediverse.servers.pictrs import PictrsServer
from tests.fediverse.servers.piefed import PiefedServer

__all__ = [
    "ApiServer",
    "Asked",
    "GoToSocialServer",
    "LemmyServer",
    "MastodonServer",
    "MisskeyServer",
    "PictrsServer",
    "PiefedServer",
    "Post",
]
