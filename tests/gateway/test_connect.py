"""Connect, the default protocol of many generated clients: with the library of TypeScript, and encoded by hand."""

from __future__ import annotations

import gzip
import json
import random
import struct
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx2
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from responsa.chat.v1.chat_service_pb2 import AnswerRequest, AskResponse
from responsa.chat.v1.turn_pb2 import Turn
from tests.gateway.conftest import Place
from tests.gateway.stand_in import UUID
from tests.instance import ROOT

CHAT: Final = "/responsa.chat.v1.ChatService/"
ANSWER: Final = f"{CHAT}Answer"
ASK: Final = f"{CHAT}Ask"
UPLOAD: Final = "/responsa.knowledge.v1.KnowledgeService/UploadDocument"
PROTO: Final = {"content-type": "application/proto"}
JSON: Final = {"content-type": "application/json"}
JSON_STREAM: Final = {"content-type": "application/connect+json"}
TYPESCRIPT: Final = """
import { createClient } from "@connectrpc/connect";
import * as web from "@connectrpc/connect-web";
import * as node from "@connectrpc/connect-node";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { ErrorInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";

const baseUrl = process.argv[2];
const transports = {
  "web": web.createConnectTransport({ baseUrl }),
  "web, binary": web.createConnectTransport({ baseUrl, useBinaryFormat: true }),
  "web, GET where the contract allows": web.createConnectTransport({ baseUrl, useHttpGet: true }),
  "node": node.createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "node, HTTP/2": node.createConnectTransport({ baseUrl, httpVersion: "2" }),
  "node, gzip": node.createConnectTransport({ baseUrl, httpVersion: "1.1", sendCompression: node.compressionGzip, compressMinBytes: 0 }),
};
const reason = (error) => error.findDetails(ErrorInfoSchema)[0].reason;
async function* parts() {
  yield { part: { case: "start", value: { metadata: { sourceKey: "a" } } } };
  yield { part: { case: "chunk", value: new Uint8Array(262_144) } };
  yield { part: { case: "finish", value: { sizeBytes: 262_144n } } };
}
const found = {};
for (const [name, transport] of Object.entries(transports)) {
  const chat = createClient(ChatService, transport);
  const answer = await chat.answer({ text: "w".repeat(40_000) }, { timeoutMs: 30_000 });
  const refused = await chat.answer({ text: "busy" }).catch(reason);
  const listed = await chat.listTurns({ pageSize: 2 });
  const seen = [];
  let broken;
  try { for await (const frame of chat.ask({ text: "break" })) seen.push(frame.throughSeq); } catch (error) { broken = reason(error); }
  const upload = name.startsWith("web") ? undefined
    : await createClient(KnowledgeService, transport).uploadDocument(parts(), { headers: { authorization: "Bearer rsp_x" } });
  found[name] = [answer.text.length, answer.lastSeq > 0n, refused, listed.turns.length, seen.length, broken, upload?.name];
}
console.log(JSON.stringify(found));
process.exit();
"""


