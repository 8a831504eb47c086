"""`responsa eval personal`: measures whether people get right answers about themselves.

A folder holds one file for each part, such as choose.jsonl. Each line is one JSON object: {id, person, before, question, facts, document}. The server must have the documents about these people, such as
those of `responsa samples load aptitude`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
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

OURS: Final = CHECKOUT / "evals" / "personal"
AGENT: Final = "personal"
_KIND: Final = "kind"
"""The metadata of a document that holds its kind."""


class Part(StrEnum):
    """The questions to ask: those for choosing, those that were looked at once, and those that were written after that. Then questions in people's own words: those for choosing, and those set aside. Then questions by a writer who knew no answer: those for reading mistakes, and those set aside. Then questions of further writers; all of them except those of blind2 are examples of the agent, too."""

    CHOOSE = "choose"
    LOOK = "look"
    FRESH = "fresh"
    FREE = "free"
    HELD = "held"
    OWN = "own"
    OWN_HELD = "own_held"
    FIT1 = "fit1"
    FIT2 = "fit2"
    FIT3 = "fit3"
    FIT4 = "fit4"
    UNSEEN = "unseen"
    BLIND2 = "blind2"
    BLIND3 = "blind3"


class OwnQuestion(BaseModel):
    """One line. person: the subject of the person's documents. before: questions that the person asks first, in the same conversation. facts: texts that must stand in the answer or in the refusal;
    a repetition of the question does not count. document: the kind of the document that must be cited, about the person or about nobody; "" if no citation is needed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    person: Annotated[str, Field(min_length=1)]
    before: tuple[str, ...] = ()
    question: Annotated[str, Field(min_length=1)]
    facts: Annotated[tuple[str, ...], Field(min_length=1)]
    document: str


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """The answer to a question, or the message of its refusal. kinds: the kinds of the documents that it cites."""

    question: OwnQuestion
    text: str
    kinds: frozenset[str]
    refused: bool

    @property
    def right(self) -> bool:
        """Whether all facts stand in the answer, and the document is cited."""
        asked = self.question
        text = self.text.casefold().replace(f"“{asked.question.casefold()}”", "")
        cited = not asked.document or asked.document in self.kinds
        return cited and all(one.casefold() in text for one in asked.facts)


def eval_personal(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder with one file of questions for each part.", show_default=False),
    ] = OURS,
    part: Annotated[Part, typer.Option(help="The questions to ask.")] = Part.CHOOSE,
    mistakes: Annotated[int, typer.Option(min=0, help="The number of wrong answers to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the agent personal as each of the people, and print the share of right answers with its 95 % interval.

    Needs the role ADMIN: users that lack are created with the people's subjects, a service asks on their behalf, and at the end the service and the created users are deleted.
    """
    with reporting(json=json):
        given = [one for _, one in lines(folder / f"{part}.jsonl", OwnQuestion, "question")]
        found = asyncio.run(_asked(given))
        figure = share(one.right for one in found)
        refused = sum(one.refused for one in found)
        if json:
            print_json({"questions": len(found), "right": interval_json(figure), "refused": refused})
            return
        print_text(f"right     {interval_text(figure)}")
        print_text(f"{len(found)} questions, {refused} of which were refused")
        for one in [one for one in found if not one.right][:mistakes]:
            print_text(
                f"{one.question.person:<28}  {one_line(one.question.question, 60):<60}  {one_line(one.text, 80)}"
            )


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
    async with answering(client, asked.question, agent=AGENT, before=asked.before) as turn:
        answer, refused = turn.terminal_event.answer, turn.terminal_event.HasField("refused")
        names = {one.document_version.rpartition("/versions/")[0] for one in answer.citations}
        documents = [await client.get_document(one) for one in names]
        kinds = {str(one.metadata[_KIND]) for one in documents if one.subject in (asked.person, "")}
        text = turn.terminal_event.refused.message if refused else answer.text
        return OwnAnswer(asked, text, frozenset(kinds), refused)
