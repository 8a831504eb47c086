"""python -m responsa_lab.verifying.answers PROVIDER:MODEL [DOCUMENTS] [--questions FILE] [--judge PROVIDER:MODEL]
[--part PART] [--limit N] [--running] [--yes]

Asks its own instance, or with --running the one of the command line, whose `models.default` is the model. Another
model, or the same one, judges each answer by a fixed rubric. Prints how many answers are right, partly right, wrong or
refused, how many citations are valid, and what was checked of the sentences that name a source. Before it asks, it
prints the most that all of this can cost. Providers, addresses and keys come from the settings, as for a server.

DOCUMENTS holds a folder of documents for each source of evals/reading; without it, only the questions on this
checkout's own documents are asked. With --questions, DOCUMENTS is a folder of one's own documents, and FILE has one
JSON object {question, answer} a line; an empty `answer` says that the documents do not answer the question.
Exit codes: 0 measured, 1 the measurement failed, 2 the model cannot be asked with these settings, or an argument is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from responsa_client.aio import AsyncResponsa
from responsa_contract import JudgeVerdict, QuoteOrigin
from responsa_lab.evaluation.dataset import lines, spread
from responsa_lab.evaluation.measuring import answering, loaded, several, valid_citations
from responsa_lab.evaluation.reading import OURS, ReadingPart, ReadingSet, collection_of, sources
from responsa_lab.scripted.readers import JUDGING, LABELS
from responsa_server.agents.engine.prompts import fenced, meaning
from responsa_server.agents.nodes.searching import DEFAULT_RETRIEVAL
from responsa_server.app.models import model_table
from responsa_server.app.settings import Settings, SettingsError, load
from responsa_server.calls.convert.cited import checked
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelPrompt,
    Price,
    PromptMessage,
    Role,
    TextPiece,
)
from responsa_server.embedded.layout import Layout
from responsa_server.instance import CHECKOUT
from responsa_server.providers.table import ModelTable

_FAILED, _USAGE = 1, 2
_BESIDE_TOKENS: Final = 3000
"""The most tokens of a prompt for an answer without the passages."""
_ANSWER_TOKENS: Final = 1600
_JUDGED_TOKENS: Final = 4000
"""The most tokens of a prompt for the judge."""
_VERDICT_TOKENS: Final = 1000
"""Models that think need more than the few words that they write."""
_CHECKED_TOKENS: Final = 8000
"""The most tokens of a prompt for the model that judges citations."""
_MOST_BYTES: Final = 6000
"""How much of an answer and of a reference the judge reads."""
_MARK: Final = "0123456789ab"
_OWN: Final = "verify-answers"
_KEPT: Final = ("RESPONSA_MODELS__", "RESPONSA_RETRIEVAL__", "RESPONSA_CITATIONS__", "RESPONSA_SECRETS_DIR")


class Verdict(StrEnum):
    """The judge's verdict. REFUSED: the answer says that the documents do not answer the question."""

    RIGHT = "right"
    PARTLY = "partly"
    WRONG = "wrong"
    REFUSED = "refused"


RUBRIC: Final = f"""You judge an answer to a question. The reference is the text of the documents that answers the \
question; several texts answer it each by itself.
- right: the answer says what the reference says, as far as the question asks for it, in whatever words. Further \
details that do not contradict it do not matter.
- partly: the answer gives only a part of what the question asks for, or all of it with a mistake that does not matter.
- wrong: the answer contradicts the reference, or answers another question, or invents what the reference does not say.
- refused: the answer says that the documents do not answer the question, and gives no other answer.
If the reference is empty, the documents do not answer the question: an answer is then wrong, or refused.
Judge only what is written, not its style. {meaning(_MARK)}
Reply with a JSON object: `reason`, one short sentence, and `verdict`, one of right, partly, wrong, refused."""
_SCHEMA: Final = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "verdict": {"enum": [str(verdict) for verdict in Verdict]}},
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}


