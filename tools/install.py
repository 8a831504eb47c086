"""Installs packages into this virtual environment with uv, which takes a tenth of pip's CPU time.

Usage: python tools/install.py ARGUMENTS, as after `pip install`.

uv reads no settings of pip, so the script gives uv the ones that name an index, certificates or the cache. With other
settings, or if uv fails, pip installs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

LOCK: Final = Path(__file__).resolve().parent.parent / "locks" / "requirements-uv.lock"
UV: Final = Path(sys.executable).with_name("uv")
PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")
EQUAL: Final = {
    "cache-dir": "UV_CACHE_DIR",
    "cert": "SSL_CERT_FILE",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
}
"""Settings of pip, each with uv's variable for the same."""
DEFAULTS: Final = {"UV_SYSTEM_CERTS": "1"}
"""Like pip, uv then trusts the system's certificates, for example that of a company's proxy. Variables of the environment replace these."""
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


def pip_settings() -> str | None:
    """The settings of pip, as `pip config list` prints them; None if pip cannot read them."""
    # A quiet pip prints no settings.
    environment = {**os.environ, "PIP_QUIET": "0"}
    listed = subprocess.run(
        [*PIP, "config", "list"], env=environment, capture_output=True, text=True, check=False
    )
    return listed.stdout if listed.returncode == 0 else None


def uv_variables(settings: str) -> Mapping[str, str] | None:
    """The variables that make uv do what pip does with these settings; None if uv cannot."""
    lines = [line.partition("=")[::2] for line in settings.splitlines()]
    variables: dict[str, str] = {}
    # Later sections win.
    for section in ("global.", "install.", ":env:."):
        for name, text in (
            (key.removeprefix(section), value) for key, value in lines if key.startswith(section)
        ):
            value = ast.literal_eval(text)
            if not value or name in NEEDLESS:  # pip ignores empty values
                continue
            match name:
                case "no-cache-dir":
                    # For pip, each value means that there is no cache, even “false”.
                    variables["UV_NO_CACHE"] = "1"
                case "find-links":
                    places = [_expanded(one) for one in value.split()]
                    # pip ignores folders that do not exist.
                    variables[EQUAL[name]] = ",".join(
                        place for place in places if "://" in place or Path(place).exists()
                    )
                case _ if name in EQUAL:
                    variables[EQUAL[name]] = _expanded(value)
                case _:
                    return None
    return variables


def _expanded(place: str) -> str:
    """The same address or path, but ~ is the home folder."""
    return place if "://" in place else str(Path(place).expanduser())


def main() -> None:
    """Installs, and exits with the exit code of pip if uv has not installed."""
    arguments = sys.argv[1:]
    settings = pip_settings()
    variables = None if settings is None else uv_variables(settings)
    if variables is not None and _uv_installed():
        if _installed_with_uv(arguments, variables):
            return
        print("uv cannot install the packages, so pip tries", file=sys.stderr)
    sys.exit(subprocess.run([*PIP, "--quiet", "install", *arguments], check=False).returncode)


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
        command = [*PIP, "--quiet", "install", "--only-binary", ":all:", "--require-hashes", "-r", LOCK]
        if subprocess.run(command, check=False).returncode != 0:
            return False
        UV.touch()
    return True


if __name__ == "__main__":
    main()
