"""`responsa samples person mira.holt`: an account for a person of a sample database, with a key for the command line.

The server has no call that makes a key for somebody else. The command therefore sets a random password with a reset
code, as an administrator may, signs in with it, creates a key and forgets the password.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from responsa.auth.v1 import user_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import NotFound, PermissionDenied, Unauthenticated
from responsa_server.cli.connecting import connect
from responsa_server.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandFailed,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.sample_databases import load_person
from responsa_server.cli.session import client_settings, open_async_client
from responsa_server.private_files import write_private
from responsa_server.samples import SAMPLE_DATABASES, SampleDatabase, SamplePerson

_KEY_NAME: Final = "responsa samples person"
_QUESTION: Final = "Which careers suit me, and why?"


@dataclass(frozen=True, slots=True)
class PersonAccount:
    """The account of a person. `made`: whether the command created it. `key_file`: the file with the account's API key.
    `documents`: the number of documents about the person."""

    person: SamplePerson
    user: user_pb2.User
    made: bool
    key_file: Path
    documents: int

    @property
    def lines(self) -> str:
        count = "1 document" if self.documents == 1 else f"{self.documents} documents"
        lines = [
            f"{self.person.name} <{self.person.address}>: {'new' if self.made else 'existing'} account, {count}"
        ]
        if not self.person.consents:
            lines.append(
                "This person gave no consent, or withdrew it, so there are no documents to ask about."
            )
        before = f"{_without_key()}RESPONSA_API_KEY_FILE={shlex.quote(_near(self.key_file))} responsa"
        return "\n".join(
            [
                *lines,
                "Ask as this person, or sign a browser in:",
                f'  {before} ask --agent personal "{_QUESTION}"',
                f"  {before} open",
            ]
        )

    @property
    def plain(self) -> dict[str, Any]:
        return {
            "user": self.user.name,
            "subject": self.user.subject,
            "made": self.made,
            "keyFile": str(self.key_file),
            "documents": self.documents,
        }


def load_account(
    person: Annotated[
        str,
        typer.Argument(
            help="The person's id, address, or the part of the address before the @, such as 1, mira.holt or jonas.reed."
        ),
    ],
    new_key: Annotated[
        bool,
        typer.Option(
            "--new-key",
            help=(
                "If the account exists and this machine has no key for it, create a key. For this, the "
                "command sets a new password, which ends the account's sessions."
            ),
        ),
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object: user, subject, made, keyFile, documents."),
    ] = False,
) -> None:
    """Create an account for a person of the sample database aptitude, with the documents about this person, and print how
    to ask as the person. The account's API key is put into the folder `people` in the data folder. A second call uses
    the same account and key. This command needs the role ADMIN.

    Exit codes: 0 done, 1 the caller is not an administrator, or the account cannot be used, 2 there is no such person,
    3 cannot connect or sign in.
    """
    with reporting(json=json):
        sample, found = _person(valid_text(person, "The person"))
        account = asyncio.run(_account(sample, found, new_key=new_key))
        if json:
            print_json(account.plain)
        else:
            print_text(account.lines)


def _person(reference: str) -> tuple[SampleDatabase, SamplePerson]:
    """The person with this id or address. Raises CommandFailed."""
    for sample in SAMPLE_DATABASES.values():
        for person in sample.people():
            if reference.casefold() in (str(person.id), person.address, person.address.partition("@")[0]):
                return sample, person
    some = ", ".join(
        person.address.partition("@")[0]
        for sample in SAMPLE_DATABASES.values()
        for person in sample.people()[:3]
    )
    raise CommandFailed(
        f"There is no sample person {reference}.",
        f"Give an id from 1 on, or an address, such as {some}.",
        EXIT_USAGE,
    )


async def _account(sample: SampleDatabase, person: SamplePerson, *, new_key: bool) -> PersonAccount:
    file = client_settings().home / "people" / f"{person.address.partition('@')[0]}.key"
    async with open_async_client() as client:
        user, made = await _user(client, person)
        if not await _fits(client.url, _stored_key(file), user):
            if not made and not new_key:
                raise CommandFailed(
                    f"The account {user.email} exists, and {_near(file)} has no key for it.",
                    "Give --new-key: the command then sets a new password, which ends the account's sessions, and creates a key.",
                )
            await _put_key(client, file, user)
        documents = await load_person(client, sample, person)
    return PersonAccount(person, user, made, file, documents)


async def _user(client: AsyncResponsa, person: SamplePerson) -> tuple[user_pb2.User, bool]:
    made = False
    try:
        user = await client.lookup_user(person.address)
    except NotFound:
        user, made = await client.create_user(person.name, person.address), True
    if user.subject not in ("", person.address):
        raise CommandFailed(
            f"The account {user.email} has the subject {user.subject}, not {person.address}.",
            f"Change the subject with `responsa call AdminService.UpdateUser --name {user.name} --subject {user.email}`.",
        )
    if user.HasField("disable_time"):
        raise CommandFailed(
            f"The account {user.email} is disabled.",
            f"Enable it with `responsa call AdminService.EnableUser --name {user.name}`.",
        )
    if not user.subject:
        user = await client.update_user(user.name, subject=person.address, etag=user.etag)
    return user, made


def _stored_key(file: Path) -> str:
    """The key in a file; "" if there is no such file."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


async def _fits(url: str, key: str, user: user_pb2.User) -> bool:
    if not key:
        return False
    try:
        async with connect(AsyncResponsa, url, key) as own:
            return (await own.me()).name == user.name
    except (CommandFailed, Unauthenticated, PermissionDenied):
        return False


async def _put_key(client: AsyncResponsa, file: Path, user: user_pb2.User) -> None:
    """Create a key of this user and write it to the file. Keys that earlier calls created are revoked."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The file is first written as it is, so that a folder that cannot be written costs nobody a password.
        write_private(file, _stored_key(file) + "\n")
        write_private(file, await _key(client, user) + "\n")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error.strerror}).", "", EXIT_FAILED) from None


async def _key(client: AsyncResponsa, user: user_pb2.User) -> str:
    password = secrets.token_urlsafe(32)
    code = (await client.create_reset_code(user.name)).code
    async with connect(AsyncResponsa, client.url) as anybody:
        await anybody.reset_password(code, password)
        tokens = (await anybody.login(user.email, password, user.tenant)).tokens
        try:
            async with connect(AsyncResponsa, client.url, tokens.access_token) as own:
                async for api_key in own.api_keys():
                    if api_key.display_name == _KEY_NAME and not api_key.HasField("revoke_time"):
                        await own.revoke_api_key(api_key.name)
                return (await own.create_api_key(_KEY_NAME)).secret
        finally:
            await anybody.logout(tokens.refresh_token)


def _without_key() -> str:
    """What a shell needs before a command so that it reads a key from a file: a key in the environment would win."""
    return "RESPONSA_API_KEY= " if client_settings().key_variable == "RESPONSA_API_KEY" else ""


def _near(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
