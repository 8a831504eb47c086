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

import httpx2

from responsa_etl.domain import ConnectedFolder, DatabaseFault
from responsa_etl.sources.folders import (
    FileProblem,
    FolderFile,
    FolderListing,
    FolderProblem,
    is_wanted,
    not_reachable,
    origin_of_folder,
    too_many,
)
from responsa_server.outbound.addresses import Allowed, UrlOrigin, origin_of
from responsa_server.outbound.authorities import authorities_file
from responsa_server.outbound.connector import ForbiddenRequest, reachable_addresses
from responsa_server.system.launching import launcher_of

_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_SECONDS: Final = 300.0
_MEMORY_BYTES: Final = 2 << 30
_REPOSITORY_BYTES: Final = 1 << 30
_LISTING_BYTES: Final = 64 << 20
_MESSAGE_BYTES: Final = 64 << 10
_OLDEST: Final = (2, 37)
"""The first version that connects to given addresses (http.curloptResolve)."""
_FILE: Final = re.compile(rb"100\d{3} blob ([0-9a-f]{40,64}) +(\d+)\t(.+)", re.DOTALL)


class GitFolders:
    """Opens repositories. Implements `FolderOpener`."""

    def __init__(self, allowed: Allowed) -> None:
        """allowed: the addresses beyond the public ones."""
        self._allowed = allowed

    @asynccontextmanager
    async def __call__(self, tenant_id: str, folder: ConnectedFolder) -> AsyncGenerator[GitFolder]:
        """Raises FolderProblem."""
        origin = origin_of_folder(folder, self._allowed)
        git = shutil.which("git", path=_PATH)
        if git is None:
            raise FolderProblem(DatabaseFault.QUERY, "kind", "Git is not installed on the server.")
        folder_path = Path(tempfile.gettempdir()) / f"responsa-git-{secrets.token_hex(16)}"
        launcher = launcher_of(f"git {tenant_id}", _MEMORY_BYTES, _REPOSITORY_BYTES)
        settings = await self._settings(origin, folder)
        # Nobody else may read what is fetched.
        private = ["/bin/sh", "-c", 'umask 077; exec "$@"', "sh"]
        opened = GitFolder([*launcher, *private, git], folder_path, settings)
        try:
            await opened.clone(folder)
            yield opened
        finally:
            await opened.close()
            await asyncio.shield(_capture([*launcher, "/bin/rm", "-rf", str(folder_path)], {}, 0))

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

    async def clone(self, folder: ConnectedFolder) -> None:
        """Fetch the newest commit. Raises FolderProblem."""
        version = re.match(rb"git version (\d{1,4})\.(\d{1,4})", await self._capture("version"))
        if version is None or (int(version[1]), int(version[2])) < _OLDEST:
            raise FolderProblem(DatabaseFault.QUERY, "kind", "The server needs git 2.37 or newer.")
        options = ["--bare", "--quiet", "--depth=1", "--single-branch", "--no-tags"]
        branch = ["--branch", folder.branch] if folder.branch else []
        try:
            async with asyncio.timeout(_SECONDS):
                output = await self._capture("clone", *options, *branch, "--", folder.address, self._place)
        except TimeoutError:
            message = f"The repository was not fetched within {_SECONDS:g} seconds."
            raise FolderProblem(DatabaseFault.TIMEOUT, "address", message) from None
        head = await self._capture("-C", self._place, "rev-parse", "--verify", "--quiet", "HEAD")
        if not re.fullmatch(rb"[0-9a-f]{40,64}\s*", head):
            raise _explain(output.decode(errors="replace"), folder)

    async def list(self, limit: int) -> FolderListing:
        """See `OpenFolder.list`."""
        listing = await self._capture("-C", self._place, "ls-tree", "-r", "-l", "-z", "HEAD")
        if len(listing) > _LISTING_BYTES:
            raise too_many(limit)
        files = list[FolderFile]()
        for entry in listing.split(b"\0"):
            match = _FILE.fullmatch(entry)
            path = match[3].decode(errors="surrogateescape") if match else ""
            if match and is_wanted(path):
                files.append(FolderFile(path, match[1].decode(), int(match[2])))
        if len(files) > limit:
            raise too_many(limit)
        return FolderListing(files, {})

    async def read(self, file: FolderFile, limit: int) -> bytes:
        """See `OpenFolder.read`."""
        if self._reading is None:
            self._reading = await asyncio.create_subprocess_exec(
                *(*self._git, "-C", self._place, "cat-file", "--batch"),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        reading = self._reading
        assert reading.stdin is not None, "it is a pipe"
        assert reading.stdout is not None, "it is a pipe"
        reading.stdin.write(f"{file.tag}\n".encode())
        try:
            await reading.stdin.drain()
            head = (await reading.stdout.readuntil(b"\n")).split()
            if head[1:] != [b"blob", str(file.size).encode()]:
                raise FileProblem("The file cannot be read from the repository.")
            return (await reading.stdout.readexactly(file.size + 1))[:-1]
        except asyncio.CancelledError:  # the next answer would be that of this file
            self._reading = None
            await _end(reading)
            raise
        except (asyncio.IncompleteReadError, ConnectionError):
            message = "Git ended in the midst of the repository."
            raise FolderProblem(DatabaseFault.CRASHED, "address", message) from None

    async def close(self) -> None:
        """End the reading."""
        if self._reading is not None:
            await _end(self._reading)

    async def _capture(self, *arguments: str) -> bytes:
        return await _capture([*self._git, *arguments], self._environment, _LISTING_BYTES)


async def _capture(command: Sequence[str], environment: Mapping[str, str], limit: int) -> bytes:
    """What a program writes, at most one byte more than `limit`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        env=environment,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None, "it is a pipe"
    written = bytearray()
    try:
        while len(written) <= limit and (piece := await process.stdout.read(_MESSAGE_BYTES)):
            written += piece
    finally:
        await _end(process)
    return bytes(written[: limit + 1])


async def _end(process: Process) -> None:
    """Tell the keeper of a program to kill what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await asyncio.shield(process.wait())


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
