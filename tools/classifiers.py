"""Trains the classifiers of the shipped agents, so that a new instance does not have to train them.

Usage: python tools/classifiers.py   (replaces the server's folder routing/shipped)
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from responsa_lab.evaluation.local import load_embedder
from responsa_server.agents.config.build import classifiers
from responsa_server.agents.config.files import EXAMPLES, SHIPPED
from responsa_server.agents.nodes.choosing import ChooserOptions, forms_of, forms_trained
from responsa_server.routing import stored, vectors
from responsa_server.routing.vectors import StoredVectors


def examples() -> dict[str, str]:
    """The example files of all shipped agents, by path."""
    return {str(path): path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob(f"*/{EXAMPLES}/*"))}


async def train() -> None:
    """Trains and saves all classifiers. Saves the vectors of the examples of tools, too."""
    with ExitStack() as stack:
        embedder = load_embedder(stack)
        trainer = stored.KeptClassifiers(stored.SHIPPED, embedder)
        for path, one in classifiers(examples(), trainer).items():
            if path.endswith(ChooserOptions().examples):
                texts = [each.text for each in [*one.examples, *forms_of(one.examples)[0]]]
                StoredVectors.read(stored.SHIPPED, embedder).write(stored.SHIPPED, texts)
                await forms_trained(one.examples, trainer)
            await one.ready()


def main() -> None:
    """Replaces the content of the folder."""
    for old in stored.SHIPPED.glob("*.npz"):
        if old.name != vectors.FILE:
            old.unlink()
    asyncio.run(train())
    for made in stored.SHIPPED.glob("*.npz"):
        made.chmod(0o644)  # classifiers from a user's machine must not be shipped


if __name__ == "__main__":
    main()
