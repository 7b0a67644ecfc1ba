"""Unknown pictures: the built-in classifier and the administrator's own.

Whether what they find decides is the settings' word, not the model's; by default it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.classifier_directory import open_directory_detector
from scanner.detector import Builder, Detector
from scanner.embedded_classifier import open_embedded_detector
from scanner.errors import MalformedError
from scanner.settings import CLASSIFIERS

if TYPE_CHECKING:
    from scanner.hashlist import HashList
    from scanner.settings import ScannerSettings

NAME: Final = CLASSIFIERS


def _build(settings: ScannerSettings, _lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    """Load every classifier that is switched on.

    Raises:
        MalformedError: What is wrong with a model's directory and how to mend it.
    """
    loaded = [
        open_directory_detector(folder, cache_dir=settings.text_cache) for folder in settings.classifier_dirs
    ]
    if settings.embedded_classifier:
        loaded.insert(0, open_embedded_detector())
    names = [one.name for one in loaded]
    if len(set(names)) != len(names):
        raise MalformedError(
            "two classifiers have the same name, so that their findings could not be told apart; change "
            "`name` in the calibration.json of one of them"
        )
    for one in loaded:
        one.advisory = NAME in settings.advisory or one.name in settings.advisory
    return tuple(loaded)


BUILDER: Final = Builder(name=NAME, uses_lists=False, build=_build)
