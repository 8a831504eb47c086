"""Folders whose servers list without an end, or names that no file has: each run ends, and keeps what it could read."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import random
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

import pytest

from responsa_etl.domain import FILE, ConnectedFolder, FolderKind, NewSource, SourceChange
from responsa_etl.sources import git_folder
from responsa_etl.sources.folders import find_name_problem
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.knowledge import Operation
from responsa_server.outbound.addresses import Allowed, IpAddress, UrlOrigin
from responsa_server.outbound.authorities import trust_also
from tests import git_server
from tests.certificates import certificate
from tests.etl.office import MAPPING, Office

Pages = Callable[[str], Awaitable[bytes]]
"""The listing at a path and query."""
NUMBERS = itertools.count()


def bucket(*keys: str, token: str = "") -> bytes:
    """A page of a bucket."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><ETag>e</ETag><Size>5</Size></Contents>" for key in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>"
    return f"<ListBucketResult>{entries}{more}</ListBucketResult>".encode()


def collection(path: str, *names: str) -> bytes:
    """What WebDAV lists of a path. Folders have a slash at their ends."""
    kinds = {True: "<resourcetype><collection/></resourcetype>", False: ""}
    entries = "".join(
        f"<response><href>{escape(path + name)}</href>{kinds[name.endswith('/')]}</response>"
        for name in ("", *names)
    )
    return f"<multistatus>{entries}</multistatus>".encode()


async def bucket_without_files(path: str) -> bytes:
    return bucket(*([] if "token" in path else ["a.md"]), token=f"t{next(NUMBERS)}")


async def bucket_that_repeats(_: str) -> bytes:
    return bucket("a.md", "b.md", token="again")


async def bucket_of_new_files(_: str) -> bytes:
    return bucket(f"{next(NUMBERS)}.md", token="more")


async def bucket_of_other_files(path: str) -> bytes:
    if "token" not in path:
        return bucket("a.md", token="more")
    return bucket(*(f"{number}.jpg" for number in range(300)))


async def bucket_of_long_listings(path: str) -> bytes:
    return bucket(*([] if "token" in path else ["a.md"]), token="x") + b" " * (400 << 10)


async def bucket_that_is_slow(path: str) -> bytes:
    if "token" in path:
        await asyncio.Event().wait()
    return bucket("a.md", token="more")


async def tree_without_leaves(path: str) -> bytes:
    return collection(path, "a.md", "b/") if path == "/f/" else collection(path, "b/")


async def tree_of_many_branches(path: str) -> bytes:
    return collection(path, *(f"{number}/" for number in range(10)), *(["a.md"] if path == "/f/" else []))


async def tree_of_long_names(path: str) -> bytes:
    return collection(path, "a.md", "b" * 100 + "/")


@asynccontextmanager
async def serving(listing: Pages) -> AsyncGenerator[LoopbackServer]:
    """Serve a listing, and a text for each file."""

    async def serve(exchange: LoopbackExchange) -> None:
        address = urlsplit(exchange.request.path)
        if address.path.endswith("packed.md"):
            await exchange.reply(200, gzip.compress(b"# A heron"), {"content-encoding": "gzip"})
        elif exchange.request.method == "GET" and not address.query:
            await exchange.reply(200, b"# A heron")
        else:
            await exchange.reply(207, await listing(exchange.request.path))

    server = LoopbackServer(serve)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def connect(office: Office, kind: FolderKind, address: str, password: str = "") -> Operation:
    """Make a source of a folder, and run it."""
    folder = ConnectedFolder(kind, address, "people", user=git_server.USER if password else "")
    made = NewSource("files", "", "", replace(folder, password=password))
    await office.administration.create(office.principal, made)
    return await office.run(source="files")


