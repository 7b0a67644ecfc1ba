"""A process that holds an embedded PostgreSQL until its standard input ends: what the tests kill."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from db.embedded import open_postgres


async def main(data_dir: Path) -> None:
    async with open_postgres(data_dir) as dsn:
        print(dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
