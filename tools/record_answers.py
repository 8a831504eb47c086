"""Records the answers of an instance, so that the answers of two revisions can be compared byte for byte.

    python tools/record_answers.py DATA OUTPUT.jsonl.gz

DATA is a folder of question sets: `squad2`, `cairo_docs`, `cranfield` and `xquad/{de,en,es,ru}`, each with `docs.jsonl` (id, title, text) and
`questions.jsonl` (id, question). The script starts an instance from its own environment, with a separate data folder and port and
without a model. Then it uploads a fixed part of the documents and asks 500 questions, which it draws with a fixed seed.

Each line of OUTPUT has the number of a question, the outcome of its turn, the text and the citations of the answer, and the first ten search hits. Ids and
times are left out, and documents are named by their source keys. Scores have all their digits. The last line on stdout is the SHA-256 of the
lines before compression.

The same revision always gives the same bytes. Documents are uploaded one after the other, so that passages are numbered in the same order. Vectors are searched
so broadly that the random levels of the HNSW graph make no difference.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client import Responsa

SEED: Final = 20_261_121
SETS: Final[Mapping[str, tuple[int, int]]] = {
    "squad2": (300, 290),
    "cairo_docs": (59, 24),
    "cranfield": (200, 66),
    "xquad/en": (40, 30),
    "xquad/de": (40, 30),
    "xquad/es": (40, 30),
    "xquad/ru": (40, 30),
}
"""For each set, the number of documents to upload and the number of questions to ask."""
START_SECONDS: Final = 300.0
STOP_SECONDS: Final = 60.0
_FOREIGN: Final = ("RESPONSA_", "DATABASE_", "REDIS_", "LANGSMITH_", "LANGCHAIN_")


def main() -> None:
    """Records the answers, and prints the checksum."""
    # Both signals raise an exception, so that the script stops the instance. A shell's background job ignores SIGINT by default.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="responsa-record-") as folder, instance(Path(folder)) as client:
        keys: dict[str, str] = {}
        for name, (documents, _) in SETS.items():
            keys |= upload(client, collection_of(name), rows(data / name / "docs.jsonl")[:documents])
            print(f"{name}: {documents} documents are searchable", file=sys.stderr)
        drawn = [
            (name, question)
            for name, (_, number) in SETS.items()
            for question in draw(name, rows(data / name / "questions.jsonl"), number)
        ]
        lines: list[str] = []
        for name, question in drawn:
            record = answered(client, collection_of(name), question["question"], keys)
            lines.append(
                json.dumps({"set": name, "question": question["id"], **record}, ensure_ascii=False) + "\n"
            )
            if len(lines) % 100 == 0:
                print(f"{len(lines)} of {len(drawn)} questions are answered", file=sys.stderr)
    content = "".join(lines).encode()
    output.write_bytes(gzip.compress(content, mtime=0))
    print(hashlib.sha256(content).hexdigest())


def leave(number: int, _: FrameType | None) -> None:
    """Ends the script with an exception."""
    raise SystemExit(128 + number)


def rows(path: Path) -> Sequence[Mapping[str, str]]:
    """The lines of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def draw(name: str, questions: Sequence[Mapping[str, str]], number: int) -> Sequence[Mapping[str, str]]:
    """Draws `number` questions of a set. The questions are the same in every run."""
    return random.Random(f"{SEED} {name}").sample(questions, number)


def collection_of(name: str) -> str:
    """The collection for a set's documents."""
    return name.replace("/", "-").replace("_", "-")


def upload(client: Responsa, collection: str, documents: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Uploads documents one after the other. Each upload begins when the previous document is searchable. Returns the documents' source keys by name."""
    client.create_collection(collection)
    keys: dict[str, str] = {}
    for document in documents:
        operation = client.create_document(
            document["text"],
            collection=collection,
            source_key=document["id"],
            title=document["title"],
            media_type="text/markdown" if document["id"].endswith(".md") else "text/plain",
        )
        keys[client.wait(operation).document.name] = document["id"]
    return keys


def answered(
    client: Responsa, collection: str, question: str, keys: Mapping[str, str]
) -> Mapping[str, object]:
    """The results of a question: the outcome of its turn and the hits of its search."""
    turn = client.answer(question, collections=[collection])
    hits = client.search(question, collections=[collection])
    return {**ended(turn), "hits": [hit(one, keys) for one in hits]}


def ended(turn: turn_pb2.Turn) -> Mapping[str, object]:
    """The outcome of a turn. Raises RuntimeError if the turn failed, because then there is nothing to compare."""
    event = turn.terminal_event
    match event.WhichOneof("event"):
        case "answer":
            return {
                "outcome": "answer",
                "intent": intent(event.answer.intent),
                "support": event.answer.support,
                "text": event.answer.text,
                "citations": [citation(one) for one in event.answer.citations],
            }
        case "refused":
            refused = event.refused
            return {
                "outcome": "refused",
                "intent": intent(event.refused.intent),
                "support": event.refused.support,
                "reason": turn_pb2.RefusalReason.Name(refused.reason),
                "text": refused.message,
            }
        case other:
            raise RuntimeError(f"a turn ended as {other}: {event}")


def intent(name: str) -> str:
    """An intent in the form of recordings of 8e1076a, where intents were an enum."""
    return f"INTENT_{name.upper() or 'UNSPECIFIED'}"


def citation(one: citation_pb2.Citation) -> Mapping[str, object]:
    """A citation without ids."""
    return {
        "title": one.title,
        "document": one.uri,
        "source": [one.source_range.start, one.source_range.end],
        "quote": one.quote,
        "sha256": one.sha256.hex(),
        "answer": [one.answer_range.start, one.answer_range.end],
        "score": one.score,
    }


def hit(one: knowledge_service_pb2.SearchHit, keys: Mapping[str, str]) -> Sequence[object]:
    """A search hit without ids: the document, the byte range, the score, and the parts of the score."""
    source = one.passage.source_range
    return [keys[one.passage.document], source.start, source.end, one.score, one.parts.text, one.parts.vector]


@contextmanager
def instance(folder: Path) -> Generator[Responsa]:
    """A client of a new instance. At the end of the block, the instance is stopped and purged."""
    home = folder / "home"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment: dict[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
        "RESPONSA_HOME": str(home),
        "RESPONSA_PORT": str(port),
        "RESPONSA_RETRIEVAL__HNSW_EF_SEARCH": "1000",
    }
    command = str(Path(sys.executable).with_name("responsa"))
    log = folder / "log"
    with log.open("wb") as out:
        process: subprocess.Popen[Any] = subprocess.Popen(
            [command, "up"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while "Responsa is ready" not in log.read_text(encoding="utf-8"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the instance did not start: {log.read_text(encoding='utf-8')}")
                time.sleep(0.05)
            key = (home / "api-key").read_text(encoding="utf-8").strip()
            with Responsa(f"http://127.0.0.1:{port}", key) as client:
                yield client
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(STOP_SECONDS)
            subprocess.run([command, "purge", "--yes"], env=environment, capture_output=True, check=False)


if __name__ == "__main__":
    main()
