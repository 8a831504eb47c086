"""What a user sends does not stay in the memory of the server's process: `make soak CAMPAIGN=memory`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import pytest

from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_client import DeadlineExceeded, Responsa, ResponsaError
from tests.faults.forms import Form, Report, forms
from tests.formats.office_files import docx
from tests.instance import Instance, eventually, instance_in
from tests.security.hostile_documents import DOCUMENTS
from tests.transports import stub_of

MB: Final = 1_000_000
MOST_AFTER_SEARCHES: Final = 20 * MB
MOST_AFTER_DOCUMENT: Final = 50 * MB
MOST_AFTER_HOSTILE_DOCUMENTS: Final = 30 * MB
HOSTILE_SECONDS: Final = 45.0
"""A hostile document that is not read by then is cancelled."""
_AT_A_TIME: Final = 4


@pytest.fixture(scope="module")
def own() -> Iterator[Instance]:
    """An instance that has read an ordinary document and answered ordinary searches."""
    with (
        tempfile.TemporaryDirectory(prefix="rsp-") as folder,
        instance_in(Path(folder), RESPONSA_DOCS="none") as instance,
    ):
        ordinary = "\n\n".join(
            " ".join(f"The river {number} flows to lake {number * more}." for more in range(20))
            for number in range(40)
        )
        with Responsa(instance.target, instance.key) as client:
            client.wait(client.upload(ordinary.encode(), source_key="rivers.txt"))
            for number in range(20):
                client.search(f"Where does the river {number} flow?")
        yield instance


def grown(instance: Instance, work: Callable[[], object]) -> int:
    """By how many bytes the resident memory of the server's process grows."""
    server: psutil.Process = instance.processes()["server"]
    before = server.memory_info().rss
    work()
    assert instance.processes()["server"] == server
    return server.memory_info().rss - before


def words(call: int) -> list[str]:
    """Eight distinct words of 16 KiB, each of which is a compound of thousands of parts."""
    begin = "".join(f"{chr(97 + int(digit))}Z" for digit in f"{call:05}")
    return [(f"{begin}{'abcdefgh'[place]}" + "BcdEfa" * 2731)[: 16 * 1024] for place in range(8)]


@forms(long=3000)
def test_what_a_user_sends_leaves_the_memory(
    form: Form, own: Instance, request: pytest.FixtureRequest
) -> None:
    report = Report("memory", form)

    def search_long_words() -> None:
        with grpc.insecure_channel(own.target) as channel, ThreadPoolExecutor(_AT_A_TIME) as threads:
            search: Any = stub_of(channel, "KnowledgeService").Search
            credentials = (("authorization", f"Bearer {own.key}"),)

            def ask(call: int) -> None:
                search(knowledge.SearchRequest(terms=words(call)), metadata=credentials, timeout=60)

            report.count("searches", len(list(threads.map(ask, range(form.count)))))

    def ingest_letters() -> None:
        document = docx("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 400_000)
        with Responsa(own.target, own.key) as client:
            client.wait(client.upload(document, source_key="letters.docx"))
        report.count("documents")

    after_searches = grown(own, search_long_words)
    report.count("MB after searches", max(0, after_searches) // MB)
    after_document = grown(own, ingest_letters)
    report.count("MB after a document", max(0, after_document) // MB)
    report.tell(request)
    assert after_searches <= MOST_AFTER_SEARCHES
    assert after_document <= MOST_AFTER_DOCUMENT


def resident(instance: Instance) -> int:
    """The resident memory of the server's process and of those that it has started."""
    server = instance.processes()["server"]
    return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))


@forms(long=len(DOCUMENTS))
def test_hostile_documents_leave_the_memory(
    form: Form, own: Instance, request: pytest.FixtureRequest
) -> None:
    report = Report("memory", form)
    server, before = own.processes()["server"], resident(own)
    with Responsa(own.target, own.key) as client:
        for name, make in [*DOCUMENTS.items()][: form.count]:
            made = make()
            content = made.encode() if isinstance(made, str) else made
            try:
                operation = client.upload(content, source_key=name)
            except ResponsaError:
                report.count("hostile documents refused")
                continue
            try:
                client.wait(operation, HOSTILE_SECONDS)
                report.count("hostile documents read")
            except DeadlineExceeded:
                client.cancel_operation(operation.name)
                report.count("hostile documents cancelled")
            except ResponsaError:
                report.count("hostile documents refused")
    eventually(
        lambda: resident(own) - before <= MOST_AFTER_HOSTILE_DOCUMENTS,
        lambda: f"{(resident(own) - before) // MB} MB more than before",
    )
    report.count("MB after hostile documents", max(0, resident(own) - before) // MB)
    report.tell(request)
    assert own.processes()["server"] == server