class OwnQuestion(BaseModel):
    """A question about one's own documents. answer: what a right answer says; "" if the documents do not answer the question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    answer: str = ""


class _Judged(BaseModel):
    reason: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Case:
    """A question, the collection to ask in, and the texts that answer it; none if the documents do not answer it."""

    question: str
    collection: str
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """What became of a case. verdict: None if the turn failed or the judge gave no verdict. model: the writer of the
    answer, or "". citations, valid: how many the answer has, and how many of these are valid. states: how many of its
    citations have each origin and each verdict, and how many a difference.
    """

    case: Case
    verdict: Verdict | None
    model: str
    citations: int
    valid: int
    states: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Given:
    """What to ask: the documents of each collection, and the cases."""

    folders: Mapping[str, Path]
    cases: Sequence[Case]

    @property
    def labels(self) -> str:
        """The labels, as `scripted:labelled` reads them."""
        known = [case for case in self.cases if case.references]
        return "".join(
            json.dumps({"question": case.question, "texts": list(case.references)}) + "\n" for case in known
        )


def of_reading(part: str, documents: Path, limit: int, only: Sequence[str] | None = None) -> Given:
    """Questions of evals/reading. only: the sources to ask about. Raises CommandFailed."""
    found = ReadingSet.read(OURS, part, documents, limit, only)
    cases = [
        Case(asked.question, collection_of(asked.source), [str(text) for text in found.texts(asked)])
        for asked in found.questions
    ]
    return Given({collection_of(name): folder for name, folder in found.folders.items()}, cases)


def of_own(questions: Path, documents: Path, limit: int) -> Given:
    """Questions of one's own. Raises CommandFailed."""
    asked = spread([one for _, one in lines(questions, OwnQuestion, "question")], limit)
    cases = [Case(one.question, _OWN, [one.answer] if one.answer else []) for one in asked]
    return Given({_OWN: documents}, cases)


def most(
    cases: int,
    context_tokens: int,
    price: Price | None,
    judge: Price | None,
    citations: Sequence[Price | None] = (),
) -> str:
    """The most that the answers and the verdicts cost, as a sentence. citations: the price of the model that judges
    citations, if there is one."""
    read, wrote = cases * (context_tokens + _BESIDE_TOKENS), cases * _ANSWER_TOKENS
    judged, verdict_tokens = cases * _JUDGED_TOKENS, cases * _VERDICT_TOKENS
    text = f"At most {cases} answers ({read:,} input and {wrote:,} output tokens) and {cases} verdicts ({judged:,} and {verdict_tokens:,})"
    checked = cases * _CHECKED_TOKENS if citations else 0
    if citations:
        text += f", and checks of citations ({checked:,} and {verdict_tokens:,})"
    if price is None or judge is None or None in citations:
        return f"{text}; the price of a model is not known."
    dollars = (
        read * price.input
        + wrote * price.output
        + judged * judge.input
        + verdict_tokens * judge.output
        + sum(checked * one.input + verdict_tokens * one.output for one in citations if one is not None)
    ) / 1_000_000
    return f"{text}: at most {dollars:.2f} dollars."


async def judged(judge: ChatModel, case: Case, answer: str) -> Verdict | None:
    """The judge's verdict, or None if it gave no verdict. Raises ModelError."""
    parts = [
        ("question", case.question),
        *(("reference", text) for text in case.references or [""]),
        ("answer", answer),
    ]
    text = "\n\n".join(f"The {kind}:\n{fenced(kind, _cut(part), _MARK)}" for kind, part in parts)
    prompt = ModelPrompt(
        [PromptMessage(Role.SYSTEM, RUBRIC), PromptMessage(Role.USER, text)],
        label=JUDGING,
        schema=_SCHEMA,
        max_tokens=_VERDICT_TOKENS,
        temperature=0.0,
        purpose=JUDGING,
    )
    said = "".join([piece.text async for piece in judge.stream(prompt) if isinstance(piece, TextPiece)])
    try:
        return _Judged.model_validate_json(said[said.find("{") : said.rfind("}") + 1]).verdict
    except ValueError:
        return None


def _cut(text: str) -> str:
    return text.encode()[:_MOST_BYTES].decode(errors="ignore")


