"""What a node's table in `agent.toml` may say beyond what every node may be told, and what of it names files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field


class NodeOptions(BaseModel):
    """Base of the options of a kind: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Names(Enum):
    """What a text among the options is the name of."""

    PROMPT = "prompt"
    """`prompts/NAME.md`, for a model to read."""
    TEMPLATE = "template"
    """`prompts/NAME.md`, for a person to read."""
    EXAMPLES = "examples"
    """A file of examples, a path within the agent's folder, of lines `{"text": …, "label": …}`."""


BY: Final = "by"
DEFAULT: Final = "default"

PromptName = Annotated[str, Names.PROMPT]
TemplateName = Annotated[str, Names.TEMPLATE]
ExamplesName = Annotated[str, Names.EXAMPLES]
PromptChoice = Annotated[str | Annotated[dict[str, str], Field(min_length=2)], Names.PROMPT]
"""A prompt's name; or a table: `by` names a field of the state, `default` a prompt, and each other key, a value of that field, its prompt."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The variables that a node has for its prompt or template. Untrusted: what users, documents and models have written."""

    trusted: frozenset[str] = frozenset()
    untrusted: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Both."""
        return self.trusted | self.untrusted


def named(
    options: type[NodeOptions], given: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Names, str]]:
    """Each name of a file among the options as given: where it stands, of what it is, the name. What is no text is passed over."""
    for field, info in options.model_fields.items():
        for role in info.metadata:
            if not isinstance(role, Names):
                continue
            value = given.get(field)
            if isinstance(value, str):
                yield (field,), role, value
            elif isinstance(value, dict):
                for key, one in cast("dict[str, Any]", value).items():
                    if key != BY and isinstance(one, str):
                        yield (field, key), role, one
