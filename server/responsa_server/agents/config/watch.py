"""Watches the folders of agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
import watchfiles
from structlog.typing import FilteringBoundLogger

_DEBOUNCE_MS: Final = 50
_STEP_MS: Final = 10


class Watch:
    """Calls `changed` a moment after something changes in the folders. `start`, then `close`."""

    def __init__(self, folders: Sequence[Path], changed: Callable[[], None]) -> None:
        self._folders = folders
        self._changed = changed
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log: FilteringBoundLogger = structlog.get_logger("agents")

    def start(self) -> None:
        """Begin to watch. Returns at once."""
        self._task = asyncio.create_task(self._watch(), name="agents-watch")

    async def close(self) -> None:
        """Stop."""
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _watch(self) -> None:
        try:
            changes = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]  # an event of trio, which is not installed
                *self._folders,
                # Whatever it is: looking costs little, and links into other folders change under other names.
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                recursive=True,
            )
            # What has changed before the watching began.
            self._changed()
            async for _ in changes:
                self._changed()
        except (OSError, RuntimeError) as error:
            # E.g. no more inotify watches: agents are still reloaded when asked to.
            self._log.warning(
                "agents_not_watched",
                error=str(error),
                remedy="reload by `responsa agents reload`; see that the folders can be read, and that fs.inotify.max_user_watches is high enough",
            )
