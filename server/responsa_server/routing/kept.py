"""Classifiers that are trained once and kept as files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from responsa_server.domain.ports.intents import Example, IntentClassifier
from responsa_server.routing.classifier import Parameters, TrainedClassifier
from responsa_server.routing.stored import ClassifierBroken, keep, read
from responsa_server.routing.training import train
from responsa_server.search.embedder import Embedder

_log = structlog.stdlib.get_logger()


SHIPPED: Final = Path(__file__).with_name("shipped")
"""What the examples of the shipped agents come to, written by tools/classifiers.py: a fresh instance has it without training."""


class KeptClassifiers:
    """A `Trainer` over a folder: `data/classifiers` of the instance. Processes may share it."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder = folder
        self._embedder = embedder

    async def trained(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        """The kept classifier, or the shipped one, or one trained now, in a thread. A file that is broken is trained anew and replaced; a folder that
        cannot be written costs the next start its training, no more.
        """
        if len(key) != 32:
            raise ValueError("A key is a SHA-256, 32 bytes.")
        return TrainedClassifier(await asyncio.to_thread(self._trained, examples, key), self._embedder)

    def _trained(self, examples: Sequence[Example], key: bytes) -> Parameters:
        for folder in (self._folder, SHIPPED):
            try:
                parameters = read(folder, key)
            except FileNotFoundError:
                continue
            except (ClassifierBroken, OSError) as error:
                _log.warning("classifier_not_read", examples=key.hex(), error=str(error))
                continue
            if parameters.embedder == self._embedder.name:
                return parameters
        parameters = train(examples, self._embedder, key=key)
        try:
            keep(self._folder, parameters)
        except OSError as error:
            _log.warning("classifier_not_kept", examples=key.hex(), error=str(error))
        return parameters
