"""What the commands on hash lists share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config import csam_handling_problems
from relay.errors import BreakwaterError

if TYPE_CHECKING:
    from relay.config import Settings
    from scanner.labels import Category


class ListRefusedError(BreakwaterError):
    """A list was not imported, or is not there."""


def require_answers(settings: Settings, category: Category) -> None:
    """Refuse lists of child abuse material until the admin has said under which law they are used.

    Raises:
        ListRefusedError: Something is still to be answered.
    """
    if not category.value.startswith("csam-"):
        return
    problems = csam_handling_problems(settings)
    if problems:
        questions = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise ListRefusedError(
            "Lists of child abuse material cannot be used yet, because laws differ on what must be kept, "
            f"deleted and reported. Nothing was imported. Answer first, in the section [legal]:\n{questions}"
        )


def unknown_list(name: str) -> ListRefusedError:
    """Say that there is no such list."""
    return ListRefusedError(f"There is no list {name!r}. `breakwater lists list --all` shows all there are.")