async def measured(client: AsyncResponsa, case_set: Given, judge: ChatModel) -> Sequence[CaseOutcome]:
    """Loads the documents, asks the questions, and has the answers judged. Raises CommandFailed, ModelError."""
    for collection, folder in case_set.folders.items():
        await loaded(client, folder, collection, f"Loading {folder.name}")
    texts: dict[str, bytes] = {}
    with Progress("Asking", len(case_set.cases)) as progress:

        async def ask(case: Case) -> CaseOutcome:
            async with answering(client, case.question, case.collection) as turn:
                valid = await valid_citations(client, turn, texts)
            event, answer = turn.terminal_event, turn.terminal_event.answer
            match event.WhichOneof("event"):
                case "answer":
                    verdict = await judged(judge, case, answer.text)
                case "refused":
                    verdict = Verdict.REFUSED
                case _:
                    verdict = None
            progress.advance()
            states = Counter[str]()
            for one in answer.citations:
                said = checked(answer.text, one)
                states[said["quote_origin"]] += 1
                states[said["verdict"]] += 1
                states["with a difference"] += bool(one.differences)
            return CaseOutcome(case, verdict, answer.model, len(answer.citations), len(valid), states)

        return await several(case_set.cases, ask)


def report(outcomes: Sequence[CaseOutcome]) -> Sequence[str]:
    """The figures, one on each line."""
    report_lines: list[str] = []
    for name, those in (
        ("answerable", [one for one in outcomes if one.case.references]),
        ("not answerable", [one for one in outcomes if not one.case.references]),
    ):
        if those:
            counts = Counter(one.verdict for one in those)
            figures = [
                f"{verdict} {counts[verdict]} ({counts[verdict] / len(those):.3f})" for verdict in Verdict
            ]
            report_lines.append(
                f"{name:<15} {len(those)}: {', '.join(figures)}, without a verdict {counts[None]}"
            )
    citations, valid = sum(one.citations for one in outcomes), sum(one.valid for one in outcomes)
    answered = [one for one in outcomes if one.model]
    cited = sum(one.citations > 0 for one in answered)
    report_lines.append(
        f"{'citations':<15} {citations}: valid {valid}; answers with a citation {cited} of {len(answered)}"
    )
    states = sum((Counter(one.states) for one in outcomes), Counter[str]())
    counted = [
        f"{name} {states[name]}" for name in (*map(str, (*QuoteOrigin, *JudgeVerdict)), "with a difference")
    ]
    report_lines.append(f"{'cited as':<15} {', '.join(counted)}")
    writers = Counter(one.model for one in answered)
    report_lines.append(
        f"{'written by':<15} {', '.join(f'{model} {count}' for model, count in writers.most_common())}"
    )
    return report_lines


