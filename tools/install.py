"""Installs packages into this virtual environment with uv, which takes a tenth of pip's CPU time.

Usage: python tools/install.py ARGUMENTS, as after `pip install`.

uv reads no settings of pip, so the script gives uv the ones that name an index, certificates or the cache. With other settings, or if uv fails, pip installs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).resolve().parent.parent / "requirements-uv.lock"
UV: Final = Path(sys.executable).with_name("uv")
PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
EQUAL: Final = {"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS", "cert": "SSL_CERT_FILE"}
"""Settings of pip, each with uv's variable for the same."""
CACHE_DIR: Final = "cache-dir"
NO_CACHE: Final = "no-cache-dir"
DEFAULTS: Final = {"UV_SYSTEM_CERTS": "1"}
"""As pip, uv uses the system's certificates, among which are those of a company's proxy. Variables that are set already count more."""
NEEDLESS: Final = frozenset(
    {
        "break-system-packages",
        "config-file",
        "default-timeout",
        "disable-pip-version-check",
        "no-color",
        "no-input",
        "progress-bar",
        "quiet",
        "require-virtualenv",
        "retries",
        "root-user-action",
        "timeout",
        "verbose",
    }
)
"""Settings of pip that change neither where packages come from nor what is installed."""


def uv_variables(settings: str) -> Mapping[str, str] | None:
    """The variables that make uv do what pip does with these settings, which `pip config list` has printed; None if uv cannot."""
    lines = [line.partition("=")[::2] for line in settings.splitlines()]
    variables: dict[str, str] = {}
    # Later sections win.
    for section in ("global.", "install.", ":env:."):
        for name, value in (
            (key.removeprefix(section), value) for key, value in lines if key.startswith(section)
        ):
            if name == CACHE_DIR:
                if folder := ast.literal_eval(value):
                    variables["UV_CACHE_DIR"] = str(Path(folder).expanduser())
            elif name == NO_CACHE:
                # For pip, each value means that there is no cache, even “false”.
                if ast.literal_eval(value):
                    variables["UV_NO_CACHE"] = "1"
            elif name in EQUAL:
                # pip ignores folders that do not exist.
                if places := [
                    one for one in ast.literal_eval(value).split() if "://" in one or Path(one).exists()
                ]:
                    variables[EQUAL[name]] = ",".join(places)
            elif name not in NEEDLESS:
                return None
    return variables


def main() -> None:
    """Installs, and exits with the exit code of pip if uv has not installed."""
    arguments = sys.argv[1:]
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False)
    variables = uv_variables(listed.stdout) if listed.returncode == 0 else None
    if variables is not None and _uv_installed():
        if _installed_with_uv(arguments, variables):
            return
        print("uv cannot install the packages, so pip tries", file=sys.stderr)
    sys.exit(subprocess.run([*PIP, "install", *arguments], check=False).returncode)


def _installed_with_uv(arguments: Sequence[str], variables: Mapping[str, str]) -> bool:
    command = [UV, "pip", "install", "--quiet", "--python", sys.executable, *arguments]
    environment = {**DEFAULTS, **os.environ, **variables}
    try:
        return subprocess.run(command, env=environment, check=False).returncode == 0
    except OSError as error:  # such as a program for another platform
        print(f"uv cannot be run: {error}", file=sys.stderr)
        return False


def _uv_installed() -> bool:
    if not UV.exists() or UV.stat().st_mtime < LOCK.stat().st_mtime:
        # Where there is no built uv, pip would compile it for many minutes.
        command = [*PIP, "install", "--only-binary", ":all:", "--require-hashes", "-r", LOCK]
        if subprocess.run(command, check=False).returncode != 0:
            return False
        UV.touch()
    return True


if __name__ == "__main__":
    main()
