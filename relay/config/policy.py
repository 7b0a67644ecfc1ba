"""The policy table: what is done about each category and about each way of not knowing.

The defaults are the strictest handling that breaks nothing. An admin may loosen them; `loosened_policies`
then says so at every start.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import model_validator

from relay.config.sections import Section
from relay.model import MediaDecision
from scanner.labels import Category


class DeliveryHandling(StrEnum):
    """What is done with the delivery that carried a match."""

    FORWARD = "forward"
    DROP = "drop"


class Retention(StrEnum):
    """What is kept of the bytes that matched."""

    NONE = "none"
    UNTIL_RULED = "until_ruled"


class BackendAction(StrEnum):
    """What is done on the backend about what it has already stored."""

    NONE = "none"
    REPORT = "report"
    REMOVE = "remove"


class CategoryPolicy(Section):
    """What is done about one category."""

    media: MediaDecision = MediaDecision.WITHHOLD
    """`release`, `withhold` (a person decides) or `block` (for good). A near match, a model's or a peer's
    word never does more than withhold."""
    delivery: DeliveryHandling = DeliveryHandling.FORWARD
    """`forward` the text without the media, or `drop` the whole delivery. Only for exact matches."""
    retain: Retention = Retention.UNTIL_RULED
    """`until_ruled` keeps the bytes encrypted until a ruling or until `hold.withheld_hours` are over; `none`
    purges them at once."""
    act: BackendAction = BackendAction.NONE
    """What is done on the backend, with the token that you gave it: nothing (`none`), `report` to your own
    moderators, or `remove` what it has stored. Only for exact matches and for what a person has upheld, never
    on a near match, a model's or a peer's word."""


_WITHHOLD: Final = CategoryPolicy()
_BLOCK: Final = CategoryPolicy(media=MediaDecision.BLOCK)

DEFAULT_POLICIES: Final[Mapping[Category, CategoryPolicy]] = {
    **dict.fromkeys(Category, _WITHHOLD),
    Category.CSAM_KNOWN: CategoryPolicy(
        media=MediaDecision.BLOCK, delivery=DeliveryHandling.DROP, retain=Retention.NONE
    ),
    Category.NCII_KNOWN: _BLOCK,
    Category.ADULT_CONTENT: CategoryPolicy(media=MediaDecision.RELEASE),
}
"""A category without an entry of its own is withheld. Lawful adult content is labelled and released."""

_CATEGORY_NAMES: Final = frozenset(category.value for category in Category)


class Conditions(Section):
    """What is done with media that nobody could look at: `release`, `withhold` or `block`."""

    unscannable: MediaDecision = MediaDecision.WITHHOLD
    """The bytes could not be decoded, or are of a kind that is not examined."""
    unreachable: MediaDecision = MediaDecision.WITHHOLD
    """Declared media could not be fetched."""
    link_unreachable: MediaDecision = MediaDecision.WITHHOLD
    """A plain link that nothing declares to be media could not be fetched, so that it may be media after
    all. Many news sites refuse every program: `release` lets posts with such links pass, and is reasonable
    where a door of its own guards what the backend fetches for link previews."""
    detector_down: MediaDecision = MediaDecision.WITHHOLD
    """A detector that has to look could not."""


class Policy(Section):
    """What is done about what was found: one table a category, and one for what nobody could look at."""

    conditions: Conditions = Conditions()
    """What is done with media that nobody could look at."""
    categories: Mapping[Category, CategoryPolicy] = DEFAULT_POLICIES
    """One entry for every category."""

    @model_validator(mode="before")
    @classmethod
    def _gather_categories(cls, data: object) -> object:
        """Gather the tables named after categories; what they leave out keeps that category's own default."""
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if name in _CATEGORY_NAMES}
        rest = {name: value for name, value in data.items() if name not in _CATEGORY_NAMES}
        table: dict[str, object] = {}
        for category, default in DEFAULT_POLICIES.items():
            value = given.get(category.value, {})
            table[category.value] = {**default.model_dump(), **value} if isinstance(value, dict) else value
        return {"categories": table, **rest}
