"""Tables of formats that make their zygote assume a kernel with fewer features. Only a zygote loads this module."""

from __future__ import annotations

import sys
from typing import Any

from hostile_parsers import FORMATS

from responsa_formats.parsers.table import Formats
from responsa_formats.sandbox.confinement import SandboxCapabilities, landlock_abi


def __getattr__(name: str) -> Formats:
    found = {
        "WITHOUT_BOTH": SandboxCapabilities(0, seccomp=False),
        "WITHOUT_LANDLOCK": SandboxCapabilities(0, seccomp=True),
        "WITHOUT_SECCOMP": SandboxCapabilities(landlock_abi(), seccomp=False),
    }[name]
    zygote: Any = sys.modules["__main__"]
    zygote.capabilities = lambda: found
    return FORMATS
