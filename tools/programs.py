"""Installs the programs that the tests run, if root calls it where apt-get exists. Otherwise it prints the command that
installs them, and fails.

It runs while Python's and JavaScript's packages are being installed, so it imports only the standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

SHELL: Final = "chromium-headless-shell"
"""Chromium without windows. It takes a third less CPU time for the same pages."""
BROWSERS: Final = (SHELL, "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FONTS: Final = "fonts-dejavu-core"
PROGRAMS: Final = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "systemd-analyze": "systemd",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "logrotate": "logrotate",
}
"""The programs that the tests of docs/deployment.md and deploy/ run, and their packages in Debian."""
PLACES: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""Where these programs may be. The PATH of a plain user often lacks the folders of the system's programs."""


def missing() -> Sequence[str]:
    """The Debian packages of the programs that this machine lacks."""
    lacking = (package for name, package in PROGRAMS.items() if not shutil.which(name, path=PLACES))
    packages = list(dict.fromkeys(lacking))
    return packages if any(map(shutil.which, BROWSERS)) else [*packages, SHELL, FONTS]


def path_of(name: str) -> str:
    """The path of a program of PROGRAMS. A test that needs it fails with the program's name if this machine lacks it."""
    path = shutil.which(name, path=PLACES)
    assert path is not None, f"{name} is not installed (Debian's package {PROGRAMS[name]})"
    return path


def install() -> None:
    """Installs what is missing, and the browser's headless shell if the system has it."""
    if not missing() and shutil.which(SHELL):
        return
    _apt("update")
    if others := [package for package in missing() if package in PROGRAMS.values()]:
        _apt("install", *others)
    if not shutil.which(SHELL) and not _apt("install", SHELL, FONTS) and not any(map(shutil.which, BROWSERS)):
        _apt("install", "chromium", FONTS)


def _apt(act: str, *packages: str) -> bool:
    """Runs apt-get; whether it succeeded."""
    options = ("--yes", "--no-install-recommends") if packages else ()
    command = ["apt-get", "-qq", act, *options, *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def main() -> None:
    """Installs as root. Exits with the command if something is missing then."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install()
    if packages := missing():
        sys.exit(
            f"The tests need programs that this machine lacks. Install them: sudo apt-get install {' '.join(packages)}"
        )


if __name__ == "__main__":
    main()
