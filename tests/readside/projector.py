"""A projector in a separate process: ``python -m tests.readside.projector <dsn> [<projection to rebuild>]``."""

from __future__ import annotations

import asyncio
import sys

from tests.readside.projecting import administering, projecting


async def main(dsn: str, *rebuilds: str) -> None:
    async with projecting(dsn), administering(dsn) as admin:
        for name in rebuilds:
            await admin.rebuild(name)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
