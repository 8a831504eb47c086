"""The tasks of `responsa up` other than starting parts."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from responsa_server.app.settings import load
from responsa_server.cli.local import up
from responsa_server.embedded.layout import Layout


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


@pytest.mark.parametrize("most", ["", "7"])
def test_envoy_limits_the_connections_of_an_address_as_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    if most:
        monkeypatch.setenv("RESPONSA_LIMITS__ADDRESS__CONNECTIONS", most)
    else:
        monkeypatch.delenv("RESPONSA_LIMITS__ADDRESS__CONNECTIONS", raising=False)
    layout = Layout.of(tmp_path)
    up._configure_envoy(load(home=tmp_path), layout)  # pyright: ignore[reportPrivateUsage]  # a whole start takes a minute
    (listener,) = json.loads(layout.envoy_config.read_text())["static_resources"]["listeners"]
    first = listener["filter_chains"][0]["filters"][0]
    assert first["typed_config"]["config"]["configuration"]["value"] == (most or "500")
