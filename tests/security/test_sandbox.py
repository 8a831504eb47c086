"""Whatever a parsing process does, the caller gets a typed error, the process ends, and the next document is parsed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from responsa_formats.parsers.sniff import CHARSETS
from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Cause, ParserUnavailable, Rejected
from responsa_formats.sandbox.confinement import SandboxCapabilities
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.text.canonical import ParsedDocument
from responsa_server.ingest.settings import IngestionSettings
from tests.contract.library_harness import pieces_of
from tests.security.sandboxed import HERE, LIMITS, needs_landlock, needs_seccomp, rejecting, zygotes

NOBODY = 65534
USUAL = IngestionSettings().parse_limits
PAGE = IngestionSettings().page_limits

SAME = (
    "plain_user",
    "nested",
    "million",
    "lexbor",
    "time_and_depth",
    "broken_parser",
    "flood",
    "concurrency",
    "descriptors",
    "table_that_cannot_be_loaded",
    "keep_their_type",
    "capabilities_are_said",
)
"""Parts of the names of tests that do not depend on the user of the parser. These tests check resource limits, which apply to all users, or
they do not depend on a refused access.
"""


@pytest.fixture
async def hostile() -> AsyncIterator[ParserPool]:
    pool = ParserPool(concurrency=2, limits=LIMITS, formats="hostile_parsers:FORMATS", import_paths=[HERE])
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    pool = ParserPool(concurrency=2, limits=USUAL)
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. The timeout of the test limits the wait."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # there is no event for a change of the kernel's process table
            await asyncio.sleep(0.005)


async def test_stopping_a_zygote_costs_no_document(hostile: ParserPool) -> None:
    first = zygotes()
    first[0].send_signal(signal.SIGKILL)
    assert (await hostile.parse(b"Still here.", "a.txt")).canonical_text == "Still here."
    assert [z.pid for z in zygotes()] != [z.pid for z in first]


async def test_no_process_outlives_its_zygote(hostile: ParserPool) -> None:
    parsing = asyncio.create_task(hostile.parse(b"sleep", "a.txt", limits=replace(USUAL, wall_seconds=1)))
    (zygote,) = zygotes()
    await until(lambda: bool(zygote.children()))
    orphans = zygote.children()
    zygote.send_signal(signal.SIGKILL)
    # A new zygote tries the document again and rejects it.
    with rejecting(Cause.PARSER_LIMIT):
        await parsing
    await until(lambda: not any(orphan.is_running() for orphan in orphans))


async def test_cancelling_kills_the_process_first(hostile: ParserPool) -> None:
    parsing = asyncio.create_task(hostile.parse(b"sleep", "a.txt"))
    (zygote,) = zygotes()
    await until(lambda: bool(zygote.children()))
    parsing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parsing
    assert zygote.children() == []


async def test_closing_ends_everything(hostile: ParserPool) -> None:
    parsing = asyncio.create_task(hostile.parse(b"sleep", "a.txt"))
    (zygote,) = zygotes()
    await until(lambda: bool(zygote.children()))
    children = zygote.children()
    await hostile.close()
    with pytest.raises(ParserUnavailable):
        await parsing
    assert zygotes() == []
    await until(lambda: not any(child.is_running() for child in children))
    with pytest.raises(ParserUnavailable):
        await hostile.parse(b"x", "a.txt")
    await hostile.close()


async def test_concurrency_is_bounded() -> None:
    pool = ParserPool(concurrency=2, limits=LIMITS, formats="hostile_parsers:FORMATS", import_paths=[HERE])
    await pool.start()
    try:
        tasks = [asyncio.create_task(pool.parse(b"sleep", "a.txt")) for _ in range(5)]
        (zygote,) = zygotes()
        await until(lambda: len(zygote.children()) == 2)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(e, asyncio.CancelledError)
            for e in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert zygote.children() == []
    finally:
        await pool.close()


async def test_descriptors_do_not_leak(hostile: ParserPool) -> None:
    await hostile.parse(b"warm", "a.txt")
    before = psutil.Process().num_fds()
    for deed in (b"good", b"abort", b"garbage"):
        await asyncio.gather(*(hostile.parse(deed, "a.txt") for _ in range(5)), return_exceptions=True)
    # What an earlier test has left may be closed meanwhile.
    assert psutil.Process().num_fds() <= before


async def test_threads_are_refused(hostile: ParserPool) -> None:
    # RLIMIT_NPROC refuses new threads. It applies to every user except root, and no parser runs as root.
    with pytest.raises(Rejected):
        await hostile.parse(b"threads", "a.txt")


async def test_a_table_that_cannot_be_loaded_is_told() -> None:
    pool = ParserPool(concurrency=2, limits=USUAL, formats="no_such_module:FORMATS")
    with pytest.raises(ParserUnavailable, match="no_such_module"):
        await pool.start()
    await pool.close()
    assert zygotes() == []


async def test_a_parsed_document_keeps_its_bytes(pool: ParserPool) -> None:
    data = "# Ünïcode\r\n\r\nText.\r\n".encode()
    parsed = await pool.parse(data, "a.md")
    assert isinstance(parsed, ParsedDocument)
    assert parsed.canonical_text.encode() == data
    assert parsed.title == "Ünïcode"


async def test_rejections_keep_their_type_and_words(pool: ParserPool) -> None:
    with rejecting(Cause.EMPTY):
        await pool.parse(b" \n", "a.md")
    with rejecting(Cause.TYPE_MISMATCH) as caught:
        await pool.parse(b"MZ\x90\x00\x03" + bytes(200), "a.md")
    assert "Windows program" in caught.value.message
    assert ".md" in caught.value.message
    small = replace(USUAL, input_bytes=3)
    with rejecting(Cause.TOO_LARGE):
        await pool.parse(b"abcd", "a.md", limits=small)
    # A packet could not carry this name: it is too long, and it is not valid Unicode.
    assert (await pool.parse(b"x", "\udcff" * 3 + "a" * 5000 + ".md")).canonical_text == "x"


async def test_one_word_many_times(pool: ParserPool) -> None:
    for name in ("a.md", "a.txt", "a.html"):
        document = await pool.parse(b"word " * 200_000, name)
        assert document.canonical_text.split() == ["word"] * 200_000


async def test_hundred_thousand_nested_elements(pool: ParserPool) -> None:
    for tag in (b"<div>", b"<blockquote>", b"<ul><li>"):
        with rejecting(Cause.PARSER_LIMIT):
            await pool.parse(tag * 100_000, "a.html")


async def test_what_lexbor_needs_too_long_for_ends_in_time(pool: ParserPool) -> None:
    attributes = b" ".join(b"a%d" % number for number in range(300_000))
    with rejecting(Cause.PARSER_LIMIT, match="processor time"):
        await pool.parse(b"<p " + attributes + b">x", "a.html", limits=replace(USUAL, cpu_seconds=1))


async def test_the_zygote_has_none_of_the_servers_environment(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_TEST_SECRET", "s3cret")
    await pool.start()
    (zygote,) = zygotes()
    assert "RESPONSA_TEST_SECRET" not in zygote.environ()


async def test_a_killed_server_leaves_no_process() -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SLEEPING_SERVER, str(HERE)),
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        pids = [int(pid) for pid in (await server.stdout.readline()).split()]
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        server.kill()
        await server.communicate()
    await until(lambda: not any(map(_runs, pids)))


_SLEEPING_SERVER = """
import asyncio, pathlib, psutil, sys
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.ingest.settings import IngestionSettings
async def main():
    pool = ParserPool(
        concurrency=2, limits=IngestionSettings().parse_limits, formats="hostile_parsers:FORMATS", import_paths=[pathlib.Path(sys.argv[1])]
    )
    await pool.parse(b"good", "a.txt")  # the zygote has now loaded the format, so it forks once for the next document
    parsing = asyncio.create_task(pool.parse(b"sleep", "a.txt"))
    while len(children := psutil.Process().children(recursive=True)) < 2:
        await asyncio.sleep(0.005)
    print(*(child.pid for child in children), flush=True)
    await parsing
