"""Git repositories as folders, which git's own program reads.

Git runs in confinement, with no settings but those that stand here: it asks nobody, runs no hooks and filters, fetches
no submodules, follows no redirects, and connects to the addresses that were checked. Nothing is checked out: the files
are read from the repository's objects, so that links and names in it have no meaning here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from responsa_etl.domain import ConnectedFolder, DatabaseFault
from responsa_etl.sources.budget import Budget
from responsa_etl.sources.folders import (
    FolderFile,
    FolderProblem,
    UnreadableFile,
    UnreadableFolder,
    is_wanted,
    not_reachable,
    origin_of_folder,
)
from responsa_server.outbound.addresses import Allowed, UrlOrigin, origin_of
from responsa_server.outbound.authorities import authorities_file
from responsa_server.outbound.connector import ForbiddenRequest, reachable_addresses
from responsa_server.system.launching import launcher_of

_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_SECONDS: Final = 300.0
_MEMORY_BYTES: Final = 2 << 30
_REPOSITORY_BYTES: Final = 1 << 30
_CPU_SECONDS: Final = 600
_MESSAGE_BYTES: Final = 64 << 10
_OLDEST: Final = (2, 37)
"""The first version that connects to given addresses (http.curloptResolve)."""
_FILE: Final = re.compile(rb"100\d{3} blob ([0-9a-f]{40,64}) +(\d+)\t(.+)", re.DOTALL)
_LIST: Final = ("ls-tree", "-r", "-t", "-l", "-z", "HEAD")


class GitFolders:
    """Opens repositories. Implements `FolderOpener`."""

    def __init__(self, allowed: Allowed) -> None:
        """allowed: the addresses beyond the public ones."""
        self._allowed = allowed

    @asynccontextmanager
    async def __call__(
        self, tenant_id: str, folder: ConnectedFolder, budget: Budget
    ) -> AsyncGenerator[GitFolder]:
        """Raises FolderProblem, BudgetSpent."""
        await budget.spend(requests=1)
        origin = origin_of_folder(folder, self._allowed)
        git = shutil.which("git", path=_PATH)
        if git is None:
            raise FolderProblem(DatabaseFault.QUERY, "kind", "Git is not installed on the server.")
        folder_path = Path(tempfile.gettempdir()) / f"responsa-git-{secrets.token_hex(16)}"
        launcher = launcher_of(f"git {tenant_id}", _MEMORY_BYTES, _REPOSITORY_BYTES, _CPU_SECONDS)
        settings = await self._settings(origin, folder)
        # Nobody else may read what is fetched.
        private = ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh"]
        opened = GitFolder([*launcher, *private, git], folder_path, settings)
        try:
            # The address is made of its checked parts, so that git connects to the host that was looked up.
            await opened.clone(folder, f"{origin}{urlsplit(folder.address).path}")
            yield opened
        finally:
            await opened.close()
            await asyncio.shield(_capture([*launcher, "/bin/rm", "-rf", str(folder_path)], {}))

    async def _settings(self, origin: UrlOrigin, folder: ConnectedFolder) -> Mapping[str, str]:
        """Git's settings, which are in its environment: other users see arguments. Raises FolderProblem."""
        try:
            addresses = await reachable_addresses(origin, self._allowed)
        except ForbiddenRequest:
            raise not_reachable(origin.host) from None
        except httpx2.TransportError:
            message = f"The name {origin.host} cannot be looked up."
            raise FolderProblem(DatabaseFault.UNREACHABLE, "address", message) from None
        listed = ",".join(f"[{ip}]" if ip.version == 6 else str(ip) for ip in addresses)
        settings = {
            "http.curloptResolve": f"{origin.host}:{origin.port}:{listed}",
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "1000",
            "http.lowSpeedTime": "30",
            "core.hooksPath": "/dev/null",
            "pack.threads": "1",
            **({"http.sslCAInfo": file} if (file := authorities_file()) else {}),
        }
        if folder.password:
            login = b64encode(f"{folder.user}:{folder.password}".encode()).decode()
            settings["http.extraHeader"] = f"Authorization: Basic {login}"
        return {
            "PATH": _PATH,
            "LC_ALL": "C",
            "HOME": "/nonexistent",
            "GIT_ALLOW_PROTOCOL": origin.scheme,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(settings)),
            **{f"GIT_CONFIG_KEY_{at}": name for at, name in enumerate(settings)},
            **{f"GIT_CONFIG_VALUE_{at}": value for at, value in enumerate(settings.values())},
        }


