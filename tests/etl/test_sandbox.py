"""What the server makes of the answers of the sandbox, which a hostile text may have forged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from pydantic import TypeAdapter

from responsa_etl.sources import sandbox
from responsa_etl.sources.listings import ListingProblem, unpack_listing
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.sandbox import RenderedRow, RowRenderer, RowRequest, SourceSandbox, SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool

GIGABYTES = """connection = "a"
collection = "a"
[queries.a]
sql = "SELECT a"
columns = { a = "text", b = "text" }
[documents.a]
query = "a"
key = "{{ a }}"
subject = "{{ b }}"
text = "{% if b == 'bomb' %}{% set a = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}DOUBLED{% endif %}{{ a }}"
""".replace("DOUBLED", "{% set a = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}" * 12)


async def test_rows_that_end_their_process_are_set_aside_until_there_are_too_many(
    parser: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_MOST_DEATHS", 2)
    mapping, problems = read_mapping(GIGABYTES)
    assert mapping is not None, problems
    renderer = RowRenderer(SourceSandboxes(parser).of("acme"), mapping)
    rows = ["plain", "bomb", "plain", "bomb", "plain"]
    asked = [RowRequest("a", {"a": f"{number}", "b": row}) for number, row in enumerate(rows)]
    asked.append(RowRequest("a", {"a": "5", "b": "plain"}, "Its note is NULL."))
    made = [one async for one in renderer.render(asked)]
    assert [(one.key, one.subject, one.text) for one in made[::2]] == [
        ("0", "plain", "0"),
        ("2", "plain", "2"),
        ("4", "plain", ""),
    ]
    assert [(one.key, one.subject, one.problem.partition(" for ")[0]) for one in made[1:5:2]] == [
        (key, "bomb", "The templates take too much memory or time") for key in ("1", "3")
    ]
    assert "was not tried" in made[4].problem
    assert (made[5].key, made[5].problem) == ("5", "Its note is NULL.")


async def test_a_process_gets_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PACKED_BYTES", 100)
    for longest in (10, 1000):
        rows = [("a", {"a": "x" * longest}, True)] * 50
        data, count = sandbox._pack(["head"], rows)
        lines = data.splitlines()
        assert len(lines) == count + 1
        assert count == max(1, 100 // len(lines[1]))


async def page(sandbox: SourceSandbox) -> None:
    await sandbox.page(b"A page.", "page.txt", "text/plain")


async def listing(sandbox: SourceSandbox) -> None:
    await sandbox.listing(b"<urlset/>")


@pytest.mark.parametrize("work", [page, listing])
async def test_tenants_take_turns_when_all_slots_are_taken(
    work: Callable[[SourceSandbox], Awaitable[None]], parser: ParserPool
) -> None:
    parser._slots = parser._computing = asyncio.Semaphore(1)
    sandboxes, ended = SourceSandboxes(parser), list[str]()

    async def work_for(tenant: str) -> None:
        await work(sandboxes.of(tenant))
        ended.append(tenant)

    await asyncio.gather(*(work_for(tenant) for tenant in ("acme", "acme", "acme", "rival", "rival")))
    assert ended == ["acme", "rival", "acme", "rival", "acme"]


@pytest.mark.parametrize(
    "forged",
    [
        b"1\n",
        b'"https://a.example"\n',
        b'{"path": ["a"]}\n',
        b"[" * 100_000 + b"\n",
        b"{}\n" * 200_002,
        b'{"problem": "%s"}\n' % (b"a" * 1001),
    ],
    ids=range(6),
)
def test_a_forged_listing_is_a_problem(forged: bytes) -> None:
    with pytest.raises(ListingProblem, match="cannot be read"):
        unpack_listing(forged)


@pytest.mark.parametrize(
    "forged",
    [{"key": "a" * 401}, {"text": "a\0"}, {"title": 7}, {"metadata": {"a": []}}, {"problem": "a" * 2001}],
    ids=str,
)
def test_a_forged_row_counts_as_the_end_of_its_process(forged: dict[str, object]) -> None:
    lines = [json.dumps({"problem": "", "text": "a", **more}).encode() + b"\n" for more in ({}, forged, {})]
    found = sandbox._unpack(b"".join(lines), 3, TypeAdapter(RenderedRow))
    assert [one.text for one in found] == ["a"]
