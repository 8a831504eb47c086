"""The check of the syntax of Cairo code: the process, with a stand-in for the program; and the program itself, where it has been built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from responsa_server.domain.code import SyntaxFault
from responsa_server.tools.cairo_check import CairoCheck
from responsa_server.tools.confining import user_of

STAND_IN = Path(__file__).with_name("checker.sh")
BUILT = Path(__file__).parents[3] / "tools" / "cairo-check" / "target" / "release" / "cairo-check"


async def test_the_program_is_confined_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH_OF_SERVER", "secret")
    user = user_of("cairo") if os.geteuid() == 0 else os.geteuid()
    assert await CairoCheck(STAND_IN).faults("cairo", "code\n") == [SyntaxFault(1, f"cannot, {user}, ")]
    assert await CairoCheck(STAND_IN).faults("toml", "code\n") is None
    assert await CairoCheck(STAND_IN).faults("cairo", "broken\n") is None
    assert await CairoCheck(STAND_IN).faults("cairo", "floods\n") is None
    assert await CairoCheck(STAND_IN.with_name("missing")).faults("cairo", "code\n") is None
    assert await CairoCheck(STAND_IN, seconds=0.05).faults("cairo", "hang\n") is None


@pytest.mark.soak
@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("fn main() -> felt252 {\n    let a = 1;\n    a\n}", []),
        ("let a = 1;\nassert!(a == 1, \"no\");", []),
        ("#[starknet::interface]\npub trait IOwner<T> {\n    fn owner(self: @T) -> felt252;\n}", []),
        ("fn main() {\n    let a = ;\n}", [2]),
        ("fn main() {\n    a(", [2]),
        ("", []),
    ],
)  # fmt: skip
async def test_the_built_program_finds_errors(code: str, lines: list[int]) -> None:
    assert BUILT.exists(), "`make cairo-check` builds the program"
    faults = await CairoCheck(BUILT).faults("cairo", code)
    assert faults is not None
    assert sorted({one.line for one in faults}) == lines


@pytest.mark.soak
async def test_the_built_program_survives_deep_code() -> None:
    assert await CairoCheck(BUILT).faults("cairo", "fn f() { " + "(" * 60_000) in (None, [])