@contextmanager
def own_instance(model: str, case_set: Given) -> Generator[tuple[str, str]]:
    """Runs an instance whose language model is `model` during the block, in its own folder, which is purged afterwards.
    Yields its URL and the key of its administrator.

    Raises CommandFailed: the instance does not start.
    """
    with tempfile.TemporaryDirectory(prefix="responsa-verify-") as folder:
        home, labels = Path(folder) / "home", Path(folder) / "labels.jsonl"
        labels.write_text(case_set.labels, encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Only what concerns models and search is taken from the environment, so that no other database is used.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("RESPONSA_") or name.startswith(_KEPT)
        }
        variables = {
            **kept,
            "RESPONSA_HOME": str(home),
            "RESPONSA_PORT": str(port),
            "RESPONSA_MODELS__DEFAULT": json.dumps([model]),
            LABELS: str(labels),
        }
        command = str(Path(sys.executable).with_name("responsa"))
        with subprocess.Popen(
            [command, "up"],
            cwd=CHECKOUT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                assert process.stdout is not None
                said: list[str] = []
                for line in process.stdout:
                    said.append(line.strip())
                    if line.startswith("Responsa is ready"):
                        break
                else:
                    raise CommandFailed(f"The instance did not start: {' / '.join(said[-5:])}")
                yield f"http://127.0.0.1:{port}", (home / "api-key").read_text(encoding="utf-8").strip()
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate()
                subprocess.run([command, "purge", "--yes"], env=variables, capture_output=True, check=False)


def checkout_sources(folder: Path) -> Sequence[str]:
    """Writes the documents of those sources of evals/reading that are in this checkout's history into the folder, and
    returns the sources' names. Raises CommandFailed."""
    names: list[str] = []
    for name, source in sources(OURS).items():
        if source.origin != "this repository":
            continue
        (folder / name).mkdir()
        for path in _git("ls-tree", "-r", "--name-only", source.commit).decode().splitlines():
            # In a path, an asterisk stands for a part without slashes.
            if path.count("/") == source.paths.count("/") and fnmatch(path, source.paths):
                (folder / name / Path(path).name).write_bytes(_git("show", f"{source.commit}:{path}"))
        names.append(name)
    return names


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise CommandFailed(
            "This checkout does not have the documents that the questions are about.",
            "Name a folder with the documents: docs/quality.md says which.",
        ) from None


def _agreed() -> bool:
    try:
        return input("Ask? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print("There is no terminal to ask; YES=1 goes on at once.")
        return False


async def _answers(
    case_set: Given, settings: Settings, table: ModelTable, options: argparse.Namespace
) -> int:
    judge = table.chain([options.judge])
    assert judge is not None
    tokens = DEFAULT_RETRIEVAL.context_tokens
    citations = [table.price(name) for name in (settings.citations.judge,) if name]
    prices = table.price(options.model), table.price(options.judge)
    print(most(len(case_set.cases), tokens, *prices, citations), flush=True)
    if not options.yes and not _agreed():
        return _USAGE
    if options.running:
        async with open_async_client() as client:
            outcomes = await measured(client, case_set, judge)
    else:
        with own_instance(options.model, case_set) as (url, key):
            async with AsyncResponsa(url, key) as client:
                outcomes = await measured(client, case_set, judge)
    print("\n".join(report(outcomes)))
    if options.running and not any(one.model == options.model for one in outcomes):
        print(f"The running instance does not answer with {options.model}.", file=sys.stderr)
        return _FAILED
    return 0


async def verify_answers(options: argparse.Namespace) -> int:
    """Measures, and returns the exit code. Raises CommandFailed, ModelError, SettingsError."""
    settings = load()
    table = model_table(settings.language_models, Layout.of(settings.home))
    try:
        for name in (options.model, options.judge):
            if (problem := table.problem(name)) is not None:
                raise CommandFailed(problem, "", _USAGE)
        with tempfile.TemporaryDirectory() as made:
            if options.questions is not None:
                given = of_own(options.questions, options.documents, options.limit)
            elif options.documents is not None:
                given = of_reading(options.part, options.documents, options.limit)
            else:
                given = of_reading(options.part, Path(made), options.limit, checkout_sources(Path(made)))
            return await _answers(given, settings, table, options)
    finally:
        await table.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments, measures, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m responsa_lab.verifying.answers", description=__doc__)
    parser.add_argument("model", help="the model that answers, as provider:model")
    parser.add_argument("documents", nargs="?", type=Path, help="the folder of documents")
    parser.add_argument("--questions", type=Path, help="the file of one's own questions")
    parser.add_argument("--judge", help="the model that judges; default: the model that answers")
    parser.add_argument(
        "--part", choices=[str(part) for part in ReadingPart], default=str(ReadingPart.CHOOSE)
    )
    parser.add_argument("--limit", type=int, default=0, help="how many questions to ask; 0 asks all")
    parser.add_argument("--running", action="store_true", help="ask the instance of the command line")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    options = parser.parse_args(arguments)
    options.judge = options.judge or options.model
    if options.questions is not None and options.documents is None:
        parser.error("one's own questions need the folder of documents")
    try:
        return asyncio.run(verify_answers(options))
    except CommandFailed as failed:
        print(f"{failed.sentence} {failed.remedy}".strip(), file=sys.stderr)
        return failed.exit_code
    except (SettingsError, ModelError) as error:
        print(error, file=sys.stderr)
        return _USAGE


if __name__ == "__main__":
    sys.exit(main())
