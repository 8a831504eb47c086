"""`responsa eval personal`: measures whether people are shown what answers their questions about themselves.

Each line of the file is one JSON object: {id, person, question, lines}. The server must have the documents about these people, such as those of `responsa samples load aptitude`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel, ConfigDict, Field

from responsa.auth.v1 import user_pb2
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.measuring import answering
from responsa_lab.evaluation.metrics import interval_json, interval_text, share
from responsa_server.cli.output import one_line, print_json, print_text, reporting
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import client_settings, open_async_client
from responsa_server.instance import CHECKOUT

OURS: Final = CHECKOUT / "evals" / "personal" / "questions.jsonl"
AGENT: Final = "personal"


class OwnQuestion(BaseModel):
    """One line. person: the subject of the person's documents. lines: sentences of the person's record or of a catalogue, each of which answers; empty if nothing does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    person: Annotated[str, Field(min_length=1)]
    question: Annotated[str, Field(min_length=1)]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """The answer to a question. shown: the excerpts on the first screen, also those of a refusal, or the quotes of a model's citations. more: the further excerpts. refused: whether there is no answer."""

    question: OwnQuestion
    shown: Sequence[str]
    more: Sequence[str]
    refused: bool

    @property
    def right(self) -> bool:
        """Whether one of the lines is shown at once; if nothing answers, whether the question was refused."""
        return _has(self.shown, self.question.lines) if self.question.lines else self.refused

    @property
    def right_with_more(self) -> bool:
        """The same with the further excerpts."""
        return self.right or _has(self.more, self.question.lines)


def _has(texts: Iterable[str], wanted: Sequence[str]) -> bool:
    """Whether one of the wanted lines stands in a text, or a text in a line: a citation may quote part of it."""
    return any(one in text or text in one for text in texts for one in wanted)


def eval_personal(
    file: Annotated[Path, typer.Argument(help="A file of questions.", show_default=False)] = OURS,
    mistakes: Annotated[int, typer.Option(min=0, help="The number of wrong answers to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the agent personal as each of the people, and print the share of questions for which the line that answers is shown, with its 95 % interval.

    Needs the role ADMIN: users that lack are created with the people's subjects, a service asks on their behalf, and at the end the service and the created users are deleted.
    """
    with reporting(json=json):
        given = [one for _, one in lines(file, OwnQuestion, "question")]
        found = asyncio.run(_asked(given))
        answerable = [one for one in found if one.question.lines]
        shown = share(one.right for one in answerable)
        with_more = share(one.right_with_more for one in answerable)
        refused = share(one.right for one in found if not one.question.lines)
        if json:
            print_json(
                {
                    "questions": len(found),
                    "shown": interval_json(shown),
                    "withMore": interval_json(with_more),
                    "refused": interval_json(refused),
                }
            )
            return
        print_text(f"shown      {interval_text(shown)}")
        print_text(f"with more  {interval_text(with_more)}")
        print_text(f"refused    {interval_text(refused)} of the questions that nothing answers")
        for one in [one for one in found if not one.right][:mistakes]:
            said = one_line(" | ".join(one.shown), 80) or "refused"
            print_text(f"{one.question.id:<8}  {one_line(one.question.question, 60):<60}  {said}")


async def _asked(given: Sequence[OwnQuestion]) -> Sequence[OwnAnswer]:
    found: list[OwnAnswer] = []
    async with open_async_client() as admin, _asking(admin, {one.person for one in given}) as clients:
        with Progress("Asking", len(given)) as progress:
            for one in given:
                found.append(await _answered(clients[one.person], one))
                progress.advance()
    return found


@asynccontextmanager
async def _asking(admin: AsyncResponsa, people: Iterable[str]) -> AsyncGenerator[Mapping[str, AsyncResponsa]]:
    """A client for each person, by the subject of the person's documents."""
    users = {one.subject: one.name async for one in admin.users() if one.subject}
    async with AsyncExitStack() as stack:
        service = await admin.create_user("responsa eval personal", role=user_pb2.USER_ROLE_SERVICE)
        stack.push_async_callback(admin.delete_user, service.name)
        made = await admin.create_service_api_key(service.name, "responsa eval personal")
        clients: dict[str, AsyncResponsa] = {}
        for person in sorted(people):
            if person not in users:
                user = await admin.create_user(person)
                stack.push_async_callback(admin.delete_user, user.name)
                await admin.update_user(user.name, subject=person)
                users[person] = user.name
            await admin.create_service_grant(service.name, users[person])
            clients[person] = await stack.enter_async_context(_client(made.secret, users[person]))
        yield clients


def _client(key: str, user: str) -> AsyncResponsa:
    return AsyncResponsa(client_settings().server_url, key, 60.0, on_behalf_of=user)


async def _answered(client: AsyncResponsa, asked: OwnQuestion) -> OwnAnswer:
    async with answering(client, asked.question, agent=AGENT) as turn:
        answer, refused = turn.terminal_event.answer, turn.terminal_event.refused
        excerpts = [one.text for one in (*answer.excerpts, *refused.excerpts)]
        more = [one.text for one in answer.more_excerpts]
        quotes = [one.quote for one in answer.citations]
        return OwnAnswer(asked, [*excerpts, *quotes], more, turn.terminal_event.HasField("refused"))
