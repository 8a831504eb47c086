"""`responsa samples load`: the sample documents and teachers of agents, and sample databases.

An agent's folder may contain the folder `samples/corpus` and the files `samples/synonyms.txt` and `samples/teachers.toml`. A document's source key
is its path below `samples/corpus`, such as wren-2.md, and each teacher has a fixed id. Samples can therefore be loaded
repeatedly without making duplicates. `sample_databases.py` loads sample databases.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa_client.aio import AsyncResponsa
from responsa_client.errors import AlreadyExists, NotFound, PermissionDenied
from responsa_server.cli.ingest import Outcome, Report, Summary, ensure_collection, ingest
from responsa_server.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandFailed,
    print_error,
    print_json,
    print_text,
    reporting,
    sentence_of,
)
from responsa_server.cli.progress import Progress
from responsa_server.cli.sample_databases import load_database
from responsa_server.cli.sample_people import load_account
from responsa_server.cli.session import agents_folder, open_async_client
from responsa_server.cli.sources import Target, entries
from responsa_server.cli.synonyms import read_file
from responsa_server.domain.words import counted
from responsa_server.instance import SHIPPED_AGENTS
from responsa_server.samples import SAMPLE_DATABASES, SampleDatabase


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
class Loaded:
    """The outcome of loading an agent's samples.

    made: the number of teachers that were created. there: the number of teachers that already existed. left_out: the
    number of teachers that were skipped because the caller lacks the role.
    """

    agent: str
    collection: str = ""
    documents: Summary = field(default_factory=Summary)
    made: int = 0
    there: int = 0
    left_out: int = 0


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Load the sample documents and teachers of agents, and sample databases. Make accounts for the people in them.",
        rich_markup_mode=None,
    )
    group.command("load")(load)
    group.command("person")(load_account)
    app.add_typer(group, name=name)


def load(
    agents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SAMPLES]...",
            help="The ids of agents, and names of sample databases. Default: all, the databases last.",
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object per agent (agent, collection, documents, teachers) and per database (database, sources).",
        ),
    ] = False,
) -> None:
    """Load agents' sample documents into the collections that these agents answer from, and create the agents' sample
    teachers. Load sample databases: make the database on this machine, and run the sources that read it, which takes some minutes. Each
    line of the output names samples that can be used from then on. Ctrl-C ends the command; the server finishes the runs.

    A second load skips unchanged documents and teachers, and follows runs that have not ended. Without the role ADMIN, the command skips the teachers and
    says so. Without this role and without named samples, it also skips the databases.

    Exit codes: 0 all loaded, 1 a document failed, 2 the samples or the agent do not exist, 3 cannot connect or sign in.
    """
    with reporting(json=json):
        folders, databases = _chosen(agents or ())
        found = [read(folder) for folder in folders]
        if asyncio.run(_load(found, databases, strict=bool(agents), json=json)):
            raise typer.Exit(EXIT_FAILED)


def sample_folders() -> Mapping[str, Path]:
    """Return the folders of all agents that have samples, keyed by agent id.

    The agents are the user's own agents on this machine, and the shipped agents that no agent of the user replaces.
    """
    found = {
        folder.name: folder
        for root in (SHIPPED_AGENTS, agents_folder())
        if root.is_dir()
        for folder in sorted(root.iterdir())
        if (folder / "agent.toml").is_file()
    }
    return {name: folder for name, folder in sorted(found.items()) if (folder / "samples").is_dir()}


def read(folder: Path) -> Samples:
    """Read an agent's samples.

    Raises:
        CommandFailed: the agent's synonyms.txt or teachers.toml cannot be read, or teachers.toml is not valid; the message names the wrong place.
    """
    corpus = folder / "samples" / "corpus"
    documents = [
        Target(path, path.relative_to(corpus).as_posix())
        for path in sorted(corpus.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    synonyms = folder / "samples" / "synonyms.txt"
    return Samples(
        folder.name,
        documents,
        read_file(synonyms) if synonyms.is_file() else "",
        _teachers(folder / "samples" / "teachers.toml"),
    )


def _teachers(file: Path) -> Sequence[SampleTeacher]:
    if not file.is_file():
        return ()
    try:
        return _Teachers.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).teachers
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandFailed(f"{file} cannot be read ({error}).", "", EXIT_USAGE) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CommandFailed(f"{file}: {place}: {first['msg']}.", "", EXIT_USAGE) from None


def _chosen(given: Sequence[str]) -> tuple[Sequence[Path], Sequence[SampleDatabase]]:
    """The folders of the agents, and the databases, that these names mean. A name that both have means the database."""
    folders = sample_folders()
    if not given:
        return list(folders.values()), list(SAMPLE_DATABASES.values())
    named = dict.fromkeys(name.removeprefix("agents/") for name in given)
    missing = [name for name in named if name not in folders and name not in SAMPLE_DATABASES]
    if missing:
        raise CommandFailed(
            f"There are no samples for {', '.join(missing)}.",
            f"These agents have samples: {', '.join(folders)}. Sample databases: {', '.join(SAMPLE_DATABASES)}.",
            EXIT_USAGE,
        )
    databases = [SAMPLE_DATABASES[name] for name in named if name in SAMPLE_DATABASES]
    return [folders[name] for name in named if name not in SAMPLE_DATABASES], databases


async def _load(
    found: Sequence[Samples], databases: Sequence[SampleDatabase], *, strict: bool, json: bool
) -> bool:
    """Load samples, and print what each agent and each database has got as soon as it can be used. Returns whether a document failed.

    strict: whether an agent that the server lacks, and a database that cannot be loaded, end the command. Otherwise they are skipped, and the command says so.
    """
    failed = False
    async with open_async_client() as client:
        for samples in found:
            try:
                agent = await client.agent(samples.agent)
            except NotFound:
                if strict:
                    raise
                print_error(f"The server has no agent {samples.agent}: its samples were skipped.")
                continue
            collection = next(iter(agent.collections), samples.agent).removeprefix("collections/")
            with Progress(samples.agent, len(samples.documents) + len(samples.teachers)) as progress:
                one = await _load_one(client, samples, collection, progress)
            _print(one, json=json)
            failed |= one.documents.failed > 0
        for database in databases:
            try:
                filled = await load_database(client, database)
            except CommandFailed as failure:
                if strict:
                    raise
                print_error(
                    f"The sample database {database.name} was skipped. {failure.sentence} {failure.remedy}".strip()
                )
                continue
            if json:
                print_json(filled.plain)
            else:
                print_text(filled.lines)
            failed |= filled.failed
    return failed


def _print(one: Loaded, *, json: bool) -> None:
    if json:
        print_json(_as_object(one))
    else:
        print_text(_line(one))
    if one.left_out:
        some = "1 teacher was" if one.left_out == 1 else f"{one.left_out} teachers were"
        print_error(f"{one.agent}: {some} skipped: creating teachers needs the role ADMIN.")


async def _load_one(client: AsyncResponsa, samples: Samples, collection: str, progress: Progress) -> Loaded:
    def report(one: Report) -> None:
        progress.advance()
        if one.outcome is Outcome.FAILED:
            why = sentence_of(one.error) if one.error else f"{one.why}."
            progress.print_error(f"{one.where}: {why}")

    loaded = Loaded(samples.agent, collection)
    found = await ensure_collection(client, collection)
    if samples.synonyms and not found.synonyms:
        await client.update_collection(collection, synonyms=samples.synonyms)
    loaded.documents = await ingest(client, entries(samples.documents), collection, report)
    for teacher in samples.teachers:
        await _load_teacher(client, teacher, loaded)
        progress.advance()
    return loaded


async def _load_teacher(client: AsyncResponsa, teacher: SampleTeacher, loaded: Loaded) -> None:
    try:
        await client.teacher(str(teacher.id))
    except NotFound:
        pass
    except PermissionDenied:
        loaded.left_out += 1
        return
    else:
        loaded.there += 1
        return
    try:
        await client.create_teacher(
            teacher.display_name, teacher.persona.strip(), teacher.parameters, str(teacher.id)
        )
    except PermissionDenied:
        loaded.left_out += 1
    except AlreadyExists:
        # Another caller has just created the same teacher.
        loaded.there += 1
    else:
        loaded.made += 1


def _line(one: Loaded) -> str:
    line = f"{one.agent}: {one.documents}, in collection {one.collection}"
    total = one.made + one.there
    if total:
        line += f"; {counted(total, 'teacher')}: {one.made} new, {one.there} existing"
    return line


def _as_object(one: Loaded) -> dict[str, Any]:
    return {
        "agent": one.agent,
        "collection": one.collection,
        "documents": {outcome.lower(): number for outcome, number in one.documents.counts.items()},
        "teachers": {"new": one.made, "there": one.there, "leftOut": one.left_out},
    }
