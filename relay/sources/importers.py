"""Choose what speaks with a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.sources.files import FileImporter
from relay.sources.model import SourceKind
from relay.sources.ncmec import NcmecImporter
from relay.sources.stopncii import StopNciiImporter
from relay.sources.threatexchange import ThreatExchangeImporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sources.asking import Asking
    from relay.sources.model import Importer


def build_importer(kind: SourceKind, *, url: str, options: Mapping[str, object], asking: Asking) -> Importer:
    """Build the importer of one source.

    Args:
        kind: How the source is spoken to.
        url: Where it is.
        options: `group` and `tags` of ThreatExchange, `sha256` of files.
        asking: Asks its host, with the credentials.
    """
    root = url.rstrip("/")
    match kind:
        case SourceKind.NCMEC:
            return NcmecImporter(root=root, asking=asking)
        case SourceKind.STOPNCII:
            return StopNciiImporter(root=root, asking=asking)
        case SourceKind.THREATEXCHANGE:
            tags = options.get("tags")
            return ThreatExchangeImporter(
                root=root,
                group=str(options.get("group", "")),
                tags=frozenset(str(tag) for tag in tags) if isinstance(tags, list) else frozenset(),
                asking=asking,
            )
        case SourceKind.IWF | SourceKind.CSV | SourceKind.JSON | SourceKind.TEXT:
            return FileImporter(kind=kind, url=url, sha256=str(options.get("sha256", "")), asking=asking)
