"""Makes the sample database aptitude and its documents, or an account for one of the people in it.

Usage: python -m responsa_etl.samples [PERSON] [--new-key]

It needs `responsa[etl]`, the role ADMIN, and the machine and settings of the server, whose folder of connections gets the
database. What exists stays as it is. The server has no call that makes a key for somebody else. So for an account, the
script sets a random password with a reset code, as an administrator may, signs in with it, creates a key and forgets
the password.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import document_pb2
from responsa_client import Responsa
from responsa_client.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    error_of_status,
)
from responsa_client.results import sync_progress, sync_result
from responsa_etl.samples import SAMPLE_DATABASES, SamplePerson
from responsa_server.app.settings import load
from responsa_server.cli.connecting import connect
from responsa_server.cli.output import EXIT_FAILED, EXIT_USAGE, CommandFailed, print_text, reporting
from responsa_server.cli.progress import Progress, describe_sync, running
from responsa_server.cli.session import client_settings, open_client
from responsa_server.system.private_files import write_private

_SAMPLE: Final = SAMPLE_DATABASES["aptitude"]
_KEY_NAME: Final = "responsa samples"
_DECLARATION: Final = """# A sample, made by `python -m responsa_etl.samples`.
kind = "sqlite"
file = "{name}.db"
tenants = ["{tenant}"]
"""


def main(
    person: Annotated[
        str,
        typer.Argument(help="The person's id, e-mail address, or its part before the @, such as mira.holt."),
    ] = "",
    new_key: Annotated[
        bool,
        typer.Option(
            "--new-key",
            help=(
                "If the account exists and this machine has no key for it, set a new password, which ends the account's "
                "sessions, and create a key."
            ),
        ),
    ] = False,
) -> None:
    """Make the sample database aptitude with its documents; with PERSON, an account with a key and this person's documents."""
    with reporting(), open_client() as client:
        if not person:
            sources = _SAMPLE.sources
            prepare(client, sources)
            # All runs begin before the first is followed, so the server finishes them without this script.
            for source, operation in [(source, begin(client, source)) for source in sources]:
                follow(client, source, operation)
            return
        somebody = find(person)
        user, file = account(client, somebody, new_key=new_key)
        if not documents(client, somebody):
            prepare(client, [_SAMPLE.about_people])
            follow(client, _SAMPLE.about_people, begin(client, _SAMPLE.about_people, somebody.address))
        print_text(
            f"{somebody.name} <{user.email}>: {documents(client, somebody)} documents. Ask as this person, or sign a browser in:\n"
            f'  RESPONSA_API_KEY= RESPONSA_API_KEY_FILE={file} responsa ask --agent personal "Which careers suit me, and why?"\n'
            f"  RESPONSA_API_KEY= RESPONSA_API_KEY_FILE={file} responsa open"
        )


