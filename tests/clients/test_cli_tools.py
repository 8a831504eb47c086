"""`responsa tools`: requests, output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.command_line import CommandLine
from tests.clients.scripted import Scripted


async def test_declarations_are_checked_without_a_server(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    await server.stop()
    folder = tmp_path / "home" / "tools"
    folder.mkdir(parents=True)
    (folder / "berlin.toml").write_text('kind = "knowledge_search"\ntitel = "Berlin"\n')
    line = "berlin.toml: titel: the kind knowledge_search has no key “titel”. Did you mean “title”?"
    for named in ((), (str(folder),)):
        done = await responsa("tools", "check", *named, RESPONSA_API_KEY="")
        assert done.code == 2
        assert line in done.out.splitlines()
        assert "knowledge_search: ok" in done.out.splitlines()
    done = await responsa("tools", "check", "--json")
    assert [json.loads(one)["key"] for one in done.out.splitlines()] == ["titel"]
    assert done.err == ""
    done = await responsa("agents", "check", "chat", RESPONSA_API_KEY="")
    assert done.out == "chat: ok\n"
    (folder / "berlin.toml").write_text('kind = "knowledge_search"\ntitle = "Berlin"\n')
    done = await responsa("tools", "check", "--json")
    assert (done.code, done.out) == (0, "")
    done = await responsa("tools", "check", str(folder / "none"))
    assert (done.code, done.out) == (2, "")
    assert "is not a folder" in done.err
