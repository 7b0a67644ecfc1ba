"""The simulated fediverse: who posts, who gets it and when, and what went before.

Sizes follow the degrees of a scale-free graph: ten of a thousand instances write a fifth of all posts.
A post's reach is heavy-tailed: most go to a handful of instances, a few to all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# New links per instance; gives the degrees of 1,000 instances a spread from 8 to some 130.
_LINKS: Final = 8
# What makes a big instance write more than its share of links, and be sent more.
_WRITES: Final = 1.6
_READS: Final = 0.8

# Seconds until an instance has a post: the median, and the spread of its logarithm.
_MEDIAN_S: Final = 3.0
_SPREAD: Final = 1.2
_SOONEST_S: Final = 0.2
_LATEST_S: Final = 60.0

# Of all instances, the biggest ones scan at once what nobody they rely on has looked at.
_HUBS: Final = 0.02

# Liars that hardly ever write would hardly ever lie.
_LIARS_WRITE: Final = 0.95


class Kind(Enum):
    """How an instance behaves."""

    HONEST = "honest"
    RANDOM = "random liar"
    SLEEPER = "sleeper"
    LAZY = "lazy signer"
    SELECTIVE = "selective liar"
    SYBIL = "Sybil cluster"


LIARS: Final = tuple(kind for kind in Kind if kind is not Kind.HONEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Who is there.

    Attributes:
        writes: The share of all posts that each instance writes; float [N], sums to 1.
        reads: How likely each is to be among the readers; float [N], sums to 1.
        adopts: Who runs a relay; bool [N].
        is_hub: Who scans without waiting; bool [N].
        kinds: How each behaves.
    """

    writes: NDArray[np.float64]
    reads: NDArray[np.float64]
    adopts: NDArray[np.bool_]
    is_hub: NDArray[np.bool_]
    kinds: tuple[Kind, ...]

    @property
    def size(self) -> int:
        """How many instances there are."""
        return len(self.kinds)


def build_world(size: int, *, adoption: float, liars: float, seed: int) -> World:
    """Build a world; its liars are none of the biggest, and write as much as the busiest twentieth does."""
    rng = np.random.default_rng(seed)
    graph = nx.barabasi_albert_graph(size, _LINKS, seed=seed)
    degree = np.array([count for _, count in graph.degree()], dtype=np.float64)
    writes, reads = degree**_WRITES, degree**_READS
    by_size = np.argsort(-degree)
    is_hub = np.zeros(size, dtype=np.bool_)
    is_hub[by_size[: max(3, round(size * _HUBS))]] = True
    kinds = [Kind.HONEST] * size
    chosen = rng.choice(by_size[size // 5 :], round(size * liars), replace=False)
    for turn, index in enumerate(chosen):
        kinds[int(index)] = LIARS[turn % len(LIARS)]
        writes[int(index)] = np.quantile(writes, _LIARS_WRITE)
    adopts = rng.random(size) < adoption
    adopts[[index for index, kind in enumerate(kinds) if kind is not Kind.HONEST]] = True
    return World(
        writes=writes / writes.sum(),
        reads=reads / reads.sum(),
        adopts=adopts,
        is_hub=is_hub,
        kinds=tuple(kinds),
    )


def draw_reaches(count: int, *, size: int, planted: tuple[int, ...], rng: np.random.Generator) -> list[int]:
    """Draw how many instances each post reaches; a hundred of each planted reach are spread among them."""
    drawn = np.minimum(1.0 / (1.0 - rng.random(count)), size - 1).astype(int)
    places = rng.choice(count, 100 * len(planted), replace=False)
    for turn, place in enumerate(places):
        drawn[place] = min(planted[turn % len(planted)], size - 1)
    return [int(reach) for reach in drawn]


def draw_readers(world: World, origin: int, reach: int, rng: np.random.Generator) -> list[tuple[float, int]]:
    """Draw who gets a post, and how many seconds after it was written."""
    if reach >= world.size - 1:
        chosen = np.delete(np.arange(world.size), origin)
    else:
        # The largest of Gumbel noise plus log-weights: a weighted draw without replacement.
        keys = np.log(world.reads) - np.log(-np.log(rng.random(world.size)))
        keys[origin] = -np.inf
        chosen = np.argpartition(-keys, reach - 1)[:reach]
    times = np.clip(np.exp(rng.normal(math.log(_MEDIAN_S), _SPREAD, reach)), _SOONEST_S, _LATEST_S)
    return [(float(time), int(reader)) for time, reader in zip(times, chosen, strict=True)]
