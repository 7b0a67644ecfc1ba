"""Keep what listed videos look like: the hashes of their frames, by the names under which lists hold them.

A list holds the name of a video as it holds a hash, of the kind `vpdq`, so that videos come, go and are
withdrawn as hashes do. What no list holds any more is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from db.pool import Connection

KIND: Final = "vpdq"
FRAME_BYTES: Final = 32

# Of some dozen kB each: a few MiB travel at a time.
_AT_ONCE: Final = 100

_PUT: Final = """-- put_list_videos
INSERT INTO list_videos (list_id, video, frames)
SELECT $1, n.video, n.frames FROM unnest($2::bytea[], $3::bytea[]) AS n (video, frames)
ON CONFLICT (list_id, video) DO NOTHING
"""


async def put_videos(conn: Connection, list_id: int, videos: Mapping[bytes, bytes]) -> None:
    """Keep the frames of videos by their names, in the transaction that lists these.

    Those that are kept already stay as they are: the name is a digest of the frames.
    """
    names = sorted(videos)
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        await conn.execute(_PUT, list_id, part, [videos[name] for name in part])


# A record may hold a video that is not in the list itself yet.
_PRUNE: Final = """-- prune_list_videos
DELETE FROM list_videos AS v
WHERE v.list_id = $1
AND NOT EXISTS (
    SELECT FROM hash_blocks AS b, generate_series(0, length(b.hash_values) / 32 - 1) AS place
    WHERE b.list_id = $1 AND b.kind = 'vpdq'
    AND substring(b.hash_values FROM place * 32 + 1 FOR 32) = v.video
)
AND NOT EXISTS (
    SELECT FROM list_holdings AS h
    WHERE h.list_id = $1 AND h.kind = 'vpdq' AND h.hash_value = v.video
)
"""


async def prune_videos(conn: Connection, list_id: int) -> None:
    """Drop the frames of videos that are not listed any more."""
    await conn.execute(_PRUNE, list_id)


_COUNT_FRAMES: Final = """-- count_list_video_frames
SELECT coalesce(sum(length(v.frames)), 0) / 32 FROM list_videos AS v WHERE v.list_id = $1
"""


async def count_frames(conn: Connection, list_id: int) -> int:
    """Count the frames that are kept for a list."""
    return int(await conn.fetchval(_COUNT_FRAMES, list_id))


_READ: Final = """-- read_list_videos
SELECT v.video, v.frames FROM list_videos AS v WHERE v.list_id = $1 AND v.video = ANY ($2::bytea[])
"""


async def read_videos(
    conn: Connection, list_id: int, names: Sequence[bytes]
) -> AsyncIterator[tuple[bytes, bytes]]:
    """Go through the videos of these names: name, and the hashes of the frames, concatenated."""
    for start in range(0, len(names), _AT_ONCE):
        for row in await conn.fetch(_READ, list_id, list(names[start : start + _AT_ONCE])):
            yield row["video"], row["frames"]
