"""What `responsa replicas` refuses, and with which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa_local.embedded import LocalLayout
from responsa_server.cli.main import main


def test_wrong_replicas_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESPONSA_HOME", str(LocalLayout.of(tmp_path / "home").prepare().home))

    def refused(*arguments: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as ended:
            main(["replicas", *arguments])
        return ended.value.code, capsys.readouterr().err

    assert refused("add", "rpc-2", "unix:/run/a.sock") == (0, "")
    for arguments, code, message in (
        (("add", "rpc-2", "10.0.0.5:9001"), 1, "there is already a replica rpc-2"),
        (("add", "other", "unix:/run/a.sock"), 1, "address of the replica rpc-2"),
        (("add", "other", "replica.example:9001"), 2, "not an IP address"),
        (("add", "up-2", "10.0.0.5:9001"), 2, "reserved for the servers of `responsa up`"),
        (("remove", "other"), 1, "there is no replica other"),
    ):
        found, said = refused(*arguments)
        assert (found, message in said) == (code, True), said
