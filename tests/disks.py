"""Small disks of their own, for tests that leave no room. Only root may mount them."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Generator[None]:
    """Let a folder be a disk in memory during the block. size: as tmpfs(5) has it, such as "4m". options: of the mount."""
    chosen = ",".join((f"size={size}", *options))
    subprocess.run(["mount", "-t", "tmpfs", "-o", chosen, "small", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
