"""What a plain user may call, at its dearest and many times at once, takes the service from nobody: the others' calls
succeed, refusals are typed, and the server lives.

The requests are made from the descriptors, so a new method is among them by itself: `make soak CAMPAIGN=fairness` makes
each of them 32 at a time, for COUNT seconds, and also measures the others' calls. Then it uploads files of 64 MiB with
each magic number under each suffix, four at a time, and compares with plain files. `make test` has the three dearest
requests, and the dearest magic number.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from google.longrunning import operations_proto_pb2 as operations
from google.protobuf import duration_pb2, message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_formats.containers import OLE_MAGIC
from responsa_server.calls.methods import GET_ME, METHODS
from responsa_server.identity.settings import UserLimitSettings
from tests.callers import Credential, Registry
from tests.faults.forms import Form, Report, forms
from tests.instance import Instance
from tests.system.dearest import MAGICS, SUFFIXES, WORDS, dearest, document, methods_of_users

_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
_UPDATE_LIMITS: Final = "/responsa.admin.v1.AdminService/UpdateUserLimits"
_CHAT: Final = "/responsa.chat.v1.ChatService/"
_OPERATIONS: Final = "/google.longrunning.Operations/"
_AT_A_TIME: Final = 32
_FEW_AT_A_TIME: Final = 8
_PASSAGES: Final = 1_500
_FEW_PASSAGES: Final = 300
_MOST_SEARCH_SECONDS: Final = 1.0
_MOST_GET_ME_SECONDS: Final = 0.5
_LIMITS: Final = ("searches", "pending_turns")
"""The limits of a user on a new instance that the shared one has lifted."""
_DEAREST: Final = (_KNOWLEDGE + "EmbedTexts", _KNOWLEDGE + "BatchSearch", _CHAT + "Answer")

_FILE_BYTES: Final = 64 << 20
_SHORT_FILE_BYTES: Final = 2 << 20
_UPLOADS: Final = 4
_LATER_SEARCH_SECONDS: Final = 1.0
_SLOWER_ANSWERS: Final = 1.5

_CHUNK: Final = knowledge.UploadDocumentRequest(chunk=b"Many words. " * 10_000)
_FINISH: Final = knowledge.UploadDocumentRequest(finish={"size_bytes": len(_CHUNK.chunk)})


@dataclass
class Person:
    """Somebody with a key. Requests and responses are bytes, because the caller shares the machine with the server."""

    channel: aio.Channel
    key: str

    async def call(self, path: str, request: Message, seconds: float = 60.0) -> Sequence[bytes]:
        """The messages of the response. Raises AioRpcError."""
        method, data = METHODS[path], request.SerializeToString()
        metadata = (("authorization", f"Bearer {self.key}"),)
        if method.client_streaming:
            parts = [data, _CHUNK.SerializeToString(), _FINISH.SerializeToString()]
            return [await self.channel.stream_unary(path)(iter(parts), metadata=metadata, timeout=seconds)]
        if method.server_streaming:
            stream = self.channel.unary_stream(path)(data, metadata=metadata, timeout=seconds)
            return [message async for message in stream]
        return [await self.channel.unary_unary(path)(data, metadata=metadata, timeout=seconds)]

    async def upload_file(self, name: str, beginning: bytes, size: int, seconds: float = 120.0) -> str:
        """Upload a file of so many bytes to the default collection: after its beginning, hexadecimal digits without a
        space. Returns the name of the operation. Raises AioRpcError."""
        start = knowledge.UploadStart(size_bytes=size)
        start.metadata.source_key = name
        digits = random.randbytes(128 << 10).hex().encode()

        def messages() -> Iterator[bytes]:
            yield knowledge.UploadDocumentRequest(start=start).SerializeToString()
            piece, left = (beginning + digits)[: len(digits)], size
            while left:
                yield knowledge.UploadDocumentRequest(chunk=piece[:left]).SerializeToString()
                piece, left = digits, left - len(piece[:left])
            finish = knowledge.UploadFinish(size_bytes=size)
            yield knowledge.UploadDocumentRequest(finish=finish).SerializeToString()

        calling: aio.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(
            _KNOWLEDGE + "UploadDocument"
        )
        metadata = (("authorization", f"Bearer {self.key}"),)
        made = await calling(messages(), metadata=metadata, timeout=seconds)
        return operations.Operation.FromString(made).name

    async def upload(self, collection: str, text: str) -> None:
        """Create a document and wait until it is searched."""
        request = knowledge.CreateDocumentRequest(text=text)
        request.metadata.collection = collection
        request.metadata.source_key = f"{time.monotonic_ns()}.md"
        [made] = await self.call(_KNOWLEDGE + "CreateDocument", request)
        operation = operations.Operation.FromString(made)
        while not operation.done:
            wait = operations.WaitOperationRequest(
                name=operation.name, timeout=duration_pb2.Duration(seconds=30)
            )
            [waited] = await self.call(_OPERATIONS + "WaitOperation", wait)
            operation = operations.Operation.FromString(waited)
        assert operation.WhichOneof("result") == "response", operation

    async def names(self, collection: str) -> Mapping[str, Sequence[str]]:
        """The names of this caller's collection and of what the caller has beside it, by type."""
        await self.call(_CHAT + "Answer", chat.AnswerRequest(text=f"What is a {WORDS[0]}?"))

        async def listed(path: str, field: str, **request: str) -> Sequence[Any]:
            method = METHODS[path]
            kinds = [
                message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)
            ]
            [page] = await self.call(path, kinds[0](**request))
            return getattr(kinds[1].FromString(page), field)

        [conversation, *_] = await listed(_CHAT + "ListConversations", "conversations")
        [turn, *_] = await listed(_CHAT + "ListTurns", "turns")
        messages = await listed(_CHAT + "ListMessages", "messages", parent=conversation.name)
        documents = await listed(_KNOWLEDGE + "ListDocuments", "documents", parent=collection)
        [generation, *_] = await listed(_KNOWLEDGE + "ListGenerations", "generations", parent=collection)
        [operation, *_] = await listed(_OPERATIONS + "ListOperations", "operations", name="operations")
        search = knowledge.SearchRequest(terms=[WORDS[0]])
        [hits] = await self.call(_KNOWLEDGE + "Search", search)
        own = {
            "Collection": collection,
            "Conversation": conversation.name,
            "Document": documents[0].name,
            "DocumentVersion": f"{documents[0].name}/versions/1",
            "Feedback": f"{messages[-1].name}/feedback",
            "Generation": generation.name,
            "Message": messages[-1].name,
            "Operation": operation.name,
            "Passage": knowledge.SearchResponse.FromString(hits).hits[0].passage.name,
            "Turn": turn.name,
        }
        return {f"responsa.example.org/{kind}": [name] for kind, name in own.items()}


