"""The text of Responsa's documentation, and how `responsa up` loads it.

The pages show example output and documents of invented organisations. Search could return either as an answer about the reader's own
organisation, so they are left out. Commands, configuration and code stay.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from responsa_local.embedded import LocalLayout, StartupTask
from responsa_local.embedded.part import exit_text
from responsa_local.embedded.spawn import spawn
from responsa_server.app.settings import environment
from responsa_server.domain.kinds import DOCS_COLLECTION

ASKED: Final = tuple(
    f"{name}.md"
    for name in (
        *("access", "accounts", "agents", "api", "backup", "cli", "first-calls", "formats"),
        *("install", "loading", "page", "page-administration", "providers", "questions", "sources"),
        *("streams", "troubleshooting", "tutorial-agent"),
    )
)
"""The pages that an instance loads by itself: what its users and owner ask about. `tools/docs_vectors.py` computes their vectors."""
_BLOCK: Final = re.compile(
    r"^```(?P<kind>[\w-]*)(?: (?P<rest>[^\n]+))?\n(?P<text>.*?)(?:^```[ \t]*(?:\n|\Z)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_DOCUMENTS: Final = ("json", "md")
_CONFIGURATION: Final = ".responsa/"


class OwnDocs(StartupTask):
    """Loads the project's own documents through the API if they have changed since they were last loaded. Newcomers'
    first questions are about Responsa itself."""

    name = "The import of the documentation"
    log_name = "docs.log"

    def __init__(
        self,
        layout: LocalLayout,
        folder: Path | None,
        url: str,
        paused: Callable[[], bool] = lambda: False,
        names: Collection[str] = (),
    ) -> None:
        """folder: the folder with `docs/`; None to load nothing. names: the files to load; all if empty. url: the
        instance's address. paused: whether no job runs, so that a document would never be read."""
        super().__init__(layout)
        self._folder = folder
        self._names = names
        self._paused = paused
        self._url = url
        self._digest = ""
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def spawn(self) -> None:
        """Start `responsa ingest`, unless there is nothing to load."""
        documents: Mapping[str, str] = {} if self._folder is None else pages(self._folder, self._names)
        digest = hashlib.sha256()
        for page in documents.values():
            digest.update(hashlib.sha256(page.encode()).digest())
        self._digest = digest.hexdigest()
        record = self.layout.docs_record
        if not documents or (record.is_file() and record.read_text(encoding="utf-8") == self._digest):
            return
        if self._paused():  # the first start after the pause loads them
            return
        print("Loading Responsa's own documents", flush=True)
        passed = {
            **environment(),
            "RESPONSA_URL": self._url,
            "RESPONSA_API_KEY_FILE": str(self.layout.api_key),
        }
        passed.pop("RESPONSA_API_KEY", None)
        self._made = tempfile.TemporaryDirectory(prefix="responsa-")
        # A source key begins with the name of the file's folder.
        folder = Path(self._made.name) / "docs"
        folder.mkdir()
        for name, page in documents.items():
            (folder / name).write_text(page, encoding="utf-8")
        self.log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "responsa_server", "ingest", "--collection", DOCS_COLLECTION]
        files = [str(folder / name) for name in documents]
        self.process = spawn([*command, *files], passed, self.log, errors_alone=True)

    def on_end(self, code: int) -> None:
        """Record that the documents are loaded, or print why they are not."""
        if code == 0:
            self.layout.docs_record.write_text(self._digest, encoding="utf-8")
        else:
            reason = (self.last_words() or exit_text(code)).rstrip(".")
            print(
                f"Responsa could not load its own documents completely ({reason}). Everything else works. "
                "The next start loads what is missing. To load it at once, restart Responsa.",
                flush=True,
            )

    def clean_up(self) -> None:
        """Remove the pages' files."""
        if self._made is not None:
            self._made.cleanup()


def pages(folder: Path, names: Collection[str] = ()) -> Mapping[str, str]:
    """Return the text of each page of docs/ that is loaded, keyed by its file's name. names: the files to load; all if empty."""
    return {
        path.name: without_examples(path.read_text(encoding="utf-8"))
        for path in sorted((folder / "docs").glob("*.md"))
        if not names or path.name in names
    }


def without_examples(page: str) -> str:
    """Return a page without expected output and without example documents. Everything else stays as it is.

    Expected output is a block `text`, or the lines of a block `console` that are not commands. An example document is a
    block `md` or `json` that names its file, unless the file belongs to Responsa's configuration (`.responsa/`).
    """
    return _BLOCK.sub(_keep_block, page)


def _keep_block(block: re.Match[str]) -> str:
    kind, rest = block["kind"], block["rest"] or ""
    if kind == "text" or (kind in _DOCUMENTS and rest and not rest.startswith(_CONFIGURATION)):
        return ""
    if kind != "console":
        return block.group()
    commands = "".join(
        line for line in block["text"].splitlines(keepends=True) if line.startswith(("$ ", "> "))
    )
    return block.group().replace(block["text"], commands, 1) if commands else ""
