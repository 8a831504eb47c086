"""Attacks by a parser that a document has taken over. All attack the same sandbox, which must still parse good
documents after each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.ingest.settings import IngestionSettings
from tests.security.sandboxed import HERE, LIMITS, needs_landlock, needs_seccomp, zygotes

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHORT = replace(IngestionSettings().parse_limits, cpu_seconds=2, wall_seconds=0.5)

REFUSED = [
    "tcp",
    "udp",
    "unix",
    "socketpair",
    "fork",
    "vfork",
    "exec",
    "kill_parent",
    "setuid",
    "memfd",
    "outlive",
    "io_uring",
    "raise_limit",
    "own",
    "own_anew",
    "choose_signal",
    "lease",
    "notify",
    "asynchronous",
    "socket_owner",
    "unknown_call",
    "still_root",
]
UNREADABLE = ["passwd", "environ", "listing", "write", "remove"]
BROKEN = ["abort", "segfault", "exit_quietly", "exit_loudly", "claim_lack", "garbage", "liar", "bug"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile() -> AsyncIterator[ParserPool]:
    pool = ParserPool(concurrency=2, limits=LIMITS, formats="hostile_parsers:FORMATS", import_paths=[HERE])
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def left_alone() -> bool:
    """Check that neither attack on files succeeded."""
    return (HERE / "hostile_parsers.py").exists() and not Path("/tmp/responsa-sandbox-escape").exists()


async def rejected(pool: ParserPool, deed: str, limits: ParseLimits | None = None) -> Rejected:
    """The error of an attack. Also checks that no process of the attack is left afterwards, and that a good document is parsed."""
    with pytest.raises(Rejected) as caught:
        await pool.parse(deed.encode(), "deed.txt", limits=limits)
    (zygote,) = zygotes()
    assert zygote.children(recursive=True) == []
    assert (await pool.parse(b"A good document.", "good.txt")).canonical_text == "A good document."
    assert caught.value.message.endswith(".")
    assert "/root" not in str(caught.value)
    return caught.value


@needs_seccomp
@pytest.mark.parametrize("deed", REFUSED)
async def test_network_processes_and_privileges_are_refused(hostile: ParserPool, deed: str) -> None:
    error = await rejected(hostile, deed)
    if deed == "raise_limit":
        # Python turns the error EPERM of setrlimit into a ValueError.
        assert error.reason is Cause.MALFORMED
    else:
        assert error.reason is Cause.PARSER_LIMIT
        assert "access" in error.message


@needs_landlock
@pytest.mark.parametrize("deed", UNREADABLE)
async def test_files_are_out_of_reach(hostile: ParserPool, deed: str) -> None:
    error = await rejected(hostile, deed)
    assert error.reason is Cause.PARSER_LIMIT
    assert "access" in error.message
    assert left_alone()


@pytest.mark.parametrize("deed", ["memory", "mapped"])
async def test_two_gibibytes_are_not_given(hostile: ParserPool, deed: str) -> None:
    assert (await rejected(hostile, deed)).reason in (Cause.PARSER_LIMIT, Cause.MALFORMED)


@pytest.mark.parametrize(
    ("deed", "limits"), [("sleep", SHORT), ("spin", LIMITS), ("spin", SHORT), ("recursion", LIMITS)]
)
async def test_time_and_depth_are_bounded(hostile: ParserPool, deed: str, limits: ParseLimits) -> None:
    assert (await rejected(hostile, deed, limits)).reason is Cause.PARSER_LIMIT


@pytest.mark.parametrize("deed", BROKEN)
async def test_a_broken_parser_is_a_malformed_document(hostile: ParserPool, deed: str) -> None:
    assert (await rejected(hostile, deed)).reason is Cause.MALFORMED


async def test_a_flood_of_output_is_cut_off(hostile: ParserPool) -> None:
    error = await rejected(hostile, "flood")
    assert error.reason is Cause.PARSER_LIMIT
    assert "expands" in error.message


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("deed", ["segfault", "abort", "spin", "exit_loudly", "bug", "passwd", "tcp"])
async def test_a_computation_ends_alone_and_keeps_what_it_has_written(hostile: ParserPool, deed: str) -> None:
    limits = replace(LIMITS, cpu_seconds=1)
    written, failure = await hostile.compute(
        "hostile_parsers:COMPUTATION", f"good {deed} good".encode(), limits
    )
    assert (written, failure is None) == (b"good\n", False)
    (zygote,) = zygotes()
    assert zygote.children(recursive=True) == []
    assert await hostile.compute("hostile_parsers:COMPUTATION", b"good", LIMITS) == (b"good\n", None)
