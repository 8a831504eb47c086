from __future__ import annotations

import pytest
import typer

from responsa_server.cli import ingest


def test_the_engine_ray_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ingest, "find_spec", lambda name: None)
    with pytest.raises(typer.Exit) as exited:
        ingest.ingest_paths(["notes"], engine=ingest.Engine.RAY)
    assert exited.value.exit_code == 2
    said = capsys.readouterr().err
    assert "pip install 'responsa[ray]'" in said
    assert said.count("\n") == 1
