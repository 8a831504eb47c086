"""The commands of the laboratory."""

from __future__ import annotations

from typing import Final

from responsa_server.cli.command import Command, Heading

COMMANDS: Final = (
    Command(
        "eval",
        "responsa_lab.evaluation.command",
        "Measure retrieval, answers and routing on a data set.",
        Heading.AGENTS,
    ),
    Command(
        "optimise",
        "responsa_lab.optimising.command",
        "Improve an agent's prompt and examples on labelled messages.",
        Heading.AGENTS,
    ),
)