@dataclass
class Outcomes:
    """What a user's many calls came to. codes: how many ended with which code and reason. odd: those whose end has no type."""

    codes: Counter[str] = field(default_factory=Counter[str])
    odd: list[str] = field(default_factory=list[str])

    def count(self, error: aio.AioRpcError) -> None:
        """Count an error."""
        status, info = Status(), ErrorInfo()
        trailers: Mapping[str, Any] = dict(error.trailing_metadata() or ())
        status.ParseFromString(trailers.get("grpc-status-details-bin", b""))
        typed = any(detail.Unpack(info) for detail in status.details)
        self.codes[f"{error.code().name} {info.reason}"] += 1
        late = error.code() is StatusCode.DEADLINE_EXCEEDED  # the caller's own clock also ends calls
        if not (typed or late) or error.code() in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
            self.odd.append(f"{error.code()} {error.details()}")


@dataclass
class Other:
    """A user of another tenant, who searches, asks and calls GetMe, one after the other."""

    person: Person
    words: Iterator[str]
    failed: list[str] = field(default_factory=list[str])

    async def look(self, report: Report) -> None:
        """Make one of each call, and note how long it took."""
        # No two questions are the same, so nothing answers from a cache.
        text = f"Where does the ferry to Skye leave, {next(self.words)}?"
        calls: Sequence[tuple[str, str, Message]] = (
            ("Search", _KNOWLEDGE + "Search", knowledge.SearchRequest(terms=[text])),
            ("GetMe", GET_ME, auth.GetMeRequest()),
            ("Ask", _CHAT + "Ask", chat.AskRequest(text=text)),
        )
        for name, path, request in calls:
            begun = time.monotonic()
            try:
                messages = await self.person.call(path, request)
            except aio.AioRpcError as error:
                self.failed.append(f"{name}: {error.code()} {error.details()}")
            else:
                if name == "Search" and not knowledge.SearchResponse.FromString(messages[0]).hits:
                    self.failed.append("Search: nothing")
                if name == "Ask" and not chat.AskResponse.FromString(messages[-1]).events[-1].HasField(
                    "answer"
                ):
                    self.failed.append(f"Ask: {chat.AskResponse.FromString(messages[-1])}")
            report.measured(name, time.monotonic() - begun)


