"""The embedding model, for measurements on this machine."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from responsa_server.cli.failures import CommandFailed

if TYPE_CHECKING:
    from responsa_server.search.embedder import Embedder


def loaded(stack: ExitStack) -> Embedder:
    """The model, closed by the stack.

    Raises:
        CommandFailed: it cannot be had.
        SettingsError: a setting cannot be right.
    """
    # These load numpy and the runtime: nothing that the other measurements need.
    from responsa_server.app.settings import load as settings
    from responsa_server.embedded import Layout
    from responsa_server.providers.minilm import EmbeddingModelUnavailable, load

    models = Layout.of(settings().home).data / "models"
    if not models.is_dir():
        # A measurement leaves nothing behind where no instance is.
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    try:
        embedder = load(models)
    except EmbeddingModelUnavailable as error:
        raise CommandFailed(str(error)) from None
    stack.callback(embedder.close)
    return embedder
