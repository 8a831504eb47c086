"""The group `responsa samples`: the sample documents and teachers of agents.

A folder of samples may contain the folder `corpus` and the files `synonyms.txt` and `teachers.toml`. It is the folder
`samples` of an agent's folder or, for agents whose samples the package leaves out, a folder of the checkout's
`samples`. A document's source key is its path below `corpus`, such as wren-2.md, and each teacher has a fixed id.
Samples can therefore be loaded repeatedly without making duplicates.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa_client.aio import AsyncResponsa
from responsa_client.errors import AlreadyExists, NotFound, PermissionDenied
from responsa_server.cli.call_errors import sentence_of
from responsa_server.cli.ingest import DocumentReport, FileOutcome, IngestSummary, ensure_collection, ingest
from responsa_server.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandFailed,
    print_error,
    print_json,
    print_text,
    reporting,
)
from responsa_server.cli.progress import Progress
from responsa_server.cli.resources import CommandGroup, Made, text_of
from responsa_server.cli.session import agents_folder, open_async_client
from responsa_server.cli.sources import Target, entries
from responsa_server.domain.formatting import counted
from responsa_server.system.instance import CHECKOUT, SHIPPED_AGENTS

OF_CHECKOUT: Final = CHECKOUT / "samples"
"""The samples that are not part of the package, in one folder for each agent. An installed package has no such folder."""
_LEFT_OUT: Final = ("cairo", "scarb")
"""The agents whose samples are there."""


class SampleTeacher(BaseModel):
    """One teacher in a file teachers.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: UUID
    display_name: Annotated[str, Field(min_length=1)]
    persona: Annotated[str, Field(min_length=1)]
    parameters: dict[str, Any] = {}


class _Teachers(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    teachers: tuple[SampleTeacher, ...] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """An agent's samples. documents: the files and their source keys. synonyms: the synonyms of the documents' collection; "" for none."""

    agent: str
    documents: Sequence[Target]
    synonyms: str
    teachers: Sequence[SampleTeacher]


@dataclass(slots=True)
class LoadOutcome:
    """The outcome of loading an agent's samples. teachers: how many were new, were already there, and were left out
    because the caller lacks the role."""

    agent: str
    collection: str = ""
    documents: IngestSummary = field(default_factory=IngestSummary)
    teachers: Counter[str] = field(default_factory=lambda: Counter(new=0, there=0, leftOut=0))


register: Final = CommandGroup("List and load the sample documents and teachers of agents.")
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="A folder with further samples, in one folder for each agent, such as samples/ of a checkout.",
        show_default=False,
    ),
]


@register.show("list", "Print one JSON object per agent (agent, documents, teachers).", text_of)
def list_samples(folder: From = None) -> Iterator[Made]:
    """List the agents that have samples, with the numbers of their documents and teachers."""
    for name, path in sample_folders(folder or OF_CHECKOUT).items():
        samples = read(name, path)
        documents, teachers = len(samples.documents), len(samples.teachers)
        with_teachers = f", {counted(teachers, 'teacher')}" if teachers else ""
        plain = {"agent": name, "documents": documents, "teachers": teachers}
        yield plain, f"{name}  {counted(documents, 'document')}{with_teachers}"


@register.add("load")
def load(
    agents: Annotated[list[str] | None, typer.Argument(metavar="[SAMPLES]...")] = None,
    folder: From = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Load agents' sample documents into the collections that these agents answer from, and create the agents' sample
    teachers. Each line of the output names samples that can be used from then on.

    A second load skips unchanged documents and teachers. Without the role ADMIN, the command skips the teachers and
    says so.

    Exit codes: 0 all loaded, 1 a document failed, 2 the samples or the agent do not exist, 3 cannot connect or sign in.

    Args:
        agents: The ids of agents. Default: all.
        json: Print one JSON object per agent (agent, collection, documents, teachers).
    """
    with reporting(json=json):
        folders = _choose(agents or (), sample_folders(folder or OF_CHECKOUT))
        sample_sets = [read(name, folder) for name, folder in folders.items()]
        if asyncio.run(_load(sample_sets, strict=bool(agents), json=json)):
            raise typer.Exit(EXIT_FAILED)


def sample_folders(further: Path) -> Mapping[str, Path]:
    """Return the folders of samples, keyed by agent id.

    The agents are the user's own agents on this machine, the shipped agents that no agent of the user replaces, and
    those that have a folder in `further`, which need not exist.
    """
    agents = {
        folder.name: folder
        for root in (SHIPPED_AGENTS, agents_folder())
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if (folder / "agent.toml").is_file()
    }
    folders = {path.name: path for path in further.iterdir() if path.is_dir()} if further.is_dir() else {}
    folders |= {name: folder / "samples" for name, folder in agents.items() if (folder / "samples").is_dir()}
    return dict(sorted(folders.items()))


def read(agent: str, folder: Path) -> Samples:
    """Read an agent's samples. folder: the folder of the samples.

    Raises:
        CommandFailed: the agent's synonyms.txt or teachers.toml cannot be read, or teachers.toml is not valid; the
            message names the wrong place.
    """
    corpus = folder / "corpus"
    documents = [
        Target(path, path.relative_to(corpus).as_posix())
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    return Samples(agent, documents, _read_text(folder / "synonyms.txt"), _teachers(folder / "teachers.toml"))


def _read_text(file: Path) -> str:
    """The text of a file; "" if there is none. Raises CommandFailed if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig") if file.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} cannot be read ({error}).", "", EXIT_USAGE) from None


