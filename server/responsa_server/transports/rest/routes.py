"""Finds the call that belongs to a path. The paths come from the option `google.api.http` of the contract's methods
(google/api/http.proto)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf import message_factory
from google.protobuf.message import Message

from responsa_server.calls.chain import Method
from responsa_server.calls.methods import METHODS

_NO_RULE_OF_GOOGLE: Final[Mapping[str, HttpRule]] = {
    "/google.longrunning.Operations/WaitOperation": HttpRule(post="/v1/{name=operations/*}:wait", body="*")
}
"""The paths of methods that others declare without a path."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A part of a path that is a field of the request. field: the path of the field. start, end: the first segment and
    the one after the last; None for all to the path's end."""

    field: str
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Binding:
    """A path of a method. verb: the HTTP method. template: the path as the contract writes it. variables: the fields
    that the path contains. body: the field that is the body: `*` for the whole request, "" for none.
    """

    method: Method
    response: type[Message]
    verb: str
    template: str
    variables: Sequence[Variable]
    body: str


@dataclass(frozen=True, slots=True)
class PathMatch:
    """What a path leads to. bindings: the calls by HTTP method. segments: the decoded segments of the path, the last
    one without its verb."""

    bindings: Mapping[str, Binding]
    segments: Sequence[str]

    @property
    def allowed(self) -> Collection[str]:
        """The HTTP methods of the path. A stream has no HEAD, because the stream would have to be read to its end."""
        heads = [
            "HEAD"
            for binding in self.bindings.values()
            if binding.verb == "GET" and not binding.method.server_streaming
        ]
        return sorted([*self.bindings, *heads])

    def binding(self, verb: str) -> Binding | None:
        """The call for an HTTP method; None if the path does not have this method."""
        binding = self.bindings.get("GET" if verb == "HEAD" else verb)
        return None if binding is not None and verb == "HEAD" and binding.method.server_streaming else binding


_Ends: TypeAlias = "dict[str, dict[str, Binding]]"


@dataclass(slots=True)
class _Node:
    """A place in the tree of segments. below: the next places, by segment; `*` is any segment, and `**` any number of
    them. ends: the calls of paths that end here, by the verb after the colon ("" for none), then by HTTP method."""

    below: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    ends: _Ends = field(default_factory=dict[str, "dict[str, Binding]"])


class Paths:
    """The tree of all paths of the methods that are served."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self._root = _Node()
        for binding in bindings:
            self._add(binding)

    def find(self, raw_path: bytes) -> PathMatch | None:
        """What a path leads to; None if no call has this path. raw_path: with its escapes. A slash at its end does not count.

        Escaped slashes stay escaped, so that no name of a resource gets another number of segments.
        """
        segments = [_decode(segment) for segment in raw_path.removesuffix(b"/").split(b"/")[1:]]
        last, colon, action = segments[-1].rpartition(":") if segments else ("", "", "")
        if colon:
            ends = _merge_ends(self._root, [*segments[:-1], last], action)
            if ends:
                return PathMatch(ends, [*segments[:-1], last])
        ends = _merge_ends(self._root, segments, "")
        return PathMatch(ends, segments) if ends else None

    def _add(self, binding: Binding) -> None:
        segments, action, _ = parse(binding.template)
        node = self._root
        for segment in segments:
            node = node.below.setdefault(segment, _Node())
        node.ends.setdefault(action, {})[binding.verb] = binding


def bindings_of(methods: Collection[Method]) -> Iterator[Binding]:
    """All paths of these methods."""
    for method in methods:
        descriptor = METHODS.get(method.name)
        if descriptor is None:
            continue
        options: Any = descriptor.GetOptions()
        rule = _NO_RULE_OF_GOOGLE.get(method.name) or cast(
            "HttpRule", options.Extensions[annotations_pb2.http]
        )
        response = message_factory.GetMessageClass(descriptor.output_type)
        for option in (rule, *rule.additional_bindings):
            if (kind := option.WhichOneof("pattern")) is not None:
                template = getattr(option, kind)
                yield Binding(method, response, kind.upper(), template, parse(template)[2], option.body)


def parse(template: str) -> tuple[Sequence[str], str, Sequence[Variable]]:
    """The segments of a template, the verb after its colon, and its variables: `/v1/{name=turns/*}:cancel` has the
    segments `v1`, `turns` and `*`, the verb `cancel`, and the variable `name`."""
    path, colon, action = template.rpartition(":")
    if not colon:
        path, action = template, ""
    segments: list[str] = []
    variables: list[Variable] = []
    while path:
        literal, brace, rest = path.partition("{")
        segments += [segment for segment in literal.split("/") if segment]
        if brace:
            inside, _, rest = rest.partition("}")
            name, _, pattern = inside.partition("=")
            start = len(segments)
            segments += pattern.split("/")
            variables.append(Variable(name, start, None if segments[-1] == "**" else len(segments)))
        path = rest
    return segments, action, variables


def _merge_ends(root: _Node, segments: Sequence[str], action: str) -> Mapping[str, Binding]:
    """The calls of a path, by HTTP method. Where several templates fit, the one with literal segments counts."""
    bindings: dict[str, Binding] = {}
    for node in _reach(root, segments, 0):
        for verb, binding in node.ends.get(action, {}).items():
            bindings.setdefault(verb, binding)
    return bindings


def _reach(node: _Node, segments: Sequence[str], depth: int) -> Iterator[_Node]:
    if depth == len(segments):
        yield node
        return
    for key in (segments[depth], "*"):
        if (below := node.below.get(key)) is not None:
            yield from _reach(below, segments, depth + 1)
    if (rest := node.below.get("**")) is not None:
        yield rest


def _decode(segment: bytes) -> str:
    if b"%" not in segment:
        return segment.decode("latin-1")
    escaped = segment.replace(b"%2F", b"%252F").replace(b"%2f", b"%252f")
    # Bytes that are not UTF-8 stay recognisable, and the check of the field refuses them.
    return unquote_to_bytes(escaped).decode(errors="surrogateescape")
