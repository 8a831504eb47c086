"""A newcomer's first steps, over the command line and the transports."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from responsa.chat.v1 import chat_service_pb2 as chat
from tests.callers import Credential, Registry, Tenant
from tests.instance import Instance
from tests.transports import Json, Outcome, Way, Ways, stub_of

ISLANDS = "Skye lies in the Inner Hebrides. The Cuillin on Skye rises to 992 metres.\n"


def ingest(ways: Ways, headers: dict[str, str], key: str, text: str, **metadata: str) -> Json:
    request = {"metadata": {"sourceKey": key, **metadata}, "text": text}
    name = ways.call("KnowledgeService/CreateDocument", request, headers).message["name"]
    waited = ways.call("Operations/WaitOperation", {"name": name, "timeout": "60s"}, headers).message
    assert "error" not in waited
    document: Json = waited["response"]["document"]
    return document


def answer(ways: Ways, headers: dict[str, str], text: str, **more: Any) -> Json:
    return ways.call("ChatService/Answer", {"text": text, **more}, headers).message


def test_a_newcomer_gets_a_cited_answer(instance: Instance, tmp_path: Path) -> None:
    """The commands of the README work on the user's own folder. The tests in tests/docs ask about Responsa's documents."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "islands.md").write_text(f"# Islands\n\n{ISLANDS}")
    (folder / "birds.txt").write_text("A gannet dives from thirty metres.")
    (folder / "page.html").write_text("<title>Boats</title><p>The boat to Rum is called Sheerwater.</p>")
    (folder / "more.jsonl").write_text(
        json.dumps({"id": "eigg", "title": "Eigg", "text": "Eigg was bought by its people in 1997."})
        + "\n{}\n"
    )
    done = instance.run(
        "ingest", "--collection", "islands", str(folder), str(folder / "more.jsonl"), check=False
    )
    assert done.returncode == 1, "a line without id and text is an error of that file alone"
    assert "more.jsonl" in done.stdout + done.stderr
    for question, expected in (
        ("How high does the Cuillin rise?", "992 metres"),
        ("From how high does a gannet dive?", "thirty metres"),
        ("What is the boat to Rum called?", "Sheerwater"),
        ("When was Eigg bought by its people?", "1997"),
    ):
        lines = instance.run("ask", "--json", "--collection", "islands", question).stdout.splitlines()
        events = [json.loads(line) for line in lines]
        assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
        final = events[-1]["answer"]
        assert expected in final["text"], question
        assert "".join(event["delta"]["text"] for event in events if "delta" in event) == final["text"]
        assert final["citations"]
    found = instance.run("search", "--json", "--collection", "islands", "gannet").stdout.splitlines()
    assert "gannet" in json.loads(found[0])["passage"]["text"]
    again = instance.run("ingest", "--collection", "islands", str(folder / "islands.md"))
    assert "unchanged" in again.stdout + again.stderr


def test_every_excerpt_of_an_answer_opens_its_passage(ways: Ways, tenant: Tenant) -> None:
    headers = tenant.headers(Credential.USER)
    document = ingest(ways, headers, "islands.md", f"# Islands – «ς»\n\n{ISLANDS}")
    turn = answer(ways, headers, "How high does the Cuillin rise?")
    final = turn["terminalEvent"]["answer"]
    content = ways.call("KnowledgeService/GetDocumentContent", {"name": document["name"]}, headers)
    canonical = "".join(piece["text"] for piece in content.messages).encode()

    def part(whole: bytes, place: Json) -> bytes:
        return whole[int(place.get("start", 0)) : int(place["end"])]

    for citation, excerpt in zip(final["citations"], final["excerpts"], strict=True):
        assert part(canonical, excerpt["sourceRange"]).decode() == excerpt["markdown"]
        assert excerpt["markdown"] in final["text"]
        assert "markedRange" not in excerpt
        quote = part(canonical, citation["sourceRange"])
        assert quote.decode() == citation["quote"]
        assert citation["quote"] in excerpt["markdown"]
        assert part(final["text"].encode(), citation["answerRange"]).decode() == excerpt["markdown"]
        assert hashlib.sha256(quote).digest() == base64.b64decode(citation["sha256"])
        passage = ways.call("KnowledgeService/GetPassage", {"name": citation["passage"]}, headers).message
        assert citation["quote"] in passage["text"]


