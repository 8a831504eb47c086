"""One user sends questions and files that are made to be slow. Each has a typed end, and the calls of other users go on meanwhile."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from responsa_client import Responsa, ResponsaError, turn_error
from tests.callers import Credential, Tenant
from tests.faults.forms import Form, Report, forms
from tests.instance import Instance

MOST_BYTES = 16_384
MOST_RATIO, MOST_SECONDS, MOST_KEPT = 1.5, 1.0, 50 << 20
ORDINARY = (
    "When does the ferry to Skye leave from Mallaig, and what does it cost for two people with bicycles?"
)
PROSE = (
    "The ferry to Skye leaves from Mallaig at six in the morning, and a crossing takes half an hour. " * 3000
)


def filled(unit: str, lead: str = "", tail: str = "") -> str:
    """As many units as a question may have, with a beginning and an end."""
    size = MOST_BYTES - len(lead.encode()) - len(tail.encode())
    return lead + unit * (size // len(unit.encode())) + tail


QUESTIONS = (
    "a" * 900 + " price of a business trip? Who approves it on Mondays?",
    filled("a", tail=" price of a business trip? Who approves it on Mondays?"),
    filled(" ", "How do I", "x?"),
    filled("\n", "How do I", "x?"),
    "how much is " * 83 + "," * 990 + ".a?",
    filled("how much is "),
    filled("and then ", "What does it cost, ", "?"),
    filled("7", "What is ", "% of it?"),
    filled("aBcDeFgH"),
    filled("it’s ", "Whose is "),
    filled("?"),
    filled("[1]"),
    filled("[", "What is ", "](x)?"),
    filled("(", "What is ", ")?"),
    filled("{{ x "),
    filled("<a href='"),
    filled("\u202e\u2066", "Is it "),
    filled("a\u0301\u0316", "Is it "),
    filled("👩‍👩‍👧", "Is it "),
    filled("料金はいくらですか"),
)


def letters(paragraphs: int) -> bytes:
    """A DOCX file with paragraphs of one letter."""
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    wordml = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    package = "http://schemas.openxmlformats.org/package/2006"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            (
                f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{office}" '
                'Target="word/document.xml"/></Relationships>'
            ),
        )
        body = "<w:p><w:r><w:t>a</w:t></w:r></w:p>" * paragraphs
        archive.writestr(
            "word/document.xml", f'<w:document xmlns:w="{wordml}"><w:body>{body}</w:body></w:document>'
        )
    return made.getvalue()


def files() -> Mapping[str, bytes]:
    """The hostile files by source key."""
    return {
        "letters.docx": letters(400_000),
        "short.md": b"Aa. " * 75_000,
        "word.md": b"a" * 1_000_000,
        "brackets.md": b"[" * 300_000,
        "deep.html": b"<div>" * 100_000 + b"a",
        "deep.json": b"[" * 100_000,
        "quote.csv": b'a,b\n"' + b"x," * 500_000,
        "cells.md": b"| a | b |\n|---|---|\n" + b"| x " * 75_000,
        "marks.txt": "\u202ea\u0301\u0316 ".encode() * 40_000,
        "fences.md": b"```\n> - # " * 30_000,
    }


@contextmanager
def asking_who(client: Responsa) -> Generator[list[float]]:
    """Call GetMe again and again during the block. Yields the seconds of each call; each must succeed."""
    took, over, errors = list[float](), threading.Event(), list[ResponsaError]()

    def ask() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            try:
                client.me()
            except ResponsaError as error:
                errors.append(error)
                return
            took.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield took
    finally:
        over.set()
        asking.join()
    assert not errors
    assert took


def check(error: ResponsaError | None) -> None:
    """Check that an end is typed, and no fault of the server."""
    assert error is None or error.reason not in ("", "INTERNAL", "WORKER_LOST"), error


def ask(client: Responsa, agent: str, text: str) -> None:
    """Ask, and check how the question ends."""
    try:
        with client.ask(text, agent=agent) as stream:
            for _ in stream:
                pass
    except ResponsaError as error:
        check(error)
    else:
        assert stream.terminal is not None
        check(turn_error(stream.terminal))


def send(client: Responsa, key: str, data: bytes) -> None:
    """Upload, and check how the ingestion ends."""
    try:
        client.wait(client.upload(data, source_key=key))
    except ResponsaError as error:
        check(error)


def send_all(client: Responsa, questions: Sequence[str], documents: Mapping[str, bytes]) -> None:
    """Send each document, and ask each question of each agent."""
    for key, data in documents.items():
        send(client, key, data)
    for agent in [one.name for one in client.agents()]:
        for text in questions:
            ask(client, agent, text)


def test_every_hostile_input_has_a_typed_end_and_others_are_served(
    instance: Instance, tenant: Tenant
) -> None:
    with (
        Responsa(instance.url, tenant.key(Credential.ADMIN)) as hostile,
        Responsa(instance.url, tenant.key()) as other,
        asking_who(other),
    ):
        agents = [agent.name for agent in hostile.agents()]
        for number, text in enumerate(QUESTIONS):
            ask(hostile, agents[number % len(agents)], text)
        for key in ("deep.html", "deep.json", "word.md"):
            send(hostile, key, files()[key])


@forms(long=1)
def test_hostile_input_costs_others_no_more_than_ordinary_input(
    instance: Instance, tenant: Tenant, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("hostile_set", form)
    ordinary = [f"{ORDINARY} {number}" for number in range(len(QUESTIONS))]
    prose = {f"{number}.md": f"# {number}\n\n{PROSE}".encode() for number in range(len(files()))}
    server = instance.processes()["server"]
    with (
        Responsa(instance.url, tenant.key(Credential.ADMIN)) as sender,
        Responsa(instance.url, tenant.key()) as other,
    ):
        send_all(sender, ordinary[:2], {})  # what the first questions load
        with asking_who(other) as took:
            send_all(sender, ordinary, prose)
        report.measured("GetMe during ordinary input", took)
        before = server.memory_info().rss
        with asking_who(other) as took:
            send_all(sender, QUESTIONS, files())
        report.measured("GetMe during hostile input", took)
    kept = server.memory_info().rss - before
    report.count("kept KiB", kept >> 10)
    report.tell(request)
    usual, hostile = (report.quantile(f"GetMe during {kind} input", 0.99) for kind in ("ordinary", "hostile"))
    assert hostile <= MOST_RATIO * usual
    assert report.quantile("GetMe during hostile input", 1.0) <= MOST_SECONDS
    assert kept <= MOST_KEPT
