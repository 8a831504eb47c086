"""`responsa ask`, `search` and `open`: what they write to stdout and to stderr, and their exit codes."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from clients.conformance.server import Context, abort, status
from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa.type.v1 import byte_range_pb2
from tests.certificates import certificate
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    ANSWER,
    AUTH,
    CHAT,
    CONVERSATION,
    KEY,
    KNOWLEDGE,
    TURN,
    Scripted,
    answer,
    excerpt,
    failed,
    frame,
    passages,
    refused,
    started,
    step,
    whole_turn,
    without_deltas,
)

ASK = f"{CHAT}/Ask"
GO_ON = f"responsa: `responsa ask --conversation {CONVERSATION}` continues this conversation.\n"


def replies(server: Scripted, events: list[turn_pb2.TurnEvent]) -> None:
    async def script(request: Any, _: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        shown = events if request.include_deltas else without_deltas(events)
        yield frame(0, 2, shown)
        yield frame(2, events[-1].seq, shown)

    server.on(ASK, script)


def refuses(server: Scripted, path: str, code: grpc.StatusCode, reason: str) -> None:
    server.refuse(path, status(code, reason, "It is so.", violations=[("text", "rule", "must hold text")]))


async def test_the_answer_has_marks_and_sources(server: Scripted, responsa: CommandLine) -> None:
    replies(server, whole_turn())
    done = await responsa("ask", "Who wrote it?")
    assert done.code == 0
    assert done.err == GO_ON
    assert done.out.splitlines() == [
        "Émile wrote it. [1] It was in 1898. [2]",
        "",
        "Sources",
        "[1] Letters (letters.md)",
        '    "Émile wrote it."',
        "[2] Letters (letters.md)",
        '    "It was in 1898."',
        "",
        "Responsa checked that the quotes are there, not that they are right.",
    ]
    assert server.authorizations == [f"Bearer {KEY}"]


async def test_below_an_answer_that_names_no_source_stand_the_closest_passages(
    server: Scripted, responsa: CommandLine
) -> None:
    event = answer(3, "Émile wrote it.")
    del event.answer.citations[:]
    event.answer.fallbacks.add(kind=turn_pb2.FALLBACK_KIND_UNCITED, cause="no_marks")
    event.answer.more_excerpts.append(excerpt("Anna read it.", "more.md"))
    replies(server, [started(), step(2), event])
    done = await responsa("ask", "Who wrote it?")
    assert done.out.splitlines() == [
        "Émile wrote it.",
        "",
        "Closest passages",
        "",
        "[1] Letters › Authors (post, more.md, bytes 0-13)",
        "    Anna read it.",
    ]


async def test_without_a_model_the_passages_are_printed(server: Scripted, responsa: CommandLine) -> None:
    event = passages(3)
    event.answer.more_excerpts.append(excerpt("Anna burnt it.", "burnt.md", shown=False))
    replies(server, [started(), step(2), event])

    async def passage(request: Any, context: Context) -> document_pb2.Passage:
        assert request.turn == TURN
        if request.name == "passages/burnt.md":
            await abort(context, status(grpc.StatusCode.NOT_FOUND, "SOURCE_DELETED", "It is gone."))
        return document_pb2.Passage(excerpt=excerpt("Anna read it.", "more.md"))

    server.on(f"{KNOWLEDGE}/GetPassage", passage)
    done = await responsa("ask", "Who wrote it?")
    shown = [
        "No language model is configured. Closest passages:",
        "",
        "[1] Letters › Authors (post, letters.md, bytes 0-16)",
        "    Émile wrote it.",
    ]
    assert done.out.splitlines() == shown
    more = f"responsa: 2 more passages: `responsa resume {TURN} --more` prints all of them in full."
    assert done.err == f"{more}\n{GO_ON}"
    whole = await responsa("ask", "Who wrote it?", "--more")
    further = [
        "",
        "[2] Letters › Authors (post, more.md, bytes 0-13)",
        "    Anna read it.",
        "",
        "[3] Letters › Authors (post, burnt.md, bytes 0-14)",
        "    It is gone.",
    ]
    assert (whole.out.splitlines(), whole.err) == ([*shown, *further], GO_ON)
    answered = (await responsa("ask", "--json", "--no-deltas", "Who wrote it?")).lines[-1]["answer"]
    assert [len(answered[name]) for name in ("excerpts", "moreExcerpts")] == [1, 2]


async def test_a_refusal_is_followed_by_the_closest_passages(server: Scripted, responsa: CommandLine) -> None:
    ending = refused(3)
    ending.refused.excerpts.append(excerpt("Émile wrote it.", "letters.md"))
    replies(server, [started(), step(2), ending])
    assert (await responsa("ask", "Who?")).out.splitlines() == [
        "Nothing in the documents supports an answer.",
        "",
        "[1] Letters › Authors (post, letters.md, bytes 0-16)",
        "    Émile wrote it.",
    ]


async def test_a_question_that_waits_for_a_limit_says_so(server: Scripted, responsa: CommandLine) -> None:
    async def limited(_: Any, context: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        if len(server.requests[ASK]) == 1:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            used = "You have used up the limit of 10 questions a minute; try again in 1 second."
            await abort(context, status(code, "RATE_LIMIT", used, retry_after=0.001))
        yield frame(0, 6, whole_turn())

    server.on(ASK, limited)
    done = await responsa("ask", "--json", "Who?")
    assert done.code == 0
    used = "responsa: You have used up the limit of 10 questions a minute."
    assert re.fullmatch(rf"{used} Waiting until \d\d:\d\d:\d\d, 1 second\.\n", done.err)


async def test_a_conversation_goes_on_with_the_same_options(server: Scripted, responsa: CommandLine) -> None:
    replies(server, [started(), step(2), refused(3)])
    options = ("--agent", "chat", "--collection", "notes", "--filter", "title:letters", "--max-cost", "0.05")
    done = await responsa(
        "ask", "Who?", "--conversation", CONVERSATION.removeprefix("conversations/"), *options
    )
    assert (
        done.err
        == f"responsa: `responsa ask --conversation {CONVERSATION} {' '.join(options)}` continues this conversation.\n"
    )
    assert server.requests[ASK][0].conversation == CONVERSATION
    assert server.requests[ASK][0].options.scope.filter == "title:letters"

    wrong = [("conversation", "string.pattern", "must be a conversation")]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    server.refuse(ASK, status(invalid, "INVALID_FIELD", "It is so.", violations=wrong))
    done = await responsa("ask", "Who?", "--conversation", "notes")
    assert done.code == 2
    assert "--collection selects a collection." in done.err


async def test_json_is_one_event_a_line_with_proto_names(server: Scripted, responsa: CommandLine) -> None:
    replies(server, whole_turn())
    collections = ("--collection", "notes", "--collection", "letters")
    done = await responsa("ask", "--json", "Who?", *collections, "--conversation", CONVERSATION)
    assert done.code == 0
    events = done.lines
    assert [event["seq"] for event in events] == ["1", "2", "3", "4", "5", "6"]
    assert events[0]["started"]["createdConversation"] is True
    assert ["turn" in event for event in events] == [True, *[False] * 5]
    assert events[0]["turn"] == TURN
    assert "".join(event["delta"]["text"] for event in events if "delta" in event) == ANSWER
    cited = events[-1]["answer"]["citations"]
    assert [one["quote"] for one in cited] == ["Émile wrote it.", "It was in 1898."]
    assert cited[0]["sourceRange"] == {"start": "100", "end": "116"}
    request = server.requests[ASK][0]
    assert request.conversation == CONVERSATION
    assert list(request.options.scope.collections) == ["collections/notes", "collections/letters"]


async def test_json_without_deltas_and_with_a_request_id(server: Scripted, responsa: CommandLine) -> None:
    replies(server, whole_turn())
    mine = "0192f3c8-0000-7000-8000-00000000000a"
    done = await responsa("ask", "--json", "--no-deltas", "--request-id", mine, "Who?")
    assert [event["seq"] for event in done.lines] == ["1", "2", "6"]
    assert server.requests[ASK][0].request_id == mine


async def test_the_question_may_come_from_standard_input(server: Scripted, responsa: CommandLine) -> None:
    replies(server, whole_turn())
    done = await responsa("ask", "-", stdin="Qui l’a écrit ?\n".encode())
    assert done.code == 0
    assert server.requests[ASK][0].text == "Qui l’a écrit ?"
    assert (await responsa("ask", "-", stdin=b"\xff")).code == 2


async def test_a_refusal_is_no_failure(server: Scripted, responsa: CommandLine) -> None:
    replies(server, [started(), step(2), refused(3)])
    done = await responsa("ask", "Who?")
    assert (done.code, done.out) == (0, "Nothing in the documents supports an answer.\n")
    done = await responsa("ask", "--json", "Who?")
    assert done.code == 0
    assert done.lines[-1]["refused"]["reason"] == "REFUSAL_REASON_NO_SUPPORT"


async def test_a_failed_turn_exits_with_1(server: Scripted, responsa: CommandLine) -> None:
    replies(server, [started(), step(2), failed(3)])
    done = await responsa("ask", "Who?")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"responsa: The worker was lost. Ask again.\n{GO_ON}"
    done = await responsa("ask", "--json", "Who?")
    assert done.code == 1
    last = done.lines[-1]["failed"]
    assert last["status"]["details"][0]["reason"] == "WORKER_LOST"


@pytest.mark.parametrize(
    ("message", "seconds", "remedy"),
    [
        ("The model broke off; ask again.", 1, "The model broke off; ask again in 1 second."),
        ("The model broke off; ask again.", 30, "The model broke off; ask again in 30 seconds."),
        ("The model broke off; ask again.", None, "The model broke off; ask again."),
        ("The server is full.", 2, "The server is full. Try again in 2 seconds."),
        (
            "It took too long; ask again or ask for less.",
            None,
            "It took too long; ask again or ask for less.",
        ),
        ("The worker was lost.", None, "The worker was lost. Ask again."),
    ],
)
async def test_a_failure_has_one_remedy(
    server: Scripted, responsa: CommandLine, message: str, seconds: int | None, remedy: str
) -> None:
    ending = failed(3)
    ending.failed.status.message = message
    if seconds is not None:
        ending.failed.status.details.add().Pack(
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))
        )
    replies(server, [started(), step(2), ending])
    assert (await responsa("ask", "Who?")).err == f"responsa: {remedy}\n{GO_ON}"


async def test_an_answer_cannot_drive_the_terminal(server: Scripted, responsa: CommandLine) -> None:
    text = "\x1b[2Jgone\x07 [bold]kept[/bold]\u202e\u00a0x"
    event = answer(3, text)
    del event.answer.citations[:]
    replies(server, [started(), step(2), event])
    done = await responsa("ask", "Who?")
    assert done.out == "\ufffd[2Jgone\ufffd [bold]kept[/bold]\ufffd x\n"


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", 2),
        (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", 2),
        (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", 2),
        (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_UNKNOWN", 3),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", 1),
        (grpc.StatusCode.ABORTED, "CONVERSATION_BUSY", 1),
        (grpc.StatusCode.INTERNAL, "INTERNAL", 1),
    ],
)
async def test_errors_before_the_turn(
    server: Scripted, responsa: CommandLine, code: grpc.StatusCode, reason: str, exit_code: int
) -> None:
    refuses(server, ASK, code, reason)
    done = await responsa("ask", "--json", "Who?")
    assert done.code == exit_code
    assert done.err.startswith("responsa: It is so. text: must hold text.")
    assert "Traceback" not in done.err
    (line,) = done.lines
    assert line["error"]["code"] == code.value[0]
    assert line["error"]["details"][0]["reason"] == reason
    without = await responsa("ask", "Who?")
    assert (without.code, without.out, without.err) == (exit_code, "", done.err)


async def test_bad_usage_exits_with_2(responsa: CommandLine) -> None:
    for arguments in (
        (),
        ("ask",),
        ("aks", "Who?"),
        ("ask", "--nope", "Who?"),
        ("ask", b"\xff\xfe"),
        ("eval",),
    ):
        done = await responsa(*arguments)
        assert done.code == 2, arguments
        assert "Traceback" not in done.err
    assert "Did you mean 'ask'" in (await responsa("aks")).err


async def test_a_certificate_that_is_not_accepted_is_named(responsa: CommandLine, tmp_path: Path) -> None:
    key, chain = certificate("localhost")
    pem = tmp_path / "pem"
    pem.write_bytes(key + chain)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(pem)
    secure.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(lambda _, out: out.close(), "127.0.0.1", 0, ssl=secure) as server:
        port = server.sockets[0].getsockname()[1]
        done = await responsa("ask", "Who?", RESPONSA_URL=f"https://localhost:{port}")
    assert done.code == 3
    assert f"The certificate of the server at https://localhost:{port} is not accepted" in done.err
    assert "responsa up" not in done.err


async def test_without_a_server_or_a_key_it_exits_with_3(responsa: CommandLine, tmp_path: Path) -> None:
    # A bound port at which nobody listens stays so: no other test can get it.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = await responsa("ask", "--json", "Who?", RESPONSA_URL=url)
    assert done.code == 3
    assert f"No server answers at {url} (Connection refused)." in done.err
    assert "`responsa up`" in done.err
    assert done.lines[0]["error"]["code"] == 14
    done = await responsa("ask", "Who?", RESPONSA_API_KEY="")
    assert done.code == 3
    assert f"{tmp_path / 'home' / 'api-key'} does not exist" in done.err
    wrong = tmp_path / "wrong"
    wrong.write_text("two words")
    assert (await responsa("ask", "Who?", RESPONSA_API_KEY="", RESPONSA_API_KEY_FILE=str(wrong))).code == 3
    assert (await responsa("ask", "Who?", RESPONSA_API_KEY="", RESPONSA_API_KEY_FILE=str(tmp_path))).code == 3


async def test_settings_that_cannot_be_right_are_named(responsa: CommandLine) -> None:
    done = await responsa("ask", "Who?", RESPONSA_PORT="99999")
    assert done.code == 2
    assert "RESPONSA_PORT is not valid" in done.err
    done = await responsa("ask", "Who?", RESPONSA_URL="ftp://x")
    assert done.code == 2
    assert "RESPONSA_URL" in done.err


async def test_the_key_comes_from_the_data_folder_or_a_file(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    replies(server, whole_turn())
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api-key").write_text("rsp_home\n")
    (tmp_path / "other").write_text("rsp_file\n")
    assert (await responsa("ask", "Who?", RESPONSA_API_KEY="")).code == 0
    other = str(tmp_path / "other")
    assert (await responsa("ask", "Who?", RESPONSA_API_KEY="", RESPONSA_API_KEY_FILE=other)).code == 0
    moved = f"127.0.0.1:{server.port}"
    assert (await responsa("ask", "Who?", RESPONSA_PORT="1", RESPONSA_URL=moved)).code == 0
    assert server.authorizations == ["Bearer rsp_home", "Bearer rsp_file", f"Bearer {KEY}"]


async def test_search(server: Scripted, responsa: CommandLine) -> None:
    passage = document_pb2.Passage(
        title="Letters",
        headings=["One", "Two"],
        text="First line.\nSecond \x1b line.",
        collection="collections/notes",
        document_version="documents/1/versions/2",
        source_range=byte_range_pb2.ByteRange(start=9, end=34),
    )

    parts: knowledge_service_pb2.ScoreParts | None = None

    async def script(request: Any, _: Context) -> knowledge_service_pb2.SearchResponse:
        found = (
            [knowledge_service_pb2.SearchHit(passage=passage, score=0.75, parts=parts)]
            if "first" in request.terms
            else []
        )
        return knowledge_service_pb2.SearchResponse(hits=found)

    server.on(f"{KNOWLEDGE}/Search", script)
    done = await responsa("search", "first", "second", "-k", "3", "--mode", "text", "-c", "notes")
    assert done.out.splitlines() == [
        "",
        "[1] Letters › One › Two (notes, documents/1/versions/2, bytes 9-34, score 0.750)",
        "    First line.",
        "    Second \ufffd line.",
    ]
    searched = server.requests[f"{KNOWLEDGE}/Search"][0]
    assert (searched.top_k, searched.mode) == (3, knowledge_service_pb2.SEARCH_MODE_TEXT)
    assert (await responsa("search", "nothing")).out == "Nothing found.\n"
    passage.title, parts = "Reranked", knowledge_service_pb2.ScoreParts(reranker=-1.5)
    reranked = (await responsa("search", "first")).out
    assert "[1] Reranked › One › Two (" in reranked
    assert ", score 0.750, reranker -1.500)\n" in reranked
    assert (await responsa("search", "--json", "first")).lines[0]["passage"]["headings"] == ["One", "Two"]
    assert (await responsa("search", "--json", "nothing")).out == ""
    assert not searched.HasField("rerank")
    await responsa("search", "first", "--no-rerank")
    last = server.requests[f"{KNOWLEDGE}/Search"][-1]
    assert (last.HasField("rerank"), last.rerank) == (True, False)


async def test_search_for_each_line_of_a_file(
    server: Scripted, responsa: CommandLine, tmp_path: Path
) -> None:
    """A call has at most 64 searches, which ask for at most 640 passages together."""

    async def script(request: Any, _: Context) -> knowledge_service_pb2.BatchSearchResponse:
        found = [
            [knowledge_service_pb2.SearchHit(excerpt=excerpt("Anna read it.", one.terms[0]), score=0.5)]
            if "1" in one.terms[0]
            else []
            for one in request.requests
        ]
        return knowledge_service_pb2.BatchSearchResponse(
            responses=[knowledge_service_pb2.SearchResponse(hits=hits) for hits in found]
        )

    server.on(f"{KNOWLEDGE}/BatchSearch", script)
    file = tmp_path / "questions.txt"
    file.write_text("\n".join(f"  question {number}\n" for number in range(30)))
    done = await responsa("search", "--batch", file, "-k", "40", "-c", "notes")
    assert done.out.splitlines()[:5] == [
        "question 0",
        "Nothing found.",
        "question 1",
        "",
        "[1] Letters › Authors (post, question 1, bytes 0-13, score 0.500)",
    ]
    calls = server.requests[f"{KNOWLEDGE}/BatchSearch"]
    assert [len(one.requests) for one in calls] == [16, 14]
    assert {(one.top_k, *one.scope.collections) for call in calls for one in call.requests} == {
        (40, "collections/notes")
    }
    rows = (await responsa("search", "--batch", file, "--json")).lines
    assert [len(one.requests) for one in server.requests[f"{KNOWLEDGE}/BatchSearch"][2:]] == [30]
    assert [(row["search"], len(row["hits"])) for row in rows[:2]] == [("question 0", 0), ("question 1", 1)]
    for wrong in ([], ["one", "--batch", str(file)]):
        done = await responsa("search", *wrong)
        assert (done.code, done.out) == (2, "")
        assert "--batch" in done.err
    file.write_bytes(b"\xff\xfe")
    done = await responsa("search", "--batch", file)
    assert (done.code, done.out) == (2, "")
    assert "UTF-8" in done.err


async def test_open_prints_a_url_that_signs_in(server: Scripted, responsa: CommandLine) -> None:
    server.reply(f"{AUTH}/CreateSessionCode", auth_service_pb2.CreateSessionCodeResponse(code="rsc_abc"))
    assert (await responsa("open")).out == f"{server.url}/#code=rsc_abc\n"
    assert (await responsa("open", "--json")).lines == [
        {"url": f"{server.url}/#code=rsc_abc", "expireTime": None}
    ]
    refuses(server, f"{AUTH}/CreateSessionCode", grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REVOKED")
    done = await responsa("open")
    assert done.code == 3
    assert "RESPONSA_API_KEY" in done.err


async def test_version_asks_nobody_and_loads_little(server: Scripted, responsa: CommandLine) -> None:
    await server.stop()
    done = await responsa("--version", RESPONSA_API_KEY="", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    assert done.out.startswith("responsa ")
    assert "grpc" not in done.err
    assert "pydantic_settings" not in done.err


async def test_help_loads_little(responsa: CommandLine) -> None:
    done = await responsa("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.code == 0
    for library in ("grpc", "markdown_it", "rich.console"):
        assert library not in done.err