class GitFolder:
    """The newest commit of a branch. Implements `OpenFolder`."""

    def __init__(self, git: Sequence[str], path: Path, environment: Mapping[str, str]) -> None:
        self._git = git
        self._place = str(path)
        self._environment = environment
        self._reading: Process | None = None

    async def clone(self, folder: ConnectedFolder, address: str) -> None:
        """Fetch the newest commit. Raises FolderProblem."""
        version = re.match(rb"git version (\d{1,4})\.(\d{1,4})", await self._capture("version"))
        if version is None or (int(version[1]), int(version[2])) < _OLDEST:
            raise FolderProblem(DatabaseFault.QUERY, "kind", "The server needs git 2.37 or newer.")
        options = ["--bare", "--quiet", "--depth=1", "--single-branch", "--no-tags"]
        branch = ["--branch", folder.branch] if folder.branch else []
        try:
            async with asyncio.timeout(_SECONDS):
                output = await self._capture("clone", *options, *branch, "--", address, self._place)
        except TimeoutError:
            message = f"The repository was not fetched within {_SECONDS:g} seconds."
            raise FolderProblem(DatabaseFault.TIMEOUT, "address", message) from None
        head = await self._capture("-C", self._place, "rev-parse", "--verify", "--quiet", "HEAD")
        if not re.fullmatch(rb"[0-9a-f]{40,64}\s*", head):
            raise _explain(output.decode(errors="replace"), folder)

    async def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """See `OpenFolder.list`. Folders count, too: they may be empty, and very many."""
        listing = await _start([*self._git, "-C", self._place, *_LIST], self._environment)
        assert listing.stdout is not None, "it is a pipe"
        try:
            while entry := await listing.stdout.readuntil(b"\0"):
                await budget.spend(entries=1)
                match = _FILE.fullmatch(entry[:-1])
                path = match[3].decode(errors="surrogateescape") if match else ""
                if match and is_wanted(path):
                    yield FolderFile(path, match[1].decode(), int(match[2]))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if not listing.stdout.at_eof() or await listing.wait():
                raise _crash() from None
        finally:
            await _end(listing)

    async def read(self, file: FolderFile, limit: int) -> bytes:
        """See `OpenFolder.read`."""
        if self._reading is None:
            command = [*self._git, "-C", self._place, "cat-file", "--batch"]
            self._reading = await _start(command, self._environment, stdin=PIPE)
        reading = self._reading
        assert reading.stdin is not None, "it is a pipe"
        assert reading.stdout is not None, "it is a pipe"
        reading.stdin.write(f"{file.tag}\n".encode())
        try:
            await reading.stdin.drain()
            head = (await reading.stdout.readuntil(b"\n")).split()
            if head[1:] != [b"blob", str(file.size).encode()]:
                raise UnreadableFile("The file cannot be read from the repository.")
            return (await reading.stdout.readexactly(file.size + 1))[:-1]
        except asyncio.CancelledError:  # the next answer would be that of this file
            self._reading = None
            await _end(reading)
            raise
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _crash() from None

    async def close(self) -> None:
        """End the reading."""
        if self._reading is not None:
            await _end(self._reading)

    async def _capture(self, *arguments: str) -> bytes:
        return await _capture([*self._git, *arguments], self._environment)


async def _start(
    command: Sequence[str], environment: Mapping[str, str], *, stdin: int = DEVNULL, stderr: int = DEVNULL
) -> Process:
    """Start a program in a session of its own."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=PIPE,
        stderr=stderr,
        env=environment,
        cwd="/",
        start_new_session=True,
        limit=_MESSAGE_BYTES,
    )


async def _capture(command: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What a program writes, at most about `_MESSAGE_BYTES`, after which it is killed."""
    process = await _start(command, environment, stderr=STDOUT)
    assert process.stdout is not None, "it is a pipe"
    written = bytearray()
    try:
        while len(written) <= _MESSAGE_BYTES and (piece := await process.stdout.read(_MESSAGE_BYTES)):
            written += piece
    finally:
        await _end(process)
    return bytes(written)


async def _end(process: Process) -> None:
    """Tell the keeper of a program to kill what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await asyncio.shield(_drain(process))


async def _drain(process: Process) -> None:
    """Wait for the end of a program. What it has written must be read for that."""
    while process.stdout is not None and await process.stdout.read(_MESSAGE_BYTES):
        pass
    await process.wait()


def _crash() -> FolderProblem:
    message = "Git ended in the midst of the repository."
    return FolderProblem(DatabaseFault.CRASHED, "address", message)


def _explain(output: str, folder: ConnectedFolder) -> FolderProblem:
    """Why a repository was not fetched. output: what git wrote, of which nothing is passed on."""
    host = origin_of(folder.address).host
    if re.search(r"Authentication failed|could not read (Username|Password)|error: 40[13]", output):
        if folder.password:
            message = f"{host} refuses the user or the password. Paste the password or token again."
        else:
            message = f"{host} needs a user and a password or token, or has no such repository."
        return FolderProblem(DatabaseFault.LOGIN, "password", message)
    if "Remote branch" in output:
        message = f"The repository has no branch “{folder.branch}”."
        return FolderProblem(DatabaseFault.QUERY, "branch", message)
    if re.search(r"File too large|file size limit|signal 25", output, re.IGNORECASE):
        message = f"The repository has more than {_REPOSITORY_BYTES >> 30} GiB."
        return FolderProblem(DatabaseFault.TOO_LARGE, "address", message)
    if re.search(r"Failed to connect|Connection|timed out|SSL|error: 5\d\d", output):
        message = f"{host} cannot be reached, or did not answer."
        return FolderProblem(DatabaseFault.UNREACHABLE, "address", message)
    message = f"{host} has no such repository, or it is empty, or the address redirects."
    return FolderProblem(DatabaseFault.QUERY, "address", message)