def test_two_tenants_never_see_each_other(registry: Registry, ways: Ways) -> None:
    north, south = (registry.new_tenant().headers(Credential.ADMIN) for _ in range(2))
    document = ingest(ways, north, "islands.md", ISLANDS)
    turn = answer(ways, north, "How high does the Cuillin rise?")
    assert "992" in turn["terminalEvent"]["answer"]["text"]
    assert answer(ways, south, "How high does the Cuillin rise?")["state"] == "TURN_STATE_REFUSED"
    citation = turn["terminalEvent"]["answer"]["citations"][0]
    messages = ways.call("ChatService/ListMessages", {"parent": turn["conversation"]}, north).message[
        "messages"
    ]
    hidden: list[tuple[str, Json]] = [
        ("ChatService/GetTurn", {"name": turn["name"]}),
        ("ChatService/ResumeTurn", {"turn": turn["name"]}),
        ("ChatService/CancelTurn", {"name": turn["name"]}),
        ("ChatService/GetConversation", {"name": turn["conversation"]}),
        ("ChatService/DeleteConversation", {"name": turn["conversation"]}),
        ("ChatService/ListMessages", {"parent": turn["conversation"]}),
        ("ChatService/GetMessage", {"name": messages[1]["name"]}),
        ("ChatService/VerifyCitations", {"name": turn["name"]}),
        ("ChatService/VerifyCitations", {"name": messages[1]["name"]}),
        ("ChatService/Ask", {"text": "And?", "conversation": turn["conversation"]}),
        ("KnowledgeService/GetDocument", {"name": document["name"]}),
        ("KnowledgeService/GetDocumentContent", {"name": citation["documentVersion"]}),
        ("KnowledgeService/GetPassage", {"name": citation["passage"]}),
        ("KnowledgeService/DeleteDocument", {"name": document["name"]}),
    ]
    for call, request in hidden:
        problem = ways.call(call, request, south).problem
        assert problem is not None, call
        assert problem["code"] == 5, call
    for call, field in (
        ("ChatService/ListTurns", "name"),
        ("ChatService/ListConversations", "name"),
        ("KnowledgeService/ListCollections", "documentCount"),
        ("Operations/ListOperations", "name"),
    ):
        listed = json.dumps(ways.call(call, {}, south).message)
        assert document["name"] not in listed, (call, field)
        assert turn["name"] not in listed
    assert ways.call("KnowledgeService/Search", {"terms": ["Cuillin"]}, south).message.get("hits") is None
    # In another tenant, the same request_id stands for another turn.
    request_id = "6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11"
    mine = answer(ways, north, "Where is Skye?", requestId=request_id)
    theirs = answer(ways, south, "Something else?", requestId=request_id)
    assert mine["name"] != theirs["name"]


def raw_events(
    instance: Instance, ways: Ways, request: chat.AskRequest, headers: dict[str, str]
) -> list[bytes]:
    frames = stub_of(ways.channel, "ChatService").Ask(request, metadata=[*headers.items()], timeout=60)
    return [event.SerializeToString(deterministic=True) for frame in frames for event in frame.events]


def test_the_same_request_id_is_the_same_turn_byte_for_byte(
    instance: Instance, ways: Ways, tenant: Tenant, registry: Registry
) -> None:
    headers = tenant.headers(Credential.USER)
    ingest(ways, headers, "islands.md", ISLANDS)
    request = chat.AskRequest(
        text="How high does the Cuillin rise?", request_id="6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11"
    )
    request.include_deltas = True
    live = raw_events(instance, ways, request, headers)
    before = registry.rows(tenant.name)
    assert raw_events(instance, ways, request, headers) == live
    # A request with the same request_id in capitals is still the same question, even if it asks for other events.
    request.request_id = request.request_id.upper()
    request.include_deltas = False
    without = raw_events(instance, ways, request, headers)
    assert [one for one in live if one in without] == without
    assert len(without) < len(live)
    for way in (Way.WEB, Way.REST):
        asked = {"text": request.text, "requestId": request.request_id}
        outcome = ways.call("ChatService/Answer", asked, headers, way)
        assert outcome.message["state"] == "TURN_STATE_ANSWERED"
    assert registry.rows(tenant.name) == before, "a replay made something"


