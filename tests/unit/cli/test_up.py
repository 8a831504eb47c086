"""The tasks of `responsa up` other than starting parts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from responsa_server.cli.local import up


def test_own_documents_that_nobody_takes_do_not_hold_up_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide, key = tmp_path / "guide.md", tmp_path / "api-key"
    guide.write_text("# Guide\n\nIt begins here.\n")
    key.write_text("rsp_" + "k" * 43)
    monkeypatch.setattr(up, "DOCS_SECONDS", 0.05)  # shorter than an interpreter's start
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        variables = {
            **os.environ,
            "RESPONSA_URL": f"http://127.0.0.1:{port}",
            "RESPONSA_API_KEY_FILE": str(key),
        }
        assert up._ingest([guide], variables) == "it took longer than 0.05 seconds"  # pyright: ignore[reportPrivateUsage]
