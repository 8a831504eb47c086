"""The two clients: the blocking client is generated from the asyncio client."""

from __future__ import annotations

import inspect
import subprocess
import sys

from responsa_client import AsyncResponsa, AsyncTurnStream, Responsa, TurnStream
from tests.instance import ROOT


def test_the_blocking_client_is_fresh() -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "blocking_client.py", "--check"], check=True)


def test_both_take_the_same_arguments() -> None:
    for one, other in ((AsyncResponsa, Responsa), (AsyncTurnStream, TurnStream)):
        names = [name for name in dir(one) if not name.startswith("_") and callable(getattr(one, name))]
        assert names == [
            name for name in dir(other) if not name.startswith("_") and callable(getattr(other, name))
        ]
        for name in names:
            ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (one, other))
            assert list(ours.parameters.values()) == list(theirs.parameters.values()), name


def test_the_blocking_client_awaits_nothing() -> None:
    for path in (ROOT / "clients" / "python" / "responsa_client" / "blocking").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import asyncio" not in text, path
        assert "await " not in text, path
        assert "async def" not in text, path
