"""Trains the classifiers of the shipped agents, so that a new instance does not have to train them.

Usage: python tools/classifiers.py   (writes routing/shipped.zip of the server; a classifier whose examples have not changed stays as it is)
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from responsa_lab.evaluation.local import load_embedder
from responsa_server.agents.config.files import EXAMPLES, SHIPPED
from responsa_server.domain.intents import Example
from responsa_server.routing import stored
from responsa_server.routing.classifier import Parameters
from responsa_server.routing.training import train
from responsa_server.search.embedder import BlockingEmbedder


def examples_of(file: Path) -> Sequence[Example]:
    """The examples in a file, one JSON object a line."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Example(row["text"], row["label"]) for row in rows]


def classifier(file: Path, embedder: BlockingEmbedder) -> Parameters:
    """The shipped classifier of a file of examples, else a new one. Another processor would compute slightly different numbers."""
    key = sha256(file.read_bytes()).digest()
    try:
        return stored.read(zipfile.Path(stored.SHIPPED), key)
    except FileNotFoundError:
        return train(examples_of(file), embedder, key=key)


def main() -> None:
    """Writes the archive."""
    with ExitStack() as stack:
        embedder = load_embedder(stack)
        classifiers = [classifier(file, embedder) for file in SHIPPED.glob(f"*/{EXAMPLES}/*")]
    with zipfile.ZipFile(stored.SHIPPED, "w") as archive:
        for each in sorted(classifiers, key=lambda one: one.examples_sha256):
            # A ZipInfo has a fixed time, so the same files give the same archive.
            name = zipfile.ZipInfo(stored.name_of(each.examples_sha256))
            archive.writestr(name, stored.dump(each), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    main()