def end_of(run: Operation) -> tuple[str, int]:
    """What ended a run, and how many documents it has made."""
    assert run.error is not None
    assert run.error.metadata["fault"] == "BUDGET"
    said = str(run.error)
    assert f"is kept ({run.counts['created']} document" in said
    assert "nothing was deleted" in said
    return said.partition("by its budget, ")[2].partition(".")[0], run.counts["created"]


@pytest.mark.parametrize(
    ("kind", "listing", "end", "kept"),
    [
        (FolderKind.S3, bucket_without_files, "20 requests", 1),
        (FolderKind.S3, bucket_that_repeats, "200 entries", 2),
        (FolderKind.S3, bucket_of_new_files, "10 files", 10),
        (FolderKind.S3, bucket_of_other_files, "200 entries", 1),
        (FolderKind.S3, bucket_of_long_listings, "1,048,576 bytes", 1),
        (FolderKind.S3, bucket_that_is_slow, "2 seconds", 1),
        (FolderKind.WEBDAV, tree_without_leaves, "20 requests", 1),
        (FolderKind.WEBDAV, tree_of_many_branches, "200 entries", 1),
    ],
)
async def test_a_listing_without_an_end_ends_by_the_budget_of_its_run(
    office: Office, kind: FolderKind, listing: Pages, end: str, kept: int
) -> None:
    office.limits = replace(office.limits, size=1 << 20)
    if listing in (bucket_without_files, tree_without_leaves):
        office.limits = replace(office.limits, requests=20)
    if listing is bucket_that_is_slow:
        office.limits = replace(office.limits, seconds=2)
    async with serving(listing) as server:
        run = await connect(office, kind, f"{server.url}/f")
        assert end_of(run) == (end, kept)
        # The next run goes on with what it can read, and deletes nothing of what it cannot.
        again = await office.run(source="files", confirmed=True)
        assert (again.counts["deleted"], again.counts["unchanged"] > 0) == (
            0,
            listing is not bucket_of_new_files,
        )


async def test_a_tree_of_long_names_ends_where_its_paths_are_too_long(office: Office) -> None:
    async with serving(tree_of_long_names) as server:
        run = await connect(office, FolderKind.WEBDAV, f"{server.url}/f")
    assert (run.error, run.counts["created"], run.counts["failed"]) == (None, 4, 1)
    [(key, problem)] = await office.failed("files")
    assert (key[:3], len(key), problem) == ("bbb", 400, "The name has more than 400 bytes.")


@pytest.mark.parametrize(("width", "end"), [(10, "200 entries"), (0, "10 files")])
async def test_a_repository_of_very_many_folders_or_files_ends_by_the_budget(
    office: Office, tmp_path: Path, width: int, end: str
) -> None:
    with git_server.serving(tmp_path) as server:
        server.commit(**{f"a{number}": "# A heron" for number in range(1 if width else 20)})
        if width:
            write_empty_trees(server.folder / "work", width, levels=12)
            server.git("push", "--quiet", "--force", "origin", "main")
        run = await connect(office, FolderKind.GIT, server.url, git_server.PASSWORD)
    assert end_of(run) == (end, 1 if width else 10)


