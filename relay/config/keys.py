"""Every key of the configuration with its name, its description and its default, read off the models."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from relay.config.policy import DEFAULT_POLICIES, CategoryPolicy, Conditions
from relay.config.settings import Settings
from scanner.labels import Category

ENVIRONMENT_PREFIX: Final = "BREAKWATER_"

CATEGORY_DESCRIPTIONS: Final[Mapping[Category, str]] = {
    Category.CSAM_KNOWN: "Child sexual abuse material on a verified hash list.",
    Category.CSAM_SUSPECTED: "Apparent or new child sexual abuse material that nobody verified.",
    Category.CSEM_OTHER: "Sexualised minors below that threshold, grooming, trading signals.",
    Category.CSAM_SIMULATED: "Drawn or generated depictions, which the laws of countries treat differently.",
    Category.NCII_KNOWN: "An adult's intimate picture on a list of such pictures.",
    Category.NCII_REPORTED: "An intimate picture that a valid notice names, not yet decided upon.",
    Category.NCII_SYNTHETIC: "A forged intimate picture of an identifiable adult.",
    Category.TVEC: "Terrorist and violent extremist content.",
    Category.GRAPHIC_VIOLENCE: "Graphic violence.",
    Category.SEXUAL_ABUSE_ADULT: "Sexual abuse of adults.",
    Category.ADULT_CONTENT: "Lawful pornography, sexual content and nudity.",
    Category.MALWARE: "Files that attack their reader.",
    Category.SPAM: "Spam. The drawn test picture (canary) counts as spam.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key.

    Attributes:
        section: The name of its table, for instance `server` or `policy.csam-known`.
        name: Its name in that table.
        description: What it means, in whole sentences on one line.
        default: Its default as TOML; None where it follows from other things.
        kind: The type in words.
    """

    section: str
    name: str
    description: str
    default: str | None
    kind: str

    @property
    def path(self) -> str:
        """The whole name, for instance `server.port`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + re.sub(r"[.-]", "_", self.path).upper()


def list_sections() -> Iterator[tuple[str, str, tuple[Key, ...]]]:
    """List the sections in order: name, description, keys."""
    for section, info in Settings.model_fields.items():
        model = info.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):  # pragma: no cover (all are)
            raise TypeError(section)
        if section == "policy":
            yield from _list_policy_sections()
        else:
            yield from _list_nested_sections(section, model)


def list_keys() -> tuple[Key, ...]:
    """List every key."""
    return tuple(key for _, _, keys in list_sections() for key in keys)


def _list_nested_sections(section: str, model: type[BaseModel]) -> Iterator[tuple[str, str, tuple[Key, ...]]]:
    """List a section, and after it the sections within it."""
    yield section, _one_line(model.__doc__), tuple(_keys_of(section, model))
    for name, info in model.model_fields.items():
        if _is_section(info):
            inner = info.annotation
            assert isinstance(inner, type)  # noqa: S101 (for the type checker alone)
            yield from _list_nested_sections(f"{section}.{name}", inner)


def _is_section(info: FieldInfo) -> bool:
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def _list_policy_sections() -> Iterator[tuple[str, str, tuple[Key, ...]]]:
    name = "policy.conditions"
    yield name, _one_line(Conditions.__doc__), tuple(_keys_of(name, Conditions))
    for category, default in DEFAULT_POLICIES.items():
        name = f"policy.{category.value}"
        yield name, CATEGORY_DESCRIPTIONS[category], tuple(_keys_of(name, CategoryPolicy, default))


def _keys_of(section: str, model: type[BaseModel], instance: BaseModel | None = None) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        if _is_section(info):
            continue
        default = getattr(instance, name) if instance is not None else info.default
        yield Key(
            section=section,
            name=name,
            description=_one_line(info.description),
            default=None if info.default_factory or default is None else to_toml(default),
            kind=_kind_of(info),
        )


def to_toml(value: Any) -> str:
    """Write a value as TOML."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (tuple, list, frozenset)):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    # A JSON string is a TOML basic string, for everything that JSON escapes is escaped the same way there.
    return json.dumps(str(value), ensure_ascii=False)


_KINDS: Final = (
    ("bool", "true or false"),
    ("tuple", "list"),
    ("Path", "path"),
    ("SecretStr", "text, secret"),
    ("float", "number"),
    ("int", "whole number"),
)


def _kind_of(info: FieldInfo) -> str:
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(f"`{item.value}`" for item in annotation)
    written = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if written.startswith("typing.Literal"):
        return "one of " + ", ".join(f"`{item}`" for item in getattr(annotation, "__args__", ()))
    return next((kind for mark, kind in _KINDS if mark in written), "text")


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
