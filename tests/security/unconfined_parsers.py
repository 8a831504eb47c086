"""Parser tables that make their zygote believe in a lesser kernel, for as long as it lives. Loaded by a zygote alone."""

from __future__ import annotations

import sys
from typing import Any

from hostile_parsers import PARSERS

from responsa_server.ingest.sandbox import capabilities, landlock
from responsa_server.text.canonical import DocumentType


def __getattr__(name: str) -> dict[DocumentType, str]:
    abi = {"WITHOUT_BOTH": 0, "WITHOUT_SECCOMP": landlock.abi_version()}[name]
    zygote: Any = sys.modules["__main__"]
    zygote.capabilities = lambda: capabilities.SandboxCapabilities(abi, seccomp=False)
    return PARSERS
