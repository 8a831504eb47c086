"""Versions that come from a call instead of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import rtoml
from pydantic import ValidationError

from responsa_server.agents.config.build import BuildFailed
from responsa_server.agents.config.check import AgentFiles, Surroundings, check
from responsa_server.agents.config.content import Content, Defaults, content_of
from responsa_server.agents.config.problems import AGENT_FILE, Problem, from_validation

_CHAIN: Final = "chain"


def content_from(
    document: Mapping[str, object], identity: str, surroundings: Surroundings, defaults: Defaults
) -> Content:
    """The content of a version from the document that GetAgentVersion shows, checked like an agent's files.

    `chain` may be missing; then the models follow from `config`, as for files. What no node uses is left out. Raises BuildFailed.
    """
    try:
        given = Content.model_validate({"agent": identity, _CHAIN: (), **document})
    except ValidationError as error:
        raise BuildFailed(list(from_validation(error, Content, file="content"))) from error
    if given.agent != identity:
        raise BuildFailed([Problem("content", f"belongs to the agent “{given.agent}”, not to “{identity}”")])
    try:
        text = rtoml.dumps(given.config, none_value=None)
    except rtoml.TomlSerializationError as error:
        raise BuildFailed([Problem(AGENT_FILE, f"cannot be written as TOML: {error}")]) from error
    examples = {name: example.encode() for name, example in given.examples.items()}
    files = AgentFiles(identity, given.sources(), given.parts(), examples)
    config, problems = check(text, files, surroundings)
    if config is None:
        raise BuildFailed(problems)
    content = content_of(rtoml.loads(text), config, files, defaults, surroundings.kinds)
    return content.model_copy(update={_CHAIN: given.chain}) if given.chain else content
