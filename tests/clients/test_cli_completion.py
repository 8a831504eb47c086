"""What the shells suggest for a command that is being typed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.clients.command_line import CommandLine
from tests.clients.scripted import KEY


async def suggested(responsa: CommandLine, line: str, shell: str = "bash", key: str = KEY) -> list[str]:
    """The lines that the command prints for the shell's script. The last word of the line is incomplete."""
    done = await responsa(
        _RESPONSA_COMPLETE=f"complete_{shell}",
        COMP_WORDS="\n".join(line.split(" ")),
        COMP_CWORD=str(line.count(" ")),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        RESPONSA_API_KEY=key,
    )
    assert (done.code, done.err) == (0, "")
    return [one for one in done.out.splitlines() if one]


async def test_commands_options_and_names(responsa: CommandLine) -> None:
    assert await suggested(responsa, "responsa ch") == ["chat"]
    assert await suggested(responsa, "responsa ask --c") == [
        "--conversation",
        "--collection",
        "--cancel-on-disconnect",
    ]
    # zsh would drop an apostrophe of a help text, and evaluates what stands between two.
    (agents,) = await suggested(responsa, "responsa agents l", "zsh")
    assert agents == """_arguments '*: :(("list":"List the server’s agents."))\'"""


async def test_methods_fields_and_values(responsa: CommandLine) -> None:
    assert await suggested(responsa, "responsa call AdminService.EraseT") == ["AdminService.EraseTenant"]
    update = "responsa call AdminService.UpdateUser"
    assert await suggested(responsa, f"{update} --r") == ["--role"]
    assert await suggested(responsa, f"{update} --email x --role ") == ["user", "admin", "service"]
    assert await suggested(responsa, "responsa call AdminService.UpdateUserQuota --tokens-per-day.") == [
        "--tokens-per-day.at-most",
        "--tokens-per-day.unlimited",
    ]


async def test_the_script_for_bash(responsa: CommandLine, tmp_path: Path) -> None:
    script = """
        eval "$(responsa --show-completion)"
        COMP_WORDS=(responsa coll) COMP_CWORD=1
        _responsa_completion responsa
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        "bash",
        "--norc",
        "-c",
        script,
        cwd=tmp_path,
        env=responsa.environment(PATH=programs),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert await process.communicate() == (b"collections\n", b"")