asyncio.run(main())
"""


def _runs(pid: int) -> bool:
    """Whether a process is alive. A process that has ended, but waits for init to reap it, is not alive."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_limits_hold_on_a_kernel_without_landlock_and_seccomp() -> None:
    pool = ParserPool(
        concurrency=2, limits=LIMITS, formats="unconfined_parsers:WITHOUT_BOTH", import_paths=[HERE]
    )
    try:
        for deed in (b"memory", b"spin", b"fork", b"abort", b"garbage"):
            with rejecting(Cause.PARSER_LIMIT, Cause.MALFORMED):
                await pool.parse(deed, "a.txt")
            assert (await pool.parse(b"good", "a.txt")).canonical_text == "good"
    finally:
        await pool.close()


async def test_without_seccomp_no_process_is_forked_either() -> None:
    # RLIMIT_NPROC refuses new processes. It applies to every user except root, and no parser runs as root.
    pool = ParserPool(
        concurrency=2, limits=LIMITS, formats="unconfined_parsers:WITHOUT_SECCOMP", import_paths=[HERE]
    )
    try:
        await pool.start()
        (zygote,) = zygotes()
        with rejecting(Cause.PARSER_LIMIT):
            await pool.parse(b"offspring", "a.txt")
        assert zygote.children(recursive=True) == []
        assert (await pool.parse(b"good", "a.txt")).canonical_text == "good"
    finally:
        await pool.close()


