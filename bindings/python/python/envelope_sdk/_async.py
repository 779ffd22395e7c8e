"""From work on the threads of the library to what asyncio awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from . import _envelope_sdk as native

T = TypeVar("T")
Done = Callable[[Any, "BaseException | None"], None]

__all__ = ["awaited"]


async def awaited(begin: Callable[[Done], native.Task]) -> Any:
    """Begins work and awaits its end. When this is cancelled, the work is too."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def done(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop was closed: nobody awaits it any more.
            pass

    task = begin(done)
    try:
        return await future
    finally:
        # What has ended already does not mind.
        task.cancel()