@dataclass
class SharedInstance:
    """An instance with a user who calls too much, and with another one."""

    instance: Instance
    greedy: Person
    own: Mapping[str, Sequence[str]]
    other: Other

    @property
    def server(self) -> int:
        """The process id of the server."""
        return self.instance.processes()["server"].pid

    async def outcomes(self, path: str, form: Form, report: Report, dice: random.Random) -> Outcomes:
        """Make a method's dearest request many times at once, while the other user makes calls: for so many seconds or,
        in the short form, so many rounds."""
        outcomes, requests = Outcomes(), itertools.cycle([dearest(path, self.own, dice) for _ in range(4)])
        over = False

        async def call_again() -> None:
            while not over:
                try:
                    await self.greedy.call(path, next(requests), 20.0)
                    outcomes.codes["OK"] += 1
                except aio.AioRpcError as error:
                    outcomes.count(error)
                    await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            at_a_time = _AT_A_TIME if form.limits else _FEW_AT_A_TIME
            calling = [group.create_task(call_again()) for _ in range(at_a_time)]
            rounds, until = 0, time.monotonic() + form.count
            while time.monotonic() < until if form.limits else rounds < form.count:
                await self.other.look(report)
                rounds += 1
            over = True
            for task in calling:
                task.cancel()
        return outcomes

    async def crowd_of_files(self, files: Sequence[tuple[bytes, str]], size: int, report: Report) -> Outcomes:
        """Upload files of this size, as pairs of a beginning and a suffix, a few at a time, while the other user makes
        calls. A file is read until its uploader's next one is accepted or refused."""
        outcomes, left = Outcomes(), iter(files)

        async def upload_again() -> None:
            operation = ""
            for number, (beginning, suffix) in enumerate(left):
                earlier, operation = operation, ""
                try:
                    name = f"{id(report)}-{number}-{beginning.hex()}.{suffix}"
                    operation = await self.greedy.upload_file(name, beginning, size)
                    outcomes.codes["OK"] += 1
                except aio.AioRpcError as error:
                    outcomes.count(error)
                await self._cancel(earlier)
            await self._cancel(operation)

        async with asyncio.TaskGroup() as group:
            uploading = [group.create_task(upload_again()) for _ in range(_UPLOADS)]
            while not all(task.done() for task in uploading):
                await self.other.look(report)
        return outcomes

    async def _cancel(self, operation: str) -> None:
        if operation:
            await self.greedy.call(
                _OPERATIONS + "CancelOperation", operations.CancelOperationRequest(name=operation)
            )


