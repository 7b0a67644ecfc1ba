"""Read which key an ActivityPub document publishes, and for whom.

Two forms are known: an actor with its keys inside (`publicKey`, `assertionMethod`), and a key that
stands alone and only names its owner. Whether the owner names the key in turn is for
`relay.tools.key_directory` to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.tools.urls import MalformedUrlError, parse_url
from signatures.admission import admit_key
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import parse_multikey, parse_public_key_pem

if TYPE_CHECKING:
    from signatures.keys import PublicKey
    from signatures.strictjson import JsonObject, JsonValue

# Real actors publish one or two keys; more are not looked through.
MAX_KEYS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """A key as a document publishes it; admitted, not yet proven to be its owner's.

    Attributes:
        owner: The id of the actor that the document says owns it.
        document_id: The `id` of the document that it stood in.
    """

    key_id: str
    owner: str
    document_id: str
    key: PublicKey


def read_key(document: JsonObject, key_id: str) -> PublishedKey:
    """Find the key with this id in a document.

    Raises:
        VerificationError: key_refused (there is no such key in it, or it cannot be read or is not
            admitted), wrong_origin (id, owner and key are not of one origin) or wrong_key (the
            document is an actor that is not the key's owner).
    """
    document_id = document.get("id")
    if not isinstance(document_id, str):
        raise VerificationError(Reason.KEY_REFUSED, "the document has no id")
    entry = _find_entry(document, document_id, key_id)
    if entry is None:
        raise VerificationError(Reason.KEY_REFUSED, "the document does not publish this key")
    owner = entry.get("owner") or entry.get("controller")
    if not isinstance(owner, str):
        raise VerificationError(Reason.KEY_REFUSED, "the key names no owner")
    if entry is not document and owner != document_id:
        raise VerificationError(Reason.WRONG_KEY, "the key is another actor's than the document's")
    _require_one_origin(key_id, owner, document_id)
    return PublishedKey(key_id=key_id, owner=owner, document_id=document_id, key=_read_material(entry))


def _find_entry(document: JsonObject, document_id: str, key_id: str) -> JsonObject | None:
    if document_id == key_id and ("publicKeyPem" in document or "publicKeyMultibase" in document):
        return document
    listed = [*_list_objects(document.get("publicKey")), *_list_objects(document.get("assertionMethod"))]
    for entry in listed:
        if entry.get("id") == key_id:
            return entry
    # Some senders give their own id for a key id. With one key there is nothing to mistake it for.
    if document_id == key_id and len(listed) == 1:
        return listed[0]
    return None


def _list_objects(value: JsonValue) -> list[JsonObject]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries[:MAX_KEYS] if isinstance(entry, dict)]


def _require_one_origin(*ids: str) -> None:
    """FEP-fe34: a document is to be believed about its own origin only."""
    try:
        origins = {parse_url(text).origin for text in ids}
    except MalformedUrlError as error:
        raise VerificationError(Reason.WRONG_ORIGIN, "an id is no URL") from error
    if len(origins) != 1:
        raise VerificationError(Reason.WRONG_ORIGIN, "key, owner and document are of several origins")


def _read_material(entry: JsonObject) -> PublicKey:
    pem, multibase = entry.get("publicKeyPem"), entry.get("publicKeyMultibase")
    try:
        if isinstance(multibase, str):
            key = parse_multikey(multibase)
        elif isinstance(pem, str):
            key = parse_public_key_pem(pem)
        else:
            raise VerificationError(Reason.KEY_REFUSED, "the key has no material")
    except MalformedError as error:
        raise VerificationError(Reason.KEY_REFUSED, "the key cannot be read") from error
    admit_key(key)
    return key