def prepare(client: Responsa, sources: Sequence[str]) -> None:
    """Make the database, and these sources with their collections, as far as they are missing."""
    me = client.me()
    if me.role != user_pb2.USER_ROLE_ADMIN:
        raise CommandFailed("Loading the sample database needs the role ADMIN.")
    folder = load().connections_folder
    declared = _DECLARATION.format(name=_SAMPLE.name, tenant=me.tenant.removeprefix("tenants/"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            _SAMPLE.write(folder / f"{_SAMPLE.name}.db")
        with suppress(FileExistsError), (folder / f"{_SAMPLE.name}.toml").open("x", encoding="utf-8") as file:
            file.write(declared)
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be written ({error.strerror}).", "", EXIT_FAILED) from None
    for source in sources:
        with suppress(AlreadyExists):
            client.create_collection(tomllib.loads(_SAMPLE.mapping(source))["collection"])
        try:
            client.create_source(source, _SAMPLE.mapping(source))
        except AlreadyExists:
            if client.source(source).connection != _SAMPLE.name:
                raise CommandFailed(f"There is another source with the id {source}.", "Delete it.") from None
        except NotFound as error:
            if error.metadata.get("resource_type") != "connection":
                raise
            raise CommandFailed(
                f"The server does not know the connection {_SAMPLE.name}, which is declared in {folder}.",
                "Run the script on the server's machine and with its settings; in `tenants` of the declaration, add your tenant.",
            ) from None


def begin(client: Responsa, source: str, subject: str = "") -> str:
    """Begin a run. Returns its operation, or that of the run for all subjects that has not ended."""
    try:
        return client.sync_source(source, subject).name
    except FailedPrecondition as error:
        if error.reason != "SOURCE_RUNNING":
            raise
        return error.metadata["operation"]


def follow(client: Responsa, source: str, operation: str) -> None:
    """Follow a run to its end, and print its outcome. The run continues if this script stops. Raises the run's error."""
    with Progress(source, 0) as progress:
        for state in client.watch_operation(operation):
            if (metadata := sync_progress(state.operation)) is not None:
                progress.detail(running(metadata))
            if state.operation.HasField("error"):
                raise error_of_status(state.operation.error)
            if state.operation.done:
                result = sync_result(state.operation)
                print_text(f"source {source}: {describe_sync(result)}")
                if result.failed:
                    raise CommandFailed("Some rows were not read.", f"See the runs of the source {source}.")


def find(reference: str) -> SamplePerson:
    """The person with this id or address. Raises CommandFailed."""
    for person in _SAMPLE.people():
        if reference.casefold() in (str(person.id), person.address, person.address.partition("@")[0]):
            return person
    raise CommandFailed(
        f"There is no sample person {reference}.", "Give an id from 1 on, or mira.holt.", EXIT_USAGE
    )


def account(client: Responsa, person: SamplePerson, *, new_key: bool) -> tuple[user_pb2.User, Path]:
    """The person's user, whose subject is the address, and the file of its key. Makes what is missing."""
    is_new = False
    try:
        user = client.lookup_user(person.address)
    except NotFound:
        user, is_new = client.create_user(person.name, person.address), True
    if not user.subject:
        user = client.update_user(user.name, subject=person.address, etag=user.etag)
    file = client_settings().home / "people" / f"{person.address.partition('@')[0]}.key"
    if not is_key_of(client.url, file, user):
        if not is_new and not new_key:
            raise CommandFailed(
                f"The account {user.email} exists, and {file} has no key for it.",
                "Give --new-key: the script then sets a new password, which ends the account's sessions, and creates a key.",
            )
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An empty file first, so that a folder that cannot be written costs nobody a password.
            write_private(file, "")
            write_private(file, create_key(client, user) + "\n")
        except OSError as error:
            raise CommandFailed(f"{file} cannot be written ({error.strerror}).", "", EXIT_FAILED) from None
    return user, file


def is_key_of(url: str, file: Path, user: user_pb2.User) -> bool:
    """Whether the file has a key of this user."""
    try:
        with connect(Responsa, url, file.read_text(encoding="ascii").strip()) as own:
            return own.me().name == user.name
    except (OSError, ValueError, CommandFailed, Unauthenticated, PermissionDenied):
        return False


def create_key(client: Responsa, user: user_pb2.User) -> str:
    """A new key of this user. Earlier keys of this script are revoked."""
    password = secrets.token_urlsafe(32)
    with connect(Responsa, client.url) as anybody:
        anybody.reset_password(client.create_reset_code(user.name).code, password)
        tokens = anybody.login(user.email, password, user.tenant).tokens
        with connect(Responsa, client.url, tokens.access_token) as own:
            for key in own.api_keys():
                if key.display_name == _KEY_NAME and not key.HasField("revoke_time"):
                    own.revoke_api_key(key.name)
            secret = own.create_api_key(_KEY_NAME).secret
        anybody.logout(tokens.refresh_token)
    return secret


def documents(client: Responsa, person: SamplePerson) -> int:
    """The number of documents about the person, 0 for people without consent."""
    return sum(
        document.document.state == document_pb2.DOCUMENT_STATE_READY
        for part in client.subject_profile(person.address).parts
        if part.source == f"sources/{_SAMPLE.about_people}"
        for document in part.documents
    )


if __name__ == "__main__":
    typer.run(main)