def test_what_was_deleted_answers_no_more(ways: Ways, tenant: Tenant) -> None:
    headers = tenant.headers(Credential.USER)
    document = ingest(ways, headers, "islands.md", ISLANDS)
    turn = answer(ways, headers, "How high does the Cuillin rise?")

    def verdicts() -> set[str]:
        checks = ways.call("ChatService/VerifyCitations", {"name": turn["name"]}, headers).message["checks"]
        return {check["verdict"] for check in checks}

    assert verdicts() == {"CITATION_VERDICT_VALID"}
    # Words after the sentence have changed. The quote is still in its place, but the source is now another version.
    ingest(ways, headers, "islands.md", "This text no longer mentions mountains.")
    assert verdicts() == {"CITATION_VERDICT_SOURCE_CHANGED"}
    old = turn["terminalEvent"]["answer"]["citations"][0]
    passage = ways.call("KnowledgeService/GetPassage", {"name": old["passage"]}, headers).message
    assert old["quote"] in passage["text"], "an answer's passage is kept while it is cited"
    assert old["quote"] not in str(answer(ways, headers, "How high does the Cuillin rise?"))
    ingest(ways, headers, "islands.md", ISLANDS)
    assert old["quote"] in str(answer(ways, headers, "How high does the Cuillin rise?"))
    ways.call("KnowledgeService/DeleteDocument", {"name": document["name"]}, headers)
    assert old["quote"] not in str(answer(ways, headers, "How high does the Cuillin rise?"))
    assert verdicts() == {"CITATION_VERDICT_SOURCE_DELETED"}
    kept = ways.call("ChatService/GetTurn", {"name": turn["name"]}, headers).message
    assert kept["terminalEvent"] == turn["terminalEvent"]
    gone: Outcome = ways.call("KnowledgeService/GetPassage", {"name": old["passage"]}, headers)
    assert gone.problem is not None


def test_what_is_no_longer_shared_is_withheld_over_every_transport(ways: Ways, tenant: Tenant) -> None:
    owner, reader = tenant.headers(Credential.USER), tenant.headers(Credential.ADMIN)
    me = ways.call("AuthService/GetMe", {}, reader).message["name"]
    made = {"collectionId": "lent", "collection": {"displayName": "Lent"}}
    ways.call("KnowledgeService/CreateCollection", made, owner)
    ingest(ways, owner, "islands.md", ISLANDS, collection="collections/lent")

    def share(*readers: Json) -> None:
        change = {
            "collection": {"name": "collections/lent", "readers": list(readers)},
            "updateMask": "readers",
        }
        assert ways.call("KnowledgeService/UpdateCollection", change, owner).problem is None

    share({"user": me})
    turn = answer(ways, reader, "How high does the Cuillin rise?")
    seq = turn["terminalEvent"]["seq"]
    assert "992" in turn["terminalEvent"]["answer"]["text"]
    calls = {
        "ChatService/GetTurn": {"name": turn["name"]},
        "ChatService/ListTurns": {"pageSize": 1},
        "ChatService/ListMessages": {"parent": turn["conversation"]},
        "ChatService/VerifyCitations": {"name": turn["name"]},
        "ChatService/ResumeTurn": {"turn": turn["name"], "includeDeltas": True},
    }
    before = {call: ways.call(call, request, reader).messages for call, request in calls.items()}
    share()
    for way in (Way.GRPC, Way.WEB, Way.REST):
        for call, request in calls.items():
            shown = ways.call(call, request, reader, way)
            assert shown.problem is None, (way, call)
            told = json.dumps(shown.messages)
            assert "992 metres" not in told, (way, call)
            assert "NOT_PERMITTED" in told, (way, call)
    for way in (Way.SSE, Way.WS):
        if way in ways.by_name:
            shown = ways.call("ChatService/ResumeTurn", {"turn": turn["name"]}, reader, way)
            assert "992 metres" not in json.dumps(shown.messages)
            assert "no longer allowed" in json.dumps(shown.messages)
    (frame,) = ways.call("ChatService/ResumeTurn", {"turn": turn["name"]}, reader).messages
    (event,) = frame["events"]
    assert (frame["throughSeq"], event["snapshot"]["throughSeq"]) == (seq, seq)
    end = event["snapshot"]["terminalEvent"]
    assert (end["seq"], end["refused"]["reason"]) == (seq, "REFUSAL_REASON_NOT_PERMITTED")
    share({"user": me})
    for call, request in calls.items():
        assert ways.call(call, request, reader).messages == before[call], call