async def test_unconfined_parsing_is_told_at_the_start() -> None:
    with capture_logs() as lines:
        pool = ParserPool(
            concurrency=1,
            limits=USUAL,
            formats="unconfined_parsers:WITHOUT_LANDLOCK",
            import_paths=[HERE],
            allow_unconfined=True,
        )
        try:
            await pool.start()
        finally:
            await pool.close()
    ((level, said),) = [(line["log_level"], line["event"]) for line in lines]
    assert level == "warning"
    assert "this kernel lacks Landlock" in said


@pytest.mark.parametrize("table", ["WITHOUT_BOTH", "WITHOUT_LANDLOCK", "WITHOUT_SECCOMP"])
async def test_nothing_is_parsed_unconfined_unless_that_is_allowed(table: str) -> None:
    pool = ParserPool(
        concurrency=2,
        limits=USUAL,
        formats=f"unconfined_parsers:{table}",
        import_paths=[HERE],
        allow_unconfined=False,
    )
    try:
        await pool.start()
        with pytest.raises(ParserUnavailable, match="this kernel lacks"):
            await pool.parse(b"good", "a.txt")
    finally:
        await pool.close()


@needs_seccomp
@needs_landlock
async def test_a_complete_sandbox_parses_when_nothing_else_is_allowed() -> None:
    pool = ParserPool(concurrency=2, limits=USUAL, allow_unconfined=False)
    try:
        assert (await pool.parse(b"good", "a.txt")).canonical_text == "good"
    finally:
        await pool.close()


async def test_every_format_parses_its_sample_and_draws_its_pages_confined(pool: ParserPool) -> None:
    for row in FORMATS:
        assert (await pool.parse(row.sample, "", row.media_type)).format == row.name
    for row in (one for one in FORMATS if one.drawer):
        drawn = await pool.draw(pieces_of(row.sample), row.name, 1, 300, PAGE)
        assert (drawn.page_count, drawn.width, drawn.height) == (1, 300, 300)
        assert drawn.pixels.count(b"\xff") not in (0, len(drawn.pixels))
        assert (await pool.draw(pieces_of(row.sample), row.name, 2, 300, PAGE)).pixels == b""
        with rejecting(Cause.MALFORMED):
            await pool.draw(pieces_of(row.sample[:100]), row.name, 1, 300, PAGE)


async def test_a_page_does_not_wait_for_documents() -> None:
    pool = ParserPool(concurrency=1, limits=LIMITS, formats="hostile_parsers:FORMATS", import_paths=[HERE])
    parsing = asyncio.create_task(pool.parse(b"sleep", "a.txt"))
    try:
        await until(lambda: any(zygote.children() for zygote in zygotes()))
        assert (await pool.draw(pieces_of(b"good"), "TEXT", 1, 100, PAGE)).pixels
        assert not parsing.done()
    finally:
        parsing.cancel()
        await pool.close()


