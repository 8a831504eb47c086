"""Fills in YAML templates. Only whole values are filled in, so that a value cannot change a file's structure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

Tree: TypeAlias = "bool | int | float | str | list[Tree] | dict[str, Tree] | None"
"""A value of a YAML or JSON file."""
_PLACE = re.compile(r"\$\{(file:)?([a-z0-9_.]+)\}")


class TemplateError(Exception):
    """A template is missing, is not valid YAML, or names a value that was not given."""


class Templates:
    """The YAML files of one folder.

    `${name}` becomes the value of that name, with its type. `${file:x.yaml}` becomes the content of that file. A value
    that becomes null is removed from its list or mapping. A mapping with the key `if` becomes null if the value of this
    key becomes null; otherwise it loses the key.
    """

    def __init__(self, folder: Path, values: Mapping[str, Tree]) -> None:
        self._folder = folder
        self._values = values
        self._used: set[str] = set()

    def render(self, name: str) -> Tree:
        """The file `name`, filled in.

        Raises:
            TemplateError: for the reasons that the class describes, or because no template uses one of the given values.
        """
        self._used.clear()
        tree = self._fill(self._load(name))
        unused = sorted(set(self._values) - self._used)
        if unused:
            raise TemplateError(f"no template in {self._folder.name} uses: {', '.join(unused)}")
        return tree

    def _load(self, name: str) -> Tree:
        import yaml  # late, because those who only name the type of a tree read no template

        try:
            text = (self._folder / name).read_text(encoding="utf-8")
            return cast("Tree", yaml.safe_load(text))
        except (OSError, yaml.YAMLError) as error:
            raise TemplateError(f"the template {name} cannot be read ({type(error).__name__})") from error

    def _fill(self, tree: Tree) -> Tree:
        match tree:
            case {"if": condition, **rest}:
                return None if self._fill(condition) is None else self._fill(rest)
            case dict():
                filled = {key: self._fill(value) for key, value in tree.items()}
                return {key: value for key, value in filled.items() if value is not None}
            case list():
                return [value for value in map(self._fill, tree) if value is not None]
            case str():
                return self._place(tree)
            case _:
                return tree

    def _place(self, text: str) -> Tree:
        match = _PLACE.fullmatch(text)
        if match is None:
            if "${" in text:
                raise TemplateError(
                    f"{text!r} contains a placeholder within other text; only whole values are filled in"
                )
            return text
        if match[1]:
            return self._fill(self._load(match[2]))
        if match[2] not in self._values:
            raise TemplateError(f"there is no value for ${{{match[2]}}}")
        self._used.add(match[2])
        return self._values[match[2]]