@asynccontextmanager
async def shared_instance(
    instance: Instance, registry: Registry, passages: int, dice: random.Random
) -> AsyncGenerator[SharedInstance]:
    """The greedy user has a collection with so many passages, and the limits of a user. The other one has a document."""
    channels = [
        aio.insecure_channel(instance.target, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(2)
    ]
    tenant = registry.new_tenant()
    greedy = Person(channels[0], tenant.key())
    [me] = await greedy.call(GET_ME, auth.GetMeRequest())
    update = admin.UpdateUserLimitsRequest()
    update.user_limits.name = f"{user_pb2.User.FromString(me).name}/limits"
    for name in _LIMITS:
        setattr(update.user_limits.exceptions, name, UserLimitSettings.model_fields[name].default)
        update.update_mask.paths.append(f"exceptions.{name}")
    await Person(channels[0], tenant.key(Credential.ADMIN)).call(_UPDATE_LIMITS, update)
    other = Person(channels[1], registry.new_tenant().key())
    await greedy.call(_KNOWLEDGE + "CreateCollection", knowledge.CreateCollectionRequest(collection_id="big"))
    for _ in range(0, passages, 500):
        await greedy.upload("collections/big", document(min(passages, 500), dice))
    await other.upload(
        "collections/default", "# A ferry\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n"
    )
    words = (" ".join(three) for three in itertools.product(WORDS, repeat=3))
    try:
        yield SharedInstance(instance, greedy, await greedy.names("collections/big"), Other(other, words))
    finally:
        for channel in channels:
            await channel.close()


@forms(long=20, short=1)
async def test_no_callers_of_the_dearest_requests_take_the_service_from_others(
    form: Form, instance: Instance, registry: Registry, request: pytest.FixtureRequest
) -> None:
    report, dice, problems = Report("fairness", form), form.dice(), list[str]()
    methods = methods_of_users() if form.limits else _DEAREST
    async with shared_instance(
        instance, registry, _PASSAGES if form.limits else _FEW_PASSAGES, dice
    ) as shared:
        server = shared.server
        for path in methods:
            times = Report(path, form)
            outcomes = await shared.outcomes(path, form, times, dice)
            problems += [f"{path}: {problem}" for problem in (*outcomes.odd[:3], *shared.other.failed[:3])]
            shared.other.failed.clear()
            assert shared.server == server, f"{path} ended the server; {problems}"
            report.count("methods")
            report.count("calls", outcomes.codes.total())
            for name, seconds in times.samples.items():
                report.measured(name, seconds)
            print(times.line(), dict(outcomes.codes), flush=True)
    report.count("others' calls", sum(map(len, report.samples.values())))
    report.tell(request)
    assert not problems, "\n".join(problems)
    if form.limits:
        assert report.quantile("Search", 0.95) <= _MOST_SEARCH_SECONDS
        assert report.quantile("GetMe", 0.99) <= _MOST_GET_ME_SECONDS


@forms(long=1)
async def test_no_uploads_take_the_service_from_others(
    form: Form, instance: Instance, registry: Registry, request: pytest.FixtureRequest
) -> None:
    control, worst, report = (Report(f"fairness_{of}", form) for of in ("control", "ole", "uploads"))
    size = _FILE_BYTES if form.limits else _SHORT_FILE_BYTES
    phases = [(worst, [(OLE_MAGIC, "txt")] * _UPLOADS)]
    if form.limits:
        every = [*itertools.product(MAGICS, SUFFIXES)] * form.count
        phases = [(control, [(b"", "txt")] * _UPLOADS), *phases, (report, every)]
    async with shared_instance(instance, registry, _FEW_PASSAGES, form.dice()) as shared:
        server, crowds = shared.server, list[Outcomes]()
        for times, files in phases:
            crowds.append(await shared.crowd_of_files(files, size, times))
            times.count("files", len(files))
            print(times.line(), dict(crowds[-1].codes), flush=True)
            times.tell(request)
        assert shared.server == server
    problems = [*shared.other.failed, *(odd for outcomes in crowds for odd in outcomes.odd)]
    assert not problems, "\n".join(problems)
    # Nothing but the file's beginning is looked at before it is accepted.
    assert crowds[form.limits].codes == {"OK": _UPLOADS}
    if form.limits:
        for times in (worst, report):
            assert times.quantile("Search", 1.0) <= control.quantile("Search", 1.0) + _LATER_SEARCH_SECONDS
            assert times.quantile("Ask", 0.95) <= _SLOWER_ANSWERS * control.quantile("Ask", 0.95)
