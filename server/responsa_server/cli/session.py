"""The settings of commands that call a server: its URL, the API key, and the client that uses them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from responsa_client import Responsa
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import Unauthenticated
from responsa_server.cli.connecting import connect
from responsa_server.cli.output import EXIT_CONNECT, EXIT_USAGE, CommandFailed
from responsa_server.cli.signed_in import SessionFile
from responsa_server.system.instance import DEFAULT_HOME, DEFAULT_PORT

KEY_NAME = "api-key"
_MAX_KEY_BYTES = 4096
_MOST_PORT_BYTES = 8


def _port_in(home: Path) -> int:
    """Return the port that the instance of a data folder has used last, or the default."""
    file = home / "port"
    try:
        text = (
            file.read_bytes().strip() if file.is_file() and file.stat().st_size <= _MOST_PORT_BYTES else b""
        )
    except OSError:
        return DEFAULT_PORT
    return int(text) if text.isdigit() and 0 < int(text) < 65_536 else DEFAULT_PORT


class ClientSettings(BaseSettings):
    """Settings of the commands that call a server, read only from the environment."""

    model_config = SettingsConfigDict(
        env_prefix="RESPONSA_", extra="ignore", env_ignore_empty=True, frozen=True
    )

    home: Annotated[Path, Field(description="The data folder of the local instance.")] = DEFAULT_HOME
    port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="The port of the local instance. Default: the port that `responsa up` used last.",
    )
    url: str | None = Field(
        default=None,
        description="The URL of another server, such as http://host:8080. Default: the local instance.",
    )
    api_key: SecretStr | None = Field(default=None, description="The API key.")
    api_key_file: Path | None = Field(
        default=None, description="The file that holds the API key. Default: api-key in the data folder."
    )

    agents_folder: Path | None = Field(
        default=None,
        validation_alias="RESPONSA_AGENTS__FOLDER",
        description="The folder of this machine's own agents. Default: agents in the data folder.",
    )

    @property
    def server_url(self) -> str:
        return self.url or f"http://127.0.0.1:{self.port or _port_in(self.home)}"

    @property
    def key_variable(self) -> str:
        """The variable that gives an API key and so takes precedence over a session; "" without one."""
        if self.api_key is not None:
            return "RESPONSA_API_KEY"
        return "" if self.api_key_file is None else "RESPONSA_API_KEY_FILE"

    def credential(self) -> str | Callable[[], str]:
        """Return the API key that the environment gives; else a function that returns the access token of `responsa
        login`; else the API key of the local instance.

        Raises:
            CommandFailed: there is no credential, or its file cannot be read.
        """
        if not self.key_variable:
            # A user without a home folder has no session.
            with contextlib.suppress(OSError):
                session = SessionFile(self.server_url)
                if session.exists():
                    return session.access_token
        return self.read_key()

    def next_credential(self) -> str:
        """A sentence for a user who has just signed out: with which key later commands go on; "" if there is no key."""
        with contextlib.suppress(CommandFailed):
            self.read_key()
            return f"From now on, commands use the API key in {self.key_variable or self.home / KEY_NAME}."
        return ""

    def read_key(self) -> str:
        """Return the API key.

        Raises:
            CommandFailed: there is no key, or its file cannot be read.
        """
        if self.api_key:
            return self.api_key.get_secret_value().strip()
        file = self.api_key_file or self.home / KEY_NAME
        try:
            with file.open("rb") as opened:
                key = opened.read(_MAX_KEY_BYTES + 1).decode("ascii").strip()
        except FileNotFoundError:
            raise CommandFailed(
                f"There is no API key: {file} does not exist.",
                (
                    "Either sign in with `responsa login`, or start the server with `responsa up` (this "
                    "creates a key), or set RESPONSA_API_KEY or RESPONSA_API_KEY_FILE."
                ),
                EXIT_CONNECT,
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a key"
            raise CommandFailed(
                f"The API key in {file} cannot be read ({why}).",
                "Set RESPONSA_API_KEY_FILE to a file that can be read, or set RESPONSA_API_KEY.",
                EXIT_CONNECT,
            ) from None
        if not key or len(key.split()) != 1 or len(key) > _MAX_KEY_BYTES:
            raise CommandFailed(
                f"{file} does not hold an API key.", "Write only the key into this file.", EXIT_CONNECT
            )
        return key


def agents_folder() -> Path:
    """Return the folder of this machine's own agents, which may be missing. Each agent has a subfolder with its id as
    the name.

    Raises:
        CommandFailed: a setting is not valid.
    """
    settings = client_settings()
    return settings.agents_folder or settings.home / "agents"


def client_settings() -> ClientSettings:
    """Read the settings.

    Raises:
        CommandFailed: a setting is not valid; the message names it.
    """
    try:
        return ClientSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "RESPONSA_" + "_".join(str(part) for part in first["loc"]).upper()
        raise CommandFailed(
            f"{name} is not valid: {first['msg']}.", f"Correct or unset {name}.", EXIT_USAGE
        ) from None


def open_client(least_seconds: float = 0.0) -> Responsa:
    """Return a client for the server that the settings select. least_seconds: how long the client waits at least for an answer.

    Raises:
        CommandFailed: a setting is not valid, or there is no key.
    """
    settings = client_settings()
    return connect(Responsa, settings.server_url, settings.credential(), least_seconds)


@contextmanager
def open_any_client() -> Generator[Responsa]:
    """A client for any call. Some calls need no credential; only if the server asks for one does this fail without one.

    Raises:
        CommandFailed: a setting is not valid, or the server asked for a credential and there is none.
    """
    settings = client_settings()
    missing: CommandFailed | None = None
    credential: str | Callable[[], str] = ""
    try:
        credential = settings.credential()
    except CommandFailed as failure:
        missing = failure

    def token() -> str:
        nonlocal missing
        try:
            return credential() if callable(credential) else credential
        except CommandFailed as failure:
            missing = failure
            return ""

    with connect(Responsa, settings.server_url, token if callable(credential) else credential) as client:
        try:
            yield client
        except Unauthenticated:
            if missing is None:
                raise
            raise missing from None


def open_async_client() -> AsyncResponsa:
    """Like `open_client`, for asyncio."""
    settings = client_settings()
    return connect(AsyncResponsa, settings.server_url, settings.credential())