def write_empty_trees(work: Path, width: int, levels: int) -> None:
    """Commit a tree of trees that are all the same, and empty at last: a few objects, and `width ** levels` folders."""

    def run(*arguments: str, text: str = "") -> str:
        command = [
            "git",
            "-C",
            str(work),
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.org",
            *arguments,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout.strip()

    tree = run("mktree")
    for _ in range(levels):
        tree = run("mktree", text="".join(f"040000 tree {tree}\td{number}\n" for number in range(width)))
    listed = run("ls-tree", "HEAD")
    tree = run("mktree", text=f"{listed}\n040000 tree {tree}\tz\n")
    run("update-ref", "refs/heads/main", run("commit-tree", tree, "-m", "Trees"))


async def test_a_folder_of_the_server_with_very_many_entries_ends_by_the_budget(office: Office) -> None:
    folder = office.folder / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("# A heron")
    for number in range(300):
        (folder / "deep" / f"{number}.jpg").touch()
    assert end_of(await connect(office, FolderKind.PATH, str(folder))) == ("200 entries", 1)


async def test_git_connects_to_the_host_that_was_looked_up_and_trusts_the_installations_authorities(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_up(origin: UrlOrigin, _: Allowed) -> Sequence[IpAddress]:
        assert origin.host == "git.example"
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(git_folder, "reachable_addresses", look_up)
    for name, part in zip(("key", "certificate"), certificate("git.example"), strict=True):
        (tmp_path / name).write_bytes(part)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", "")  # and back at the end
    trust_also(tmp_path / "certificate")
    with git_server.serving(tmp_path, tls) as server:
        server.commit(a="# A heron")
        address = server.url.replace("127.0.0.1", "git.example.")  # the dot would be another name for git
        run = await connect(office, FolderKind.GIT, address, git_server.PASSWORD)
    assert (run.error, run.counts["created"]) == (None, 1)


SEPARATE = "A part of the path is empty, or it is . or .., which lead elsewhere."
CONTROL = "The name has a slash or control characters."
ODD = {
    "a\0b.md": CONTROL,
    "a\rb.md": CONTROL,
    "evil/\r\nX-Injected: y.md": CONTROL,
    "../a.md": SEPARATE,
    "a//b.md": SEPARATE,
    "c" * 4000 + ".md": "The name has more than 400 bytes.",
    "\udcff.md": "The name is not valid UTF-8.",
}
LETTERS = [
    *"aZ9 .-_%?#&;:+*'\"<>|\\{}$é日\u200f\u2028\ufeff😀\t\n\r\x01\x7f\x85",
    "..",
    "\udcff",
    "e\u0301",
    "x" * 90,
]


def draw_names(count: int) -> list[str]:
    """Different names of files, each of a few odd letters."""
    drawn, names = random.Random(7), set[str]()
    while len(names) < count:
        names.add("a" + "".join(drawn.choices(LETTERS, k=drawn.randint(1, 6))) + ".md")
    return sorted(names)


NAMES = draw_names(60)


async def bucket_of_a_packed_file(_: str) -> bytes:
    return bucket("fine.md", "packed.md", "zebra.md")


async def test_a_file_that_is_sent_otherwise_than_asked_for_is_a_failed_row(office: Office) -> None:
    async with serving(bucket_of_a_packed_file) as server:
        run = await connect(office, FolderKind.S3, f"{server.url}/f")
    assert (run.error, run.counts["created"], run.counts["failed"]) == (None, 2, 1)


def quote_name(name: str) -> str:
    return quote(name, safe="", errors="surrogateescape")


async def webdav_of_odd_names(path: str) -> bytes:
    return collection(path, *map(quote_name, ODD), "fine.md") if path == "/f/" else collection(path)


async def bucket_of_odd_names(_: str) -> bytes:
    # XML has no NUL, and is Unicode.
    names = (name for name in ODD if "\0" not in name and "\udcff" not in name)
    return bucket(*names, "fine.md").replace(b"\r", b"&#13;")


@pytest.mark.parametrize(
    ("kind", "listing", "odd"),
    [(FolderKind.WEBDAV, webdav_of_odd_names, len(ODD)), (FolderKind.S3, bucket_of_odd_names, 5)],
)
async def test_a_name_that_no_document_has_is_a_failed_row(
    office: Office, kind: FolderKind, listing: Pages, odd: int
) -> None:
    async with serving(listing) as server:
        run = await connect(office, kind, f"{server.url}/f")
    assert (run.error, run.counts["created"], run.counts["failed"]) == (None, 1, odd)
    assert office.harness.ask("SELECT source_key FROM responsa.document") == [("files/fine.md",)]
    assert all(key.isprintable() and problem in ODD.values() for key, problem in await office.failed("files"))


@pytest.mark.parametrize("kind", [FolderKind.WEBDAV, FolderKind.S3, FolderKind.PATH, FolderKind.GIT])
async def test_whatever_the_names_are_a_run_ends_and_each_is_a_document_or_a_failed_row(
    office: Office, tmp_path: Path, kind: FolderKind
) -> None:
    office.limits, office.files = replace(office.limits, requests=1000, entries=1000), 1000
    names = NAMES

    async def list_names(path: str) -> bytes:
        if kind is FolderKind.WEBDAV:
            return collection(path, *map(quote_name, NAMES))
        written = "".join(char for name in names for char in name)
        keys = (name.replace("\r", "\ue00d") for name in names)
        assert "\ue00d" not in written
        return bucket(*keys).replace("\ue00d".encode(), b"&#13;")

    folder = office.folder / "files"
    folder.mkdir()
    if kind is FolderKind.S3:
        names = [name for name in NAMES if not {"\udcff", "\x01"} & {*name}]  # what XML cannot have
    for name in NAMES:
        (folder / name).write_text("# A heron")
    if kind is FolderKind.PATH:
        run = await connect(office, kind, str(folder))
    elif kind is FolderKind.GIT:
        with git_server.serving(tmp_path) as server:
            for file in folder.iterdir():
                file.rename(server.folder / "work" / file.name)
            server.commit()
            run = await connect(office, kind, server.url, git_server.PASSWORD)
    else:
        async with serving(list_names) as server:
            run = await connect(office, kind, f"{server.url}/f")
    assert run.error is None
    odd = sum(bool(find_name_problem(FILE, name)) for name in names)
    assert 0 < odd < len(names)
    assert (run.counts["created"], run.counts["failed"]) == (len(names) - odd, odd)
    assert all(key.isprintable() for key, _ in await office.failed("files"))


async def test_an_odd_key_of_a_row_is_a_failed_row(office: Office) -> None:
    keys = ("char(0)", "char(13)", "CAST(x'ff' AS TEXT)", "hex(zeroblob(300))", "'fine'")
    selected = " UNION ALL ".join(f"SELECT {key} AS id, 'ann' AS mail, 'A heron' AS note" for key in keys)
    text = MAPPING.replace("SELECT id, mail, note FROM note ORDER BY id", selected)
    change = SourceChange(mapping=text.replace('id = "integer"', 'id = "text"'))
    await office.administration.update(office.principal, "notes", change, "")
    run = await office.run()
    assert (run.error, run.counts["created"], run.counts["failed"]) == (None, 0, 4)
    changed = text.replace('subject = "{{ mail }}"\n', "").replace('id = "integer"', 'id = "text"')
    await office.administration.update(office.principal, "notes", SourceChange(mapping=changed), "")
    run = await office.run()
    assert (run.error, run.counts["created"], run.counts["failed"]) == (None, 1, 4)


async def test_a_run_counts_what_has_become_of_its_files(office: Office) -> None:
    folder = office.folder / "files"
    folder.mkdir()
    (folder / "heron.md").write_text("# A heron\n\nIt is white.")
    (folder / "rail.txt").write_text("A rail\n\nIt hides.")
    (folder / "heron.raw").write_bytes(b"\0\1")
    (folder / ".hidden.raw").write_bytes(b"\0\1")
    (folder / "scan.pdf").write_text("%PDF-1.7 and nothing else")
    run = await connect(office, FolderKind.PATH, str(folder))
    assert (run.counts["created"], run.counts["failed"], run.counts["skipped"]) == (2, 1, 1)
    (folder / "rail.txt").write_bytes(b"%PDF-1.7 and nothing else\0")
    (folder / "heron.md").write_text("# A heron\n\nIt is grey.")
    run = await office.run(source="files")
    assert (run.counts["created"], run.counts["updated"], run.counts["failed"]) == (0, 1, 2)
    assert any(text == "It is grey." for _, text in office.documents().values()), (
        "the search has the old text"
    )
