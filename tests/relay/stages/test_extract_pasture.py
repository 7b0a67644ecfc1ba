"""The published interoperability samples of the fediverse pasture, which we did not write.

Source: the package `fediverse-pasture-inputs` (MIT).
"""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from relay.stages.extract import extract, parse_activity
from tests.relay.stages import samples

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_samples() -> dict[str, list[dict]]:
    """Read the samples; they name one type of a test runner that is not needed to read them."""
    stand_in = ModuleType("fediverse_pasture.runner.entry")
    stand_in.Entry = object  # type: ignore[attr-defined] # a module made on the spot
    names = ["fediverse_pasture", "fediverse_pasture.runner", "fediverse_pasture.runner.entry"]
    modules = dict(zip(names, [ModuleType(names[0]), ModuleType(names[1]), stand_in], strict=True))
    missing = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(missing)
    try:
        available = pytest.importorskip("fediverse_pasture_inputs").available
    finally:
        for name in missing:
            del sys.modules[name]
    return {name: data.examples for name, data in available.items()}


PASTURE = read_samples()


def addresses(value: object, *, inside: bool = False) -> Iterator[str]:
    """List every address that stands as url or href in an attachment, image or icon."""
    if isinstance(value, list):
        for item in value:
            yield from addresses(item, inside=inside)
    elif isinstance(value, dict):
        for key, item in value.items():
            # One sample attaches a bank account (`payto:`), which is nothing that anybody could fetch.
            if (
                inside
                and key in {"url", "href"}
                and isinstance(item, str)
                and item[:5] in {"http:", "https", "data:"}
            ):
                yield item
            yield from addresses(item, inside=inside or key in {"attachment", "image", "icon"})


@pytest.mark.parametrize("name", sorted(PASTURE))
def test_every_sample_is_read_and_every_attachment_in_it_is_found(name: str) -> None:
    assert PASTURE[name]
    for example in PASTURE[name]:
        document = parse_activity(json.dumps(samples.create(example)).encode())
        found = {reference.url for reference in extract(document).references}
        assert set(addresses(example)) <= found


def test_the_samples_do_contain_attachments() -> None:
    assert sum(len(set(addresses(example))) for examples in PASTURE.values() for example in examples) > 20