def envelope(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def envelopes(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        flags, size = struct.unpack(">BI", content[:5])
        yield flags, content[5 : 5 + size]
        content = content[5 + size :]


def reason_of(error: Mapping[str, Any]) -> str:
    info = ErrorInfo()
    (detail,) = (one for one in error["details"] if one["type"] == "google.rpc.ErrorInfo")
    info.ParseFromString(b64decode(detail["value"] + "=="))
    return info.reason


def refused(response: httpx2.Response, status: int, code: str, reason: str) -> str:
    """The message of an error, which is that of a stream if its response has the status 200."""
    assert response.status_code == status, response.text
    error = response.json() if status != 200 else json.loads([*envelopes(response.content)][-1][1])["error"]
    assert (error["code"], reason_of(error)) == (code, reason)
    return error["message"]


def test_the_library_of_typescript_works_as_it_is(place: Place) -> None:
    done = subprocess.run(
        ["node", "--input-type=module", "-", place.url],
        cwd=ROOT / "clients" / "typescript",
        input=TYPESCRIPT,
        capture_output=True,
        text=True,
        check=True,
    )
    busy = "CONVERSATION_BUSY"
    for name, found in json.loads(done.stdout).items():
        upload = None if name.startswith("web") else f"operations/{UUID}"
        assert found == [40_000, True, busy, 2, 1, busy, upload], name


def test_a_single_message_in_either_form(http: httpx2.Client) -> None:
    answer = http.post(ANSWER, content=AnswerRequest(text="why").SerializeToString(), headers=PROTO)
    assert (answer.headers["content-type"], Turn.FromString(answer.content).text) == (
        "application/proto",
        "why",
    )
    assert http.post(ANSWER, content=b"", headers=JSON).json()["lastSeq"] == "-1"
    later = http.post(ANSWER, content=b'{"text": "why"}', headers={**JSON, "connect-timeout-ms": "30000"})
    assert (later.json()["text"], later.headers["content-type"]) == ("why", "application/json")
    assert 0 < int(later.json()["lastSeq"]) <= 30
    packed = gzip.compress(AnswerRequest(text="why").SerializeToString())
    again = http.post(ANSWER, content=packed, headers={**PROTO, "content-encoding": "gzip"})
    assert again.content == answer.content
    listed = http.post("/google.longrunning.Operations/ListOperations", content=b"{}", headers=JSON)
    assert listed.status_code == 200


def test_a_stream_ends_with_its_error(http: httpx2.Client) -> None:
    kind = {"content-type": "application/connect+proto"}
    content = envelope(AnswerRequest(text="break").SerializeToString())
    (flags, first), (last, _) = envelopes(http.post(ASK, content=content, headers=kind).content)
    assert (flags, AskResponse.FromString(first).through_seq, last) == (0, 1, 2)
    whole = http.post(ASK, content=envelope(b'{"text": "why"}'), headers=JSON_STREAM)
    assert whole.headers["content-type"] == "application/connect+json"
    assert [*envelopes(whole.content)][-1] == (2, b"{}")
    early = http.post(ASK, content=envelope(b'{"text": "busy"}'), headers=JSON_STREAM)
    refused(early, 200, "aborted", "CONVERSATION_BUSY")


BOMB: Final = gzip.compress(bytes(64 * 1024 * 1024), mtime=0)


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "words"),
    [
        (ANSWER, b"{", JSON, 400, "not JSON"),
        (ANSWER, json.dumps({"text": "x" * 65_536}).encode(), JSON, 400, "larger than 64 KiB"),
        (ANSWER, bytes(5 * 1024 * 1024), PROTO, 400, "larger than 64 KiB"),
        (ANSWER, b"{}", {}, 415, "application/proto, application/json, application/grpc or"),
        (ANSWER, b"{}", JSON_STREAM, 415, "application/proto, application/json, application/grpc or"),
        (ASK, b"{}", JSON, 415, "application/connect+proto"),
        (ANSWER, b"{}", {**JSON, "content-encoding": "br"}, 400, "gzip"),
        (ANSWER, b"{}", {**JSON, "content-encoding": "gzip"}, 400, "not gzip"),
        (ANSWER, BOMB, {**PROTO, "content-encoding": "gzip"}, 400, "larger than 64 KiB"),
        (ANSWER, BOMB[:60], {**PROTO, "content-encoding": "gzip"}, 400, "within gzip"),
        (ANSWER, gzip.compress(b"{}", mtime=0) * 2, {**JSON, "content-encoding": "gzip"}, 400, "within gzip"),
        (ASK, b"", JSON_STREAM, 200, "ended before its message"),
        (ASK, b"\0\0", JSON_STREAM, 200, "within an envelope"),
        (ASK, envelope(b"{}")[:6], JSON_STREAM, 200, "within an envelope"),
        (ASK, envelope(b"{}", 1), JSON_STREAM, 200, "gzip"),
        (ASK, envelope(b"{}", 128), JSON_STREAM, 200, "gzip"),
        (ASK, b"\0\xff\xff\xff\xff{}", JSON_STREAM, 200, "larger than 64 KiB"),
        (ASK, envelope(BOMB, 1), {**JSON_STREAM, "connect-content-encoding": "gzip"}, 200, "larger than 64"),
        (UPLOAD, b"\0\0\x08\0\1", {**JSON_STREAM, "authorization": "Bearer x"}, 200, "larger than 512 KiB"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(
    http: httpx2.Client, path: str, content: bytes, headers: Mapping[str, str], status: int, words: str
) -> None:
    message = refused(
        http.post(path, content=content, headers=headers), status, "invalid_argument", "MALFORMED_MESSAGE"
    )
    assert words in message


def test_refusals_are_errors_of_connect(http: httpx2.Client) -> None:
    for headers in ({**JSON, "origin": "http://evil.example"}, {**PROTO, "host": "evil.example"}):
        refused(
            http.post(ANSWER, content=b"{}", headers=headers), 403, "permission_denied", "ORIGIN_NOT_ALLOWED"
        )
    for method in ("GET", "PUT", "DELETE"):
        answer = http.request(method, f"{ANSWER}?encoding=json&message=%7B%7D", headers=JSON)
        refused(answer, 405, "unimplemented", "ROUTE_NOT_FOUND")
        assert answer.headers["allow"] == "POST"
    for unknown in (f"{CHAT}Nope", "/google.longrunning.Operations/Nope"):
        refused(http.post(unknown, content=b"{}", headers=JSON), 404, "unimplemented", "ROUTE_NOT_FOUND")
    wrong = http.post(ANSWER, content=b'{"agnet": 1}', headers=JSON)
    assert "did you mean agent?" in refused(wrong, 400, "invalid_argument", "INVALID_FIELD")
    late = http.post(ANSWER, content=b"{}", headers={**JSON, "connect-timeout-ms": "soon"})
    refused(late, 400, "invalid_argument", "INVALID_FIELD")


def test_random_bytes_end_nothing(http: httpx2.Client, place: Place) -> None:
    rng = random.Random(87)
    kinds = ("application/json", "application/connect+json")  # the stand-in takes every message of protobuf
    for _ in range(150):
        content = rng.randbytes(rng.randrange(40))
        if rng.random() < 0.5:
            content = envelope(content, rng.choice((0, 0, 1, 2)))[: rng.randrange(46)]
        coding = f"{rng.choice(('connect-', ''))}content-encoding"
        headers = {"content-type": rng.choice(kinds), coding: rng.choice(("gzip", "identity"))}
        answer = http.post(rng.choice((ANSWER, ASK, UPLOAD)), content=content, headers=headers)
        assert answer.status_code in (200, 400, 401, 415), answer.text
    assert (place.envoy.poll(), place.server.poll()) == (None, None)
    assert http.post(ANSWER, content=b'{"text": "why"}', headers=JSON).json()["text"] == "why"