def _teachers(file: Path) -> Sequence[SampleTeacher]:
    try:
        return _Teachers.model_validate(tomllib.loads(_read_text(file))).teachers
    except tomllib.TOMLDecodeError as error:
        raise CommandFailed(f"{file} cannot be read ({error}).", "", EXIT_USAGE) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(f"{file}: {field}: {first['msg']}.", "", EXIT_USAGE) from None


def _choose(names: Sequence[str], folders: Mapping[str, Path]) -> Mapping[str, Path]:
    """The folders of samples, by agent, that these names mean."""
    if not names:
        return folders
    named = dict.fromkeys(name.removeprefix("agents/") for name in names)
    missing = [name for name in named if name not in folders]
    if left_out := [name for name in missing if name in _LEFT_OUT]:
        raise CommandFailed(
            f"The samples of {' and '.join(left_out)} are not part of the installed package.",
            "Check out Responsa's repository, and name its folder samples: --from FOLDER.",
            EXIT_USAGE,
        )
    if missing:
        raise CommandFailed(
            f"There are no samples for {', '.join(missing)}.",
            f"These agents have samples: {', '.join(folders)}.",
            EXIT_USAGE,
        )
    return {name: folders[name] for name in named}


async def _load(sample_sets: Sequence[Samples], *, strict: bool, json: bool) -> bool:
    """Load samples, and print what each agent has got as soon as it can be used. Returns whether a document failed.

    strict: whether an agent that the server lacks ends the command. Otherwise it is skipped, and the command says so.
    """
    failed = False
    async with open_async_client() as client:
        for samples in sample_sets:
            try:
                agent = await client.agent(samples.agent)
            except NotFound:
                if strict:
                    raise
                print_error(f"The server has no agent {samples.agent}: its samples were skipped.")
                continue
            collection = next(iter(agent.collections), samples.agent).removeprefix("collections/")
            with Progress(samples.agent, len(samples.documents) + len(samples.teachers)) as progress:
                loaded = await _load_one(client, samples, collection, progress)
            _print(loaded, json=json)
            failed |= loaded.documents.failed > 0
    return failed


def _print(loaded: LoadOutcome, *, json: bool) -> None:
    if json:
        print_json(
            {
                "agent": loaded.agent,
                "collection": loaded.collection,
                "documents": {outcome.lower(): number for outcome, number in loaded.documents.counts.items()},
                "teachers": dict(loaded.teachers),
            }
        )
    else:
        line = f"{loaded.agent}: {loaded.documents}, in collection {loaded.collection}"
        new, there = loaded.teachers["new"], loaded.teachers["there"]
        if new + there:
            line += f"; {counted(new + there, 'teacher')}: {new} new, {there} existing"
        print_text(line)
    if left_out := loaded.teachers["leftOut"]:
        some = "1 teacher was" if left_out == 1 else f"{left_out} teachers were"
        print_error(f"{loaded.agent}: {some} skipped: creating teachers needs the role ADMIN.")


async def _load_one(
    client: AsyncResponsa, samples: Samples, collection: str, progress: Progress
) -> LoadOutcome:
    def show_report(report: DocumentReport) -> None:
        progress.advance()
        if report.outcome is FileOutcome.FAILED:
            why = sentence_of(report.error) if report.error else f"{report.why}."
            progress.print_error(f"{report.where}: {why}")

    loaded = LoadOutcome(samples.agent, collection)
    current = await ensure_collection(client, collection)
    if samples.synonyms and not current.synonyms:
        await client.update_collection(collection, synonyms=samples.synonyms)
    loaded.documents = await ingest(client, entries(samples.documents), collection, show_report)
    for teacher in samples.teachers:
        loaded.teachers[await _load_teacher(client, teacher)] += 1
        progress.advance()
    return loaded


async def _load_teacher(client: AsyncResponsa, teacher: SampleTeacher) -> str:
    """Create a teacher who is missing. Returns whether the teacher is "new", was "there", or is "leftOut"."""
    identity = str(teacher.id)
    try:
        try:
            await client.teacher(identity)
        except NotFound:
            await client.create_teacher(
                teacher.display_name, teacher.persona.strip(), teacher.parameters, identity
            )
            return "new"
    except PermissionDenied:
        return "leftOut"
    except AlreadyExists:  # another caller has just created the same teacher
        pass
    return "there"
