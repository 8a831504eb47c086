"""Which of pip's settings uv gets, and when pip installs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tools import install
from tools.install import uv_variables


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ("", {}),
        ("global.timeout='60'\n:env:.disable-pip-version-check='1'\nlist.format='columns'\n", {}),
        (
            "global.index-url='https://pypi.example.org/simple?a=b'\n:env:.cert='/dev/null'\n",
            {"UV_DEFAULT_INDEX": "https://pypi.example.org/simple?a=b", "SSL_CERT_FILE": "/dev/null"},
        ),
        (
            ":env:.index-url='https://b.example'\nglobal.index-url='https://a.example'\n",
            {"UV_DEFAULT_INDEX": "https://b.example"},
        ),
        (
            "install.find-links='\\n/\\n~\\n/no/such/folder\\nhttps://b.example'\n",
            {"UV_FIND_LINKS": f"/,{Path.home()},https://b.example"},
        ),
        ("global.cert='~/no such file.pem'\n", {"SSL_CERT_FILE": f"{Path.home()}/no such file.pem"}),
        (
            "global.index-url='https://pypi.example.org/simple'\nglobal.trusted-host='pypi.example.org'\n",
            None,
        ),
        ("global.no-index='true'\n", None),
        ("global.cache-dir='/a'\n:env:.cache-dir='/b'\n", {"UV_CACHE_DIR": "/b"}),
        ("global.cache-dir='~/a'\n", {"UV_CACHE_DIR": str(Path.home() / "a")}),
        (":env:.no-cache-dir='1'\n", {"UV_NO_CACHE": "1"}),
        (":env:.no-cache-dir='false'\n", {"UV_NO_CACHE": "1"}),
        (":env:.no-cache-dir=''\n:env:.cache-dir=''\n:env:.trusted-host=''\n", {}),
    ],
    ids=[
        "none",
        "needless",
        "index",
        "precedence",
        "several",
        "missing certificate",
        "unknown",
        "no index",
        "cache",
        "cache at home",
        "no cache",
        "no cache said otherwise",
        "empty",
    ],
)
def test_uv_gets_the_settings_of_pip_or_does_not_install(settings: str, variables: object) -> None:
    assert uv_variables(settings) == variables


class Programs:
    """Takes the place of `subprocess.run`, and notes what would have run. listed: the exit code of `pip config list`.
    uv: that of uv, or the error of running it."""

    def __init__(self, *, listed: int = 0, uv: int | OSError = 0) -> None:
        self._listed = listed
        self._uv = uv
        self.ran: list[str] = []
        self.environment: Mapping[str, str] = {}

    def run(
        self, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, **_: object
    ) -> subprocess.CompletedProcess[str]:
        code = 0
        if command[0] == install.UV:
            self.ran.append("uv")
            self.environment = env or {}
            if isinstance(self._uv, OSError):
                raise self._uv
            code = self._uv
        else:
            self.ran.append(" ".join(str(one) for one in command[len(install.PIP) :] if one != "--quiet"))
            code = self._listed if self.ran[-1] == "config list" else 0
        return subprocess.CompletedProcess([], code, stdout="", stderr="")


@pytest.fixture
def installing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """uv is already there, and `PACKAGE` must be installed."""
    uv = tmp_path / "uv"
    lock = tmp_path / "uv.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    uv.touch()
    monkeypatch.setattr(install, "UV", uv)
    monkeypatch.setattr(install, "LOCK", lock)
    monkeypatch.setattr(sys, "argv", ["install.py", "PACKAGE"])
    return monkeypatch


@pytest.mark.parametrize(
    ("programs", "ran"),
    [
        (Programs(listed=1), ["config list", "install PACKAGE"]),
        (Programs(uv=2), ["config list", "uv", "install PACKAGE"]),
        (Programs(uv=OSError(8, "Exec format error")), ["config list", "uv", "install PACKAGE"]),
    ],
    ids=["settings cannot be read", "uv fails", "uv cannot be run"],
)
def test_pip_installs_if_uv_cannot(
    programs: Programs, ran: Sequence[str], installing: pytest.MonkeyPatch
) -> None:
    installing.setattr(subprocess, "run", programs.run)
    with pytest.raises(SystemExit) as ended:
        install.main()
    assert ended.value.code == 0
    assert programs.ran == ran


def test_pip_prints_its_settings_even_if_they_make_it_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # no files of this machine
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example.org/simple")
    monkeypatch.setenv("PIP_QUIET", "3")
    settings = install.pip_settings()
    assert settings is not None
    assert uv_variables(settings) == {"UV_DEFAULT_INDEX": "https://pypi.example.org/simple"}


@pytest.mark.parametrize(("chosen", "used"), [(None, "1"), ("0", "0")])
def test_uv_uses_the_certificates_of_the_system(
    chosen: str | None, used: str, installing: pytest.MonkeyPatch
) -> None:
    programs = Programs()
    installing.setattr(subprocess, "run", programs.run)
    installing.delenv("UV_SYSTEM_CERTS", raising=False)
    if chosen is not None:
        installing.setenv("UV_SYSTEM_CERTS", chosen)
    install.main()
    assert programs.ran == ["config list", "uv"]
    assert programs.environment["UV_SYSTEM_CERTS"] == used


def test_uv_is_not_compiled(installing: pytest.MonkeyPatch) -> None:
    install.UV.unlink()
    programs = Programs()

    def run(command: Sequence[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
        if "-r" in command:
            install.UV.touch()
        return programs.run(command)

    installing.setattr(subprocess, "run", run)
    install.main()
    assert programs.ran[1] == f"install --only-binary :all: --require-hashes -r {install.LOCK}"
    assert programs.ran[2:] == ["uv"]
