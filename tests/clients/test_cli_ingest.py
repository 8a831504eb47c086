"""`responsa ingest`, `documents` and `eval`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2, json_format

from clients.conformance.server import Context, abort, packed, status
from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, generation_pb2, knowledge_service_pb2
from responsa.type.v1 import byte_range_pb2
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import (
    CHAT,
    CONVERSATION,
    DOCUMENT,
    KNOWLEDGE,
    OPERATION,
    OPERATIONS,
    TURN,
    Scripted,
    answer,
    ingested,
    operation,
    refused,
)


def guide(folder: Path) -> Path:
    """A folder with three documents and other files."""
    (folder / "guide" / "parts").mkdir(parents=True)
    (folder / "guide" / ".git").mkdir()
    (folder / "guide" / "intro.md").write_text("# Intro")
    (folder / "guide" / "parts" / "one.HTML").write_text("<p>One")
    (folder / "guide" / "parts" / "two.txt").write_text("Two")
    (folder / "guide" / "parts" / "picture.png").write_bytes(b"\x89PNG")
    (folder / "guide" / ".git" / "x.md").write_text("hidden")
    (folder / "guide" / ".hidden.md").write_text("hidden")
    return folder / "guide"


def lines(file: Path, *values: object) -> Path:
    file.write_text("".join(json.dumps(value) + "\n" for value in values))
    return file


async def test_a_folder_then_a_change_then_nothing_new(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    folder = guide(tmp_path)
    first = await responsa("ingest", folder)
    assert first.code == 0
    assert first.err == (
        "responsa: Only you can find these documents. `responsa collections share default --everyone` "
        "shares them with everyone in your organisation.\n"
    )
    skipped = "3 files skipped: 2 hidden, 1 with an unsupported suffix (.png)\n"
    assert first.out == f"3 documents: 3 new, 0 changed, 0 unchanged, 0 failed; {skipped}"
    assert library.keys() == ["guide/intro.md", "guide/parts/one.HTML", "guide/parts/two.txt"]
    (folder / "intro.md").write_text("# Introduction")
    second = await responsa("ingest", ".", "--verbose", cwd=folder)
    assert second.err == ""
    assert sorted(second.out.splitlines()) == [
        f"3 documents: 0 new, 1 changed, 2 unchanged, 0 failed; {skipped.strip()}",
        "changed    intro.md",
        "skipped    .git (hidden)",
        "skipped    .hidden.md (hidden)",
        "skipped    parts/picture.png (with an unsupported suffix)",
        "unchanged  parts/one.HTML",
        "unchanged  parts/two.txt",
    ]
    assert library.keys() == ["guide/intro.md", "guide/parts/one.HTML", "guide/parts/two.txt"]


async def test_what_was_left_out_is_in_the_last_line(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("remark")
    (tmp_path / "b.md").write_text("Text")
    done = await responsa("ingest", tmp_path, "--verbose")
    *files, last = done.out.splitlines()
    assert last.endswith(
        "0 failed; left out: 2 comments, 1 hidden sheet; 1 character set guessed, perhaps "
        "wrongly (--verbose names the files); 3 pages read by OCR, perhaps with mistakes"
    )
    note = "(left out: 2 comments, 1 hidden sheet; read as windows-1250, which is a guess; 3 pages read by OCR, perhaps with mistakes)"
    assert [file.endswith(note) for file in sorted(files)] == [True, False]
    as_json = await responsa("ingest", tmp_path / "a.md", "--json")
    line = json.loads(as_json.out)
    assert (line["leftOut"], line["guessedCharset"]) == ({"comment": 2, "hidden_sheet": 1}, "windows-1250")
    assert line["ocrPages"] == 3


async def test_files_and_globs_have_the_keys_of_their_folder(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    folder = guide(tmp_path)
    done = await responsa("ingest", "guide/intro.md", "guide/**/*.txt", folder / "parts", cwd=tmp_path)
    assert done.code == 0, done.err
    # The glob found two.txt first, so the key of two.txt begins with "guide/". The argument "parts" alone would give
    # another key, and thus another document.
    assert library.keys() == ["guide/intro.md", "guide/parts/two.txt", "parts/one.HTML"]


async def test_lines_are_documents_by_their_id(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    big = "é" * 600_000
    file = lines(
        tmp_path / "docs.jsonl",
        {"id": "a/0", "title": "A", "text": "Text of A."},
        {"id": "b.md", "text": "Text of B.", "more": [1]},
        {"id": "big", "text": big},
    )
    done = await responsa("ingest", file, "--collection", "notes")
    assert (done.code, done.out) == (0, "3 documents: 3 new, 0 changed, 0 unchanged, 0 failed\n")
    assert library.made == ["collections/notes"]
    assert library.keys("collections/notes") == ["a/0", "b.md", "big"]
    assert library.documents["collections/notes", "big"].data == big.encode()
    assert library.titles["a/0"] == "A"
    assert (await responsa("ingest", file, "-c", "notes")).out.startswith(
        "3 documents: 0 new, 0 changed, 3 unchanged"
    )


async def test_bad_lines_are_reported_and_the_others_taken_in(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    file = tmp_path / "docs.jsonl"
    file.write_bytes(
        b"\n".join(
            [
                b'\xef\xbb\xbf{"id": "good", "text": "x"}',
                b'{"text": "x"}',
                b'{"id": "a"}',
                b'{"id": 7, "text": "x"}',
                b'{"id": "a", "text": ["x"]}',
                b'{"id": "a", "text": "x", "title": 1}',
                b'{"id": "a", "text": " "}',
                b'{"id": " ", "text": "x"}',
                b'["id"]',
                b"{",
                b'{"id": "\xff", "text": "x"}',
                b'{"id": "\\ud800", "text": "x"}',
                b'{"id": "good", "text": "again"}',
                b"",
                b'{"id": "last", "text": "unreadable"}',
                b"[" * 100_000,
            ]
        )
    )
    done = await responsa("ingest", file)
    assert done.code == 1
    assert done.out == "15 documents: 1 new, 0 changed, 0 unchanged, 14 failed\n"
    assert library.keys() == ["good"]
    assert library.documents["collections/default", "good"].data == b"x"
    lines = done.err.splitlines()
    for line, why in {
        2: "has no id",
        3: "has no text",
        4: "has an id that is not a string",
        5: "has a text that is not a string",
        6: "has a title that is not a string",
        7: "has an empty text",
        8: "has an empty id",
        9: "is not a JSON object",
        10: "is not valid JSON",
        11: "is not valid UTF-8",
        12: "has an id with half a surrogate pair",
        13: f"has the same key, 'good', as {file} line 1",
        16: "is not valid JSON",
    }.items():
        assert f"responsa: {file} line {line} {why}." in lines
    assert f"responsa: {file} line 15: It cannot be read." in lines


async def test_one_bad_file_does_not_stop_the_others(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    folder = guide(tmp_path)
    (folder / "program.md").write_bytes(b"MZ\x90")
    (folder / "out.md").symlink_to("/etc/hostname")
    (folder / "nowhere.md").symlink_to(folder / "gone.md")
    (folder / "etc").symlink_to("/etc")
    (folder / "again").symlink_to(folder / "parts")
    os.mkfifo(folder / "pipe.md")
    done = await responsa("ingest", "--json", folder)
    assert done.code == 1
    by_key = {line["sourceKey"]: line for line in done.lines}
    assert by_key["guide/intro.md"]["outcome"] == "NEW"
    assert by_key["guide/intro.md"]["document"]["sourceKey"] == "guide/intro.md"
    assert by_key["guide/program.md"]["error"]["details"][0]["reason"] == "DOCUMENT_TYPE_MISMATCH"
    for key, why in {
        "guide/nowhere.md": "link to nothing",
        "guide/pipe.md": "is not a file",
    }.items():
        assert why in by_key[key]["error"]["message"]
    assert sum(line["outcome"] == "FAILED" for line in done.lines) == 3
    assert {key: line["rule"] for key, line in by_key.items() if line["outcome"] == "SKIPPED"} == {
        "guide/.git": "HIDDEN",
        "guide/.hidden.md": "HIDDEN",
        "guide/etc": "LINK",
        "guide/out.md": "LINK",
        "guide/parts/picture.png": "UNSUPPORTED_SUFFIX",
    }
    assert library.keys() == ["guide/intro.md", "guide/parts/one.HTML", "guide/parts/two.txt"]


async def test_sync_deletes_what_is_gone_from_the_folder(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    folder = guide(tmp_path)
    (folder / "old.md").write_text("B")
    (tmp_path / "guided.md").write_text("Another")
    await responsa("ingest", folder, tmp_path / "guided.md")
    before = library.keys()
    assert before == [
        "guide/intro.md",
        "guide/old.md",
        "guide/parts/one.HTML",
        "guide/parts/two.txt",
        f"{tmp_path.name}/guided.md",
    ]
    (folder / "old.md").unlink()
    (folder / "intro.md").unlink()
    (folder / "parts" / "two.txt").write_bytes(b"")
    (tmp_path / "guided.md").unlink()
    dry = await responsa("ingest", folder, "--sync", "--dry-run", "--json")
    # The rest of the collection is not read.
    assert [one.filter for one in server.requests[f"{KNOWLEDGE}/ListDocuments"]] == ['source_key = "guide/*"']
    gone = ["guide/intro.md", "guide/old.md"]
    assert [(line["sourceKey"], line["outcome"]) for line in dry.lines] == [
        (key, "WOULD_DELETE") for key in gone
    ]
    assert library.keys() == before
    done = await responsa("ingest", folder, "--sync")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        *(f"deleted  {key}" for key in gone),
        (
            "1 document: 0 new, 0 changed, 1 unchanged, 0 failed; 4 files skipped: 1 empty, 2 "
            "hidden, 1 with an unsupported suffix (.png); 2 deleted"
        ),
    ]
    assert library.keys() == [key for key in before if key not in gone]
    refused = await responsa("ingest", folder / "parts" / "one.HTML", "--sync")
    assert refused.code == 2
    assert "Name only folders." in refused.err


async def test_sync_never_deletes_the_documents_of_another_folder_of_the_same_name(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    for parent, name in (("a", "one.md"), ("b", "two.md")):
        folder = tmp_path / parent / "guide"
        folder.mkdir(parents=True)
        (folder / name).write_text(name)
    first, second = tmp_path / "a" / "guide", tmp_path / "b" / "guide"
    await responsa("ingest", first)
    refused = await responsa("ingest", second, "--sync")
    assert refused.code == 2
    assert f"{first} was loaded under the same name, 'guide'" in refused.err
    assert library.keys() == ["guide/one.md"]
    done = await responsa("ingest", second, "--sync", "--root", "guide-b")
    assert done.code == 0, done.err
    assert library.keys() == ["guide-b/two.md", "guide/one.md"]
    # The user says that the folder takes the other's place.
    done = await responsa("ingest", second, "--sync", "--root", "guide")
    assert done.out.splitlines()[0] == "deleted  guide/one.md"
    assert library.keys() == ["guide-b/two.md", "guide/two.md"]
    wrong = await responsa("ingest", second, "--root", "a/b")
    assert (wrong.code, "'a/b' cannot be a root" in wrong.err) == (2, True)


async def test_watch_loads_what_changes(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    folder = guide(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "responsa_server", "ingest", str(folder), "--watch", "--sync", "--json"),
        env=responsa.environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:

        async def until(key: str, outcome: str) -> None:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                said = json.loads(line)
                if (said["sourceKey"], said["outcome"]) == (key, outcome):
                    return
            raise AssertionError(f"The command ended before {key} was {outcome}.")

        await until("guide/intro.md", "NEW")
        (folder / "intro.md").write_text("# Introduction")
        await until("guide/intro.md", "CHANGED")
        (folder / "parts" / "two.txt").unlink()
        await until("guide/parts/two.txt", "DELETED")
        assert library.keys() == ["guide/intro.md", "guide/parts/one.HTML"]
        process.send_signal(signal.SIGINT)
        await process.stdout.read()
        assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_many_are_in_flight_but_not_all(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    file = lines(tmp_path / "many.jsonl", *({"id": str(i), "text": f"Text {i}"} for i in range(100)))
    done = await responsa("ingest", file)
    assert done.out == "100 documents: 100 new, 0 changed, 0 unchanged, 0 failed\n"
    assert 1 < library.in_flight <= 8


async def test_nothing_to_take_in_is_bad_usage(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    guide(tmp_path)
    for argument, message in {
        "empty": "holds no documents",
        "missing.md": "does not exist",
        "*.nothing": "Nothing matches",
    }.items():
        done = await responsa("ingest", "guide", argument)
        assert done.code == 2
        assert message in done.err
    # The client only listed the formats and sent nothing.
    assert set(server.requests) == {f"{KNOWLEDGE}/ListFormats"}
    assert library.documents == {}


async def test_a_key_that_is_not_good_stops_it(
    responsa: CommandLine, server: Scripted, tmp_path: Path
) -> None:
    server.refuse(
        f"{KNOWLEDGE}/ListFormats",
        status(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_UNKNOWN", "Not known."),
    )
    done = await responsa("ingest", guide(tmp_path))
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("responsa: Not known. Check RESPONSA_API_KEY")


async def test_documents_are_listed_and_deleted(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    empty = await responsa("documents", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "The collection default has no documents. `-c` names another one" in empty.err
    await responsa("ingest", guide(tmp_path))
    names = {key: kept.document.name for (_, key), kept in library.documents.items()}
    listed = await responsa("documents", "list")
    assert listed.out.splitlines()[0] == f"{names['guide/intro.md']}  ready     guide/intro.md  "
    as_json = await responsa("documents", "list", "--json")
    assert [line["sourceKey"] for line in as_json.lines] == library.keys()
    missing = await responsa("documents", "delete", "guide/intro.md", "gone.md")
    assert missing.code == 2
    assert "has no document 'gone.md'" in missing.err
    assert len(library.documents) == 3
    done = await responsa("documents", "delete", "guide/intro.md", names["guide/parts/two.txt"])
    assert done.code == 0
    assert library.keys() == ["guide/parts/one.HTML"]
    assert (await responsa("documents", "list", "-c", "nowhere")).code == 2


async def test_documents_are_described_filtered_and_ordered(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    described = (
        "--label",
        "team=legal",
        "--label",
        "a=b=c",
        "--metadata",
        "year=2025",
        "--metadata",
        "by=Ann",
    )
    await responsa("ingest", guide(tmp_path), *described)
    for kept in library.documents.values():
        assert dict(kept.document.labels) == {"team": "legal", "a": "b=c"}
        assert json_format.MessageToDict(kept.document.metadata) == {"year": 2025, "by": "Ann"}
    listed = await responsa("documents", "list", "--filter", "labels.team = legal", "--order", "title desc")
    assert listed.code == 0
    (asked,) = server.requests[f"{KNOWLEDGE}/ListDocuments"]
    assert (asked.filter, asked.order_by) == ("labels.team = legal", "title desc")


async def test_a_key_with_an_asterisk_names_one_document(
    server: Scripted, responsa: CommandLine, library: ScriptedLibrary
) -> None:
    await responsa("documents", "show", r'a*"b\c')
    (asked,) = server.requests[f"{KNOWLEDGE}/ListDocuments"]
    assert asked.filter == r'source_key = "a\*\"b\\c"'


async def test_a_search_within_a_filter(server: Scripted, responsa: CommandLine, tmp_path: Path) -> None:
    async def batch(request: Any, _: Context) -> knowledge_service_pb2.BatchSearchResponse:
        responses = [knowledge_service_pb2.SearchResponse() for _ in request.requests]
        return knowledge_service_pb2.BatchSearchResponse(responses=responses)

    server.reply(f"{KNOWLEDGE}/Search", knowledge_service_pb2.SearchResponse())
    server.on(f"{KNOWLEDGE}/BatchSearch", batch)
    questions = tmp_path / "questions.txt"
    questions.write_text("rye\nmill\n")
    for given in (("rye",), ("--batch", questions)):
        done = await responsa("search", *given, "--filter", "date < 2025")
        assert done.code == 0, done.err
    (one,) = server.requests[f"{KNOWLEDGE}/Search"]
    (several,) = server.requests[f"{KNOWLEDGE}/BatchSearch"]
    assert [each.filter for each in (one, *several.requests)] == ["date < 2025"] * 3


async def test_a_collection_with_documents_is_deleted_only_by_force(
    responsa: CommandLine, library: ScriptedLibrary, tmp_path: Path
) -> None:
    await responsa("ingest", guide(tmp_path), "-c", "notes")
    refused = await responsa("collections", "delete", "notes", "--json")
    assert refused.code == 1
    assert refused.lines[0]["error"]["details"][0]["reason"] == "COLLECTION_NOT_EMPTY"
    assert "`responsa collections delete notes --force` deletes 3 documents too." in refused.err
    assert len(library.keys("collections/notes")) == 3
    done = await responsa("collections", "delete", "collections/notes", "--force", "--json")
    assert (done.code, done.lines) == (0, [{"deleted": "collections/notes", "documents": 3}])
    assert (library.documents, library.collections) == ({}, {"collections/default"})
    missing = await responsa("collections", "delete", "notes")
    assert (missing.code, missing.out) == (2, "")


async def test_operations_are_listed_followed_and_cancelled(responsa: CommandLine, server: Scripted) -> None:
    error = status(grpc.StatusCode.CANCELLED, "OPERATION_CANCELLED", "The operation was cancelled by a call.")
    cancelled = operation(error=error)

    async def watch(request: Any, context: Context) -> AsyncIterator[Any]:
        frame = knowledge_service_pb2.WatchOperationResponse
        if request.name == building.name:
            yield frame(operation=finished, seq=9)
            return
        if request.after_seq == 0:
            yield frame(operation=operation(), seq=2)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
        yield frame(
            operation=operation(ingested(key="rivers.md")) if request.after_seq == 2 else cancelled, seq=5
        )

    built = generation_pb2.Generation(name="collections/notes/generations/2", embedding="lab:words")
    building = operations_pb2.Operation(
        name=f"{OPERATION[:-1]}6",
        metadata=packed(
            generation_pb2.ReindexMetadata(
                generation=built.name,
                stage=document_pb2.INGEST_STAGE_EMBEDDING,
                passages_done=1,
                passages_total=3,
            )
        ),
    )
    finished = operations_pb2.Operation()
    finished.CopyFrom(building)
    finished.done = True
    finished.response.Pack(generation_pb2.ReindexResult(generation=built))

    async def listed(request: Any, _: Context) -> operations_pb2.ListOperationsResponse:
        every = [operation(), cancelled, building, finished]
        found = {"": every, "done = false": [one for one in every if not one.done]}
        return operations_pb2.ListOperationsResponse(operations=found[request.filter])

    server.on(f"{KNOWLEDGE}/WatchOperation", watch)
    server.on(f"{OPERATIONS}/ListOperations", listed)
    server.reply(f"{OPERATIONS}/CancelOperation", empty_pb2.Empty())
    server.reply(f"{OPERATIONS}/GetOperation", cancelled)
    running = f"running    1 of 2 passages  {DOCUMENT}"
    failed = f"failed     {DOCUMENT}  The operation was cancelled by a call."
    done = await responsa("operations", "list")
    assert done.out.splitlines() == [
        f"{OPERATION}  {running}",
        f"{OPERATION}  {failed}",
        f"{building.name}  embedding  1 of 3 passages  {built.name}",
        f"{building.name}  done       {built.name}  lab:words",
    ]
    done = await responsa("operations", "list", "--running", "--json")
    assert [line["name"] for line in done.lines] == [OPERATION, building.name]
    done = await responsa("operations", "watch", OPERATION.removeprefix("operations/"))
    assert (done.code, done.out.splitlines()) == (0, [running, f"done       {DOCUMENT}  rivers.md"])
    done = await responsa("operations", "watch", OPERATION, "--after", "3", "--json")
    assert (done.code, done.lines[0]["seq"]) == (1, "5")
    assert done.err == "responsa: The operation was cancelled by a call.\n"
    done = await responsa("operations", "watch", building.name)
    assert (done.code, done.out) == (0, f"done       {built.name}  lab:words\n")
    done = await responsa("operations", "cancel", OPERATION)
    assert (done.code, done.out) == (0, f"{OPERATION}  {failed}\n")


def data_set(folder: Path) -> Path:
    folder.mkdir()
    lines(
        folder / "docs.jsonl", {"id": "a", "text": "Émile wrote it."}, {"id": "b", "text": "It was in 1898."}
    )
    gold = {"text": "Émile", "doc_id": "a", "byte_start": 0, "byte_end": 6}
    lines(
        folder / "questions.jsonl",
        {"id": "1", "question": "right first", "doc_ids": ["a"], "answers": [gold], "answerable": True},
        {"id": "2", "question": "right second", "doc_ids": ["b"], "answers": [], "answerable": True},
        {"id": "3", "question": "never", "doc_ids": ["a"], "answers": [], "answerable": False},
    )
    return folder


async def test_eval_retrieval(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    async def search(request: Any, _: Context) -> knowledge_service_pb2.SearchResponse:
        assert list(request.scope.collections) == ["collections/eval-my-set"]
        found = [
            document_pb2.Passage(document=library.documents[request.scope.collections[0], key].document.name)
            for key in ("a", "a", "b")
        ]
        return knowledge_service_pb2.SearchResponse(
            hits=[knowledge_service_pb2.SearchHit(passage=passage) for passage in found]
        )

    server.on(f"{KNOWLEDGE}/Search", search)
    done = await responsa("eval", "retrieval", data_set(tmp_path / "My_set"), "--json")
    assert done.code == 0, done.err
    assert done.lines == [
        {
            "questions": 2,
            "recallAt1": 0.5,
            "recallAt3": 1.0,
            "recallAt5": 1.0,
            "recallAt10": 1.0,
            "ndcgAt10": pytest.approx((1 + 0.6309) / 2, abs=1e-4),
            "mrrAt10": 0.75,
        }
    ]
    assert "recallAt1   0.500" in (await responsa("eval", "retrieval", tmp_path / "My_set")).out


async def test_eval_retrieval_compares_rankings(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    """Words find b before a, and vectors find a alone. The fusion of both has a first."""
    orders = {
        (knowledge_service_pb2.SEARCH_MODE_HYBRID, True): "ab",
        (knowledge_service_pb2.SEARCH_MODE_TEXT, False): "ba",
        (knowledge_service_pb2.SEARCH_MODE_VECTOR, True): "a",
    }

    async def batch(request: Any, _: Context) -> knowledge_service_pb2.BatchSearchResponse:
        responses: list[knowledge_service_pb2.SearchResponse] = []
        for one in request.requests:
            again = not one.HasField("rerank") or one.rerank
            found = [
                document_pb2.Passage(document=library.documents[one.scope.collections[0], key].document.name)
                for key in orders[one.mode, again]
            ]
            hits = [knowledge_service_pb2.SearchHit(passage=passage) for passage in found]
            responses.append(knowledge_service_pb2.SearchResponse(hits=hits))
        return knowledge_service_pb2.BatchSearchResponse(responses=responses)

    server.on(f"{KNOWLEDGE}/BatchSearch", batch)
    done = await responsa("eval", "retrieval", data_set(tmp_path / "set"), "--compare", "--json")
    assert done.code == 0, done.err
    (tables,) = done.lines
    half = pytest.approx((1 + 0.6309) / 2, abs=1e-4)
    assert {way: (table["recallAt1"], table["ndcgAt10"]) for way, table in tables.items()} == {
        "hybrid": (0.5, half),
        "bm25": (0.5, half),
        "vectors": (0.5, 0.5),
        "rrf": (0.5, half),
    }
    # One question wants a and the other wants b.
    assert tables["vectors"]["firstHalf"] != tables["vectors"]["secondHalf"]
    shown = (await responsa("eval", "retrieval", tmp_path / "set", "--compare")).out.splitlines()
    assert shown[0].split() == ["ranking", "recallAt1", "ndcgAt10", "firstHalf", "secondHalf"]
    assert shown[3].split()[:3] == ["vectors", "0.500", "0.500"]


async def test_eval_answers(
    responsa: CommandLine, server: Scripted, library: ScriptedLibrary, tmp_path: Path
) -> None:
    async def reply(request: Any, _: Context) -> turn_pb2.Turn:
        event = answer(3) if request.text == "right first" else refused(3)
        for citation in event.answer.citations:
            kept = library.documents["collections/eval-set", "a"].document.name
            citation.document_version = f"{kept}/versions/1"
            citation.source_range.CopyFrom(
                byte_range_pb2.ByteRange(start=0, end=len(citation.quote.encode()))
            )
        return turn_pb2.Turn(name=TURN, conversation=CONVERSATION, terminal_event=event)

    deleted: list[str] = []

    async def delete(request: Any, context: Context) -> Any:
        deleted.append(request.name)
        await abort(context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"))

    async def verify(request: Any, context: Context) -> chat_service_pb2.VerifyCitationsResponse:
        turn = await reply(chat_service_pb2.AnswerRequest(text="right first"), context)
        return chat_service_pb2.VerifyCitationsResponse(
            checks=[
                chat_service_pb2.CitationCheck(citation=citation, verdict=citation_pb2.CITATION_VERDICT_VALID)
                for citation in turn.terminal_event.answer.citations
            ]
        )

    server.on(f"{CHAT}/Answer", reply)
    server.on(f"{CHAT}/VerifyCitations", verify)
    server.on(f"{CHAT}/DeleteConversation", delete)
    done = await responsa("eval", "answers", data_set(tmp_path / "set"), "--json")
    assert done.code == 0, done.err
    assert done.lines == [
        {
            "questions": 3,
            "answerable": 2,
            "unanswerable": 1,
            "failed": 0,
            "goldInAnswer": 1.0,
            "goldInGiven": 1.0,
            "goldCited": 1.0,
            "refusedAnswerable": 0.5,
            "refusedUnanswerable": 1.0,
            # The first quote is the document's text; the second is not, whatever the server's verdict.
            "citations": 2,
            "verified": 0.5,
        }
    ]
    assert deleted == [CONVERSATION] * 3


async def test_eval_needs_its_files(responsa: CommandLine, tmp_path: Path) -> None:
    done = await responsa("eval", "answers", tmp_path)
    assert done.code == 2
    assert "holds no docs.jsonl" in done.err
    folder = data_set(tmp_path / "set")
    (folder / "questions.jsonl").write_text('{"id": 1}\n')
    done = await responsa("eval", "retrieval", folder)
    assert done.code == 2
    assert "questions.jsonl line 1 is not a valid question" in done.err
