from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from functools import partial
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Reason,
)
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import (
    EVERYONE,
    CanonicalText,
    Chunking,
    CollectionFields,
    DocumentState,
    SearchMode,
    SearchQuery,
    SourceRef,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.lists import NEWEST
from responsa_server.domain.passages import FoundPassage, NearText, PassagePiece, VectorKind
from responsa_server.domain.people import Principal, Role, Server
from responsa_server.search.parts import PassageParts
from responsa_server.stores.postgres.documents import DocumentStore
from tests.contract.in_memory import InMemory
from tests.contract.index_writer import lexical_of
from tests.contract.library_harness import Harness
from tests.raising import raises

TEXT = (
    "# Rivers\n\nThe Elbe is 1094 kilometres long.\n\n## Mouth\n\nIt flows into the North Sea at Cuxhaven.\n"
)

CHANGED = TEXT.replace("1094", "1112")


async def hits_of(harness: Harness, words: str) -> list[str]:
    hits = await harness.library.search(harness.ann, SearchQuery((words,)))
    return [hit.passage.text for hit in hits]


async def test_canonical_text_comes_whole_and_in_order(harness: Harness) -> None:
    line = "Der Fluß fließt – 河流 🌊 – ins Meer.\r\n"
    text = line * (3 * 1024 * 1024 // len(line.encode()))
    operation = await harness.upload(harness.ann, text, "long.txt")
    task = await harness.ingestions.begin("acme", operation.id)
    assert task is not None
    # The document is parsed but not embedded, because this test reads only the text.
    canonical = CanonicalText(InMemory(text.encode()), "long", "text/plain", "de", "text")
    await harness.ingestions.set_parsed(task.claim, canonical, 1)
    offset, parts = 0, list[str]()
    async for start, part in harness.library.content(harness.ann, operation.document_id, 1):
        assert start == offset
        assert 0 < len(part.encode()) <= 64 * 1024
        offset += len(part.encode())
        parts.append(part)
    assert "".join(parts) == text
    # An offset within a character means this character.
    whole, content = text.encode(), partial(harness.library.content, harness.ann, operation.document_id, 1)
    wave = whole.index("🌊".encode(), 2 * 1024 * 1024 - 100)
    for offset, begin in [(wave + inside, wave) for inside in range(4)] + [(wave + 4, wave + 4), (1, 1)]:
        pieces = [piece async for piece in content(offset)]
        assert pieces[0][0] == begin
        assert "".join(part for _, part in pieces).encode() == whole[begin:]
    assert [piece async for piece in content(len(whole))] == []
    await raises(InvalidRequest, anext(content(len(whole) + 1)), "from 0 to")
    await raises(NotFound, anext(harness.library.content(harness.ann, operation.document_id)))
    await raises(NotFound, anext(harness.library.content(harness.ann, operation.document_id, 2)))
    await raises(NotFound, anext(harness.library.content(harness.eve, operation.document_id, 1)))


async def test_the_same_bytes_while_they_are_indexed_attach_to_that_operation(harness: Harness) -> None:
    operations = await asyncio.gather(*(harness.upload(harness.ann, TEXT) for _ in range(5)))
    assert len({operation.id for operation in operations}) == 1
    assert harness.rows()["document_version"] == 1


async def test_a_title_told_anew_makes_a_version(harness: Harness) -> None:
    await harness.take_in(harness.ann, TEXT, title="Streams")
    assert (await harness.take_in(harness.ann, TEXT)).unchanged
    operation = await harness.take_in(harness.ann, TEXT, title="Brooks")
    assert (operation.version, operation.unchanged) == (2, False)
    assert (await harness.library.documents.get(harness.ann, operation.document_id)).title == "Brooks"


async def test_other_bytes_are_a_new_version_and_the_old_one_is_searched_meanwhile(harness: Harness) -> None:
    first = await harness.take_in(harness.ann, TEXT)
    second = await harness.upload(harness.ann, CHANGED)
    assert (second.document_id, second.version) == (first.document_id, 2)
    document = await harness.library.documents.get(harness.ann, first.document_id)
    assert (document.state, document.version, document.size_bytes) == (DocumentState.INDEXING, 1, len(TEXT))
    assert any("1094" in text for text in await hits_of(harness, "length of the Elbe"))
    await harness.ingest().run("acme", second.id)
    texts = await hits_of(harness, "length of the Elbe")
    assert any("1112" in text for text in texts)
    assert not any("1094" in text for text in texts)
    document = await harness.library.documents.get(harness.ann, first.document_id)
    assert (document.state, document.version) == (DocumentState.READY, 2)
    assert document.sha256 == hashlib.sha256(CHANGED.encode()).digest()


async def test_versions_never_go_backwards(harness: Harness) -> None:
    first = await harness.upload(harness.ann, TEXT)
    second = await harness.upload(harness.ann, CHANGED)
    await harness.ingest().run("acme", second.id)
    await harness.ingest().run("acme", first.id)
    overtaken = await harness.library.operations.get(harness.ann, first.id)
    assert (overtaken.done, overtaken.error) == (True, None)
    document = await harness.library.documents.get(harness.ann, first.document_id)
    assert (document.version, document.state) == (2, DocumentState.READY)
    assert harness.ask("SELECT DISTINCT version FROM responsa.passage") == [(2,)]
    assert harness.ask("SELECT version FROM responsa.document_version") == [(2,)]


async def test_deleting_a_document_removes_all_of_it(harness: Harness) -> None:
    kept = await harness.take_in(harness.ann, CHANGED, "kept.md")
    vectors = harness.rows()["passage_vector"]
    operation = await harness.take_in(harness.ann, TEXT)
    source = SourceRef(operation.document_id, 1, ByteRange(0, 8))
    (before,) = await harness.documents.sources(Server("acme"), [source])
    assert (before.current_version, before.text) == (1, b"# Rivers")
    await harness.library.delete_document(harness.ann, operation.document_id)
    (after,) = await harness.documents.sources(Server("acme"), [source])
    assert (after.current_version, after.text) == (None, None)
    assert not any("1094" in text for text in await hits_of(harness, "length of the Elbe"))
    assert harness.rows()["passage_vector"] == vectors
    assert harness.ask("SELECT DISTINCT document_id FROM responsa.passage") == [(kept.document_id,)]
    assert harness.ask("SELECT document_id FROM responsa.document_version") == [(kept.document_id,)]
    await raises(NotFound, harness.library.documents.get(harness.ann, operation.document_id))
    again = await harness.take_in(harness.ann, TEXT)
    assert again.document_id != operation.document_id


async def test_who_may_do_what_with_an_operation(harness: Harness) -> None:
    library = harness.library
    await library.create_collection(
        harness.ann, "rivers", CollectionFields("Rivers", readers=[EVERYONE]), Chunking()
    )
    carol = replace(harness.bob, user_id=harness.eve.user_id)
    admin = replace(harness.bob, role=Role.ADMIN)

    async def listed(caller: Principal) -> list[UUID]:
        return [item.id for item in (await library.list_operations(caller, ListQuery(10, NEWEST))).items]

    operation = await harness.upload(admin, TEXT, collection="rivers")
    for member in (harness.bob, harness.ann, carol, admin):
        assert (await library.operations.get(member, operation.id)).id == operation.id
        assert not (await library.watching.wait(member, operation.id, 0)).done
    assert await listed(harness.bob) == await listed(admin) == [operation.id]
    assert await listed(harness.ann) == await listed(carol) == []
    await raises(NotPermitted, library.cancel_operation(carol, operation.id))
    await library.cancel_operation(harness.ann, operation.id)  # Ann owns the collection
    # With the cancelled document, its collection is forgotten too: the operation is that of the user who began it.
    for who in (carol, harness.ann):
        for act in (library.cancel_operation, library.delete_operation):
            await raises(NotFound, act(who, operation.id))
    await library.delete_operation(harness.bob, operation.id)


async def test_an_etag_of_a_document_changes_with_it(harness: Harness) -> None:
    operation = await harness.upload(harness.ann, TEXT)
    etag = (await harness.library.documents.get(harness.ann, operation.document_id)).etag
    await harness.ingest().run("acme", operation.id)
    caught = await raises(Conflict, harness.library.delete_document(harness.ann, operation.document_id, etag))
    assert caught.reason is Reason.ETAG_MISMATCH
    etag = (await harness.library.documents.get(harness.ann, operation.document_id)).etag
    await harness.library.delete_document(harness.ann, operation.document_id, etag)


async def test_a_cited_version_is_kept_and_others_are_pruned(harness: Harness) -> None:
    for text in (TEXT, CHANGED, TEXT + "more", CHANGED + "more"):
        operation = await harness.take_in(harness.ann, text)
    document_id = operation.document_id
    cited = harness.ask("SELECT id FROM responsa.passage WHERE version = 2")[0][0]
    with_answer = """
        INSERT INTO responsa.citation (message_id, place, tenant_id, passage_id, document_id, version, title, uri,
            source_start, source_end, quote, sha256, answer_start, answer_end, score, quote_origin,
            verdict)
        VALUES (%s, 0, 'acme', %s, %s, 2, '', '', 0, 8, '# Rivers', sha256('# Rivers'), 0, 8, 1, 'copied', 'none')"""
    harness.ask("ALTER TABLE responsa.citation DROP CONSTRAINT citation_tenant_id_message_id_fkey")
    harness.ask(with_answer, uuid7(), cited, document_id)
    await DocumentStore(harness.database, harness.queue, uuid7, kept_versions=0).prune("acme", document_id)
    assert harness.ask("SELECT version FROM responsa.document_version ORDER BY 1") == [(2,), (4,)]
    assert harness.ask("SELECT id FROM responsa.passage WHERE version < 4") == [(cited,)]
    assert (await harness.library.documents.passage(harness.ann, cited)).version == 2
    old, gone, current = await harness.documents.sources(
        Server("acme"), [SourceRef(document_id, version, ByteRange(0, 8)) for version in (2, 1, 4)]
    )
    assert (old.current_version, old.text) == (4, b"# Rivers")
    assert (gone.current_version, gone.text) == (4, None)
    assert current.text == b"# Rivers"
    # Pruning ignores a new version that is not published yet.
    coming = await harness.upload(harness.ann, TEXT + "five")
    await harness.documents.prune("acme", document_id)
    await harness.ingest().run("acme", coming.id)
    assert any("five" in text for text in await hits_of(harness, "five"))


async def test_synonyms_of_one_collection(harness: Harness) -> None:
    """They apply from the next search on, to their collection alone, and only until they are removed."""
    library, ann = harness.library, harness.ann
    for name, text in (
        ("handbook", "Everybody has paid time off of 30 days.\n\nLunch is at noon.\n"),
        ("other", "Of paid time off, this text says nothing more.\n"),
    ):
        await library.create_collection(ann, name, CollectionFields(""), Chunking())
        operation = await harness.upload(ann, text, collection=name)
        await harness.ingest().run("acme", operation.id)

    async def hits_of(question: str, *collections: str) -> list[str]:
        query = SearchQuery((question,), collections, mode=SearchMode.TEXT)
        return [one.passage.collection_id for one in await library.search(ann, query)]

    assert await hits_of("PTO") == []
    made = await library.update_collection(
        ann, "handbook", CollectionFields(synonyms="PTO, paid time off\nmeal, lunch\n")
    )
    assert made.synonyms.startswith("PTO")
    assert await hits_of("How much PTO?") == ["handbook"]
    assert await hits_of("How much PTO?", "handbook", "other") == ["handbook"]
    assert await hits_of("How much PTO?", "other") == []
    assert await hits_of("When is the meal?") == ["handbook"]
    await library.update_collection(ann, "other", CollectionFields(synonyms="saying, text"))
    assert await hits_of("PTO") == ["handbook"]
    (renamed,) = (await library.collections.list(ann, ListQuery(1, Order("name")))).items
    assert (renamed.id, renamed.synonyms) == ("handbook", "")
    changed = await library.update_collection(
        ann, "handbook", CollectionFields(display_name="Handbook"), etag=made.etag
    )
    assert (changed.synonyms, changed.etag != made.etag) == (made.synonyms, True)
    assert await hits_of("PTO") == ["handbook"]
    await library.update_collection(ann, "handbook", CollectionFields(synonyms=""))
    assert await hits_of("PTO") == []


async def test_the_rows_of_a_long_table_keep_the_names_of_their_columns(harness: Harness) -> None:
    rows = "".join(
        f"<tr><td>Wren {number}<td>{number} volts<td>{'made of brass and glass by hand ' * 12}"
        for number in range(10, 20)
    )
    table = f"<p>All our lamps.</p><table><tr><th>Lamp<th>Voltage<th>Material{rows}</table>"
    await harness.take_in(harness.ann, table, "lamps.html")
    words = SearchQuery(("Which voltage does Wren 19 need?",), mode=SearchMode.TEXT)
    passage = (await harness.library.search(harness.ann, words))[0].passage
    assert "Wren 19 | 19 volts" in passage.text
    assert "Voltage" not in passage.text
    lexical = lexical_of(harness.database)
    stored = (await lexical.surroundings(harness.ann, [passage.id], ())).around[passage.id]
    assert (bool(stored.cards), stored.before) == (True, "")
    harness.ask("UPDATE responsa.passage SET cards = NULL WHERE id = %s RETURNING true", passage.id)
    near = (await lexical.surroundings(harness.ann, [passage.id], ())).around[passage.id]
    assert (near.cards, near.before) == (b"", "Lamp | Voltage | Material\n---|---|---\n")
    line = next(one for one in passage.text.split("\n") if one.startswith("Wren 19"))
    place = passage.source.start + passage.text.index(line)
    row = ByteRange(place, place + len(line))
    found = FoundPassage(passage, "en", [PassagePiece(VectorKind.ROW, row, None)], "text/html")
    parts = PassageParts(found, NearText(passage.source.start, passage.text.encode(), before=near.before))
    part = parts.of(0)
    assert part is not None
    shown = "| Lamp | Voltage | Material |\n|---|---|---|\n| Wren 19 | 19 volts | made of brass"
    assert parts.markdown(part).startswith(shown)
    assert parts.text(part.source).startswith("Wren 19 | 19 volts | made")
    # All of its words, with those of the header, are in the index.
    (stored,) = harness.ask(
        "SELECT 'voltag' = ANY (tsvector_to_array(terms)) FROM responsa.passage WHERE id = %s", passage.id
    )
    assert stored == (True,)
