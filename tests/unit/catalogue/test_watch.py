"""Watched folders, and folders that cannot be watched."""

from __future__ import annotations

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from responsa_server.agents.config.files import Watch


async def test_changes_at_any_depth_are_told_and_what_came_before(tmp_path: Path) -> None:
    changed = asyncio.Event()
    watch = Watch([tmp_path], changed.set)
    watch.start()
    try:
        async with asyncio.timeout(20):
            await changed.wait()  # `changed` is also called when the watch begins
            changed.clear()
            (tmp_path / "own" / "prompts").mkdir(parents=True)
            await changed.wait()
            changed.clear()
            (tmp_path / "own" / "prompts" / "a.md").write_text("x")
            await changed.wait()
    finally:
        await watch.close()


async def test_folders_that_cannot_be_watched_are_told(tmp_path: Path) -> None:
    with capture_logs() as logs:
        watch = Watch([tmp_path / "nowhere"], lambda: None)
        watch.start()
        await watch.close()
    assert [(log["event"], log["log_level"]) for log in logs] == [("agents_not_watched", "warning")]
    assert "responsa agents reload" in logs[0]["remedy"]


async def test_no_folder_at_all_is_nothing_to_watch() -> None:
    watch = Watch([], lambda: None)
    watch.start()
    await watch.close()