async def test_drawing_is_bounded_and_its_result_checked(hostile: ParserPool) -> None:
    for deed in (b"loop", b"forged", b"too_many", b"raise"):
        with rejecting(Cause.PARSER_LIMIT, Cause.MALFORMED):
            await hostile.draw(pieces_of(deed), "TEXT", 1, 100, replace(LIMITS, cpu_seconds=1))


async def test_nothing_is_imported_in_a_confined_process() -> None:
    # A confined process may be unable to read modules that the warm-up does not load.
    pool = ParserPool(concurrency=2, limits=USUAL, formats="watched_parsers:FORMATS", import_paths=[HERE])
    try:
        for row in FORMATS:
            assert (await pool.parse(row.sample, "", row.media_type)).title == "imported:"
            if row.drawer:
                assert (await pool.draw(pieces_of(row.sample), row.name, 1, 100, PAGE)).page_count == 0
        for charset in CHARSETS:
            declared = f"text/plain; charset={charset}"
            parsed = await pool.parse(b"words \xb0\xa1 \x1b$B", "", declared, known_format="TEXT")
            assert parsed.title == "imported:", charset
        for text, charset in (
            ("Мир вам", "cp1251"),
            ("日本語の文章です。", "cp932"),
            ("中文文本测试", "gb18030"),
        ):
            parsed = await pool.parse(text.encode(charset), "", "text/plain", known_format="TEXT")
            assert parsed.title == "imported:", charset
    finally:
        await pool.close()


def test_capabilities_are_said_in_words() -> None:
    assert SandboxCapabilities(7, True).complete
    none = SandboxCapabilities(0, False)
    assert not none.complete
    assert "lacks Landlock" in none.sentence
    assert "seccomp" in none.sentence
    assert "lacks" not in SandboxCapabilities(7, True).sentence


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("setpriv")), reason="needs util-linux")
def test_what_may_differ_holds_for_a_plain_user_too() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, NOBODY, NOBODY)
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"}
        probe = as_plain_user(
            [sys.executable, "-c", "import responsa_server, psutil, pytest_asyncio"], environment
        )
        if probe.returncode != 0:
            pytest.skip(
                f"another user cannot read this checkout or interpreter: {probe.stderr.strip()[-200:]}"
            )
        done = as_plain_user(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"),
                *(
                    "-o",
                    "addopts=",
                    "-o",
                    "asyncio_mode=auto",
                    f"--rootdir={HERE}",
                    f"--basetemp={folder}/base",
                ),
                *("--noconftest", "-k", " and ".join(f"not {one}" for one in SAME)),
                *(str(HERE / name) for name in ("test_attacks.py", "test_sandbox.py")),
            ],
            environment,
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


_REACHABLE = r"""
set -e
user=$1; shift
stash=$(mktemp -d)
mount -t tmpfs tmpfs "$stash"
n=0
while [ "$1" != -- ]; do
    closed=$1; needed=$2; shift 2; n=$((n + 1))
    mkdir "$stash/$n"
    mount --bind "$needed" "$stash/$n"
    # The first of several paths below a closed folder covers the folder. For the other paths, it is already covered.
    covered=$stash/covered-$(echo "$closed" | tr / _)
    [ -e "$covered" ] || { mount -t tmpfs -o mode=755 tmpfs "$closed"; : > "$covered"; }
    mkdir -p "$needed"
    mount --bind "$stash/$n" "$needed"
done
shift
cd /
exec setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"
"""


def as_plain_user(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command as an unprivileged user.

    If the interpreter is below a closed home, such as root's, that user sees the interpreter in a separate mount namespace. Other users'
    view and the modes of real folders stay unchanged.
    """
    needed = {Path(sys.base_prefix), Path(sys.prefix), *(Path(path) for path in sys.path if path)}
    hidden = [
        argument
        for path in sorted(needed)
        if path.exists()
        for closed in [next((p for p in reversed(path.parents) if not p.stat().st_mode & stat.S_IXOTH), None)]
        if closed is not None
        for argument in (str(closed), str(path))
    ]
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            _REACHABLE,
            "sh",
            str(NOBODY),
            *hidden,
            "--",
            *command,
        ],
        env={**environment, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
