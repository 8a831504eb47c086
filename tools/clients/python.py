"""Writes what of the Python client is generated: the calls that need no special code (aio/methods.py), the types that
they use (contract.py), and the blocking client (blocking/, except its transport.py).

Usage: python -m tools.clients.python

The files are not committed. `make` and an installation write them; both need protobuf and the descriptor set only, and
take less than a second.
"""

from __future__ import annotations

import io
import re
import textwrap
import tokenize
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.clients.plan import ROOT, Field, Method, Plan, Retry, Service, read

CLIENT: Final = ROOT / "clients" / "python" / "responsa_client"
METHODS: Final = CLIENT / "aio" / "methods.py"
TYPES: Final = CLIENT / "contract.py"
HEAD: Final = "# Generated from {source} by `make`. Do not edit.\n"
BY_HAND: Final = frozenset(
    {
        "Answer",
        "Ask",
        "BatchSearch",
        "CreateApiKey",
        "CreateDocument",
        "CreateInvitation",
        "CreateServiceGrant",
        "GetDocumentContent",
        "GetDocumentOriginal",
        "ResumeTurn",
        "Search",
        "StartTurn",
        "UpdateMe",
        "UpdateUserLimits",
        "UpdateUserQuota",
        "UploadDocument",
        "WatchOperation",
    }
)
"""Calls that aio/chat.py, aio/knowledge.py and aio/accounts.py make."""
NAMES: Final = {
    "CancelTurn": "cancel",
    "GetJwks": "public_keys",
    "GetMyUsage": "usage",
    "ListFeedback": "list_feedback",
    "ListFormats": "list_formats",
    "RedeliverDelivery": "redeliver",
    "RefreshToken": "refresh_tokens",
    "ReloadAgents": "reload",
    "ResumeTurn": "resume",
    "UploadDocument": "upload",
    **{
        f"Get{noun}": ""
        for noun in ("Collection", "Conversation", "Document", "Message", "Passage", "SystemStatus", "Turn")
    },
}
"""Calls whose method has another name than the rule gives: GetUser is `user`, ListUsers is `users`, DisableUser is
`disable_user`. With "", a call keeps its verb."""
ARGUMENTS: Final = {"filter": "filter_by", "removed_emails": "without"}
"""Fields whose argument has another name."""
REQUIRED: Final = frozenset(
    {
        ("ChangePassword", "current_password"),
        ("CreateServiceApiKey", "display_name"),
        ("CreateUser", "display_name"),
        ("Register", "email"),
    }
)
"""Arguments that must be given, although the contract lets them be empty."""
BY_POSITION: Final[Mapping[str, Sequence[str]]] = {
    "CreateCollection": ("display_name", "chunking", "request_id"),
    "CreateConversation": ("title", "labels", "request_id"),
    "CreateServiceApiKey": ("expire_time", "request_id"),
    "CreateSource": ("mapping", "display_name"),
    "CreateTeacher": ("parameters", "teacher_id", "request_id"),
    "CreateUser": ("email", "role", "request_id"),
    "Register": ("display_name",),
    "UpdateCollection": ("display_name", "etag"),
    "UpdateSource": ("mapping", "display_name", "etag"),
}
"""Optional arguments by position, where the rule of `_arguments` would choose others."""
LONG_ITEMS: Final = frozenset({"ListMessages", "ListSources", "ListTeachers", "ListTurns"})
ERRORS: Final = {
    "ABORTED": "Conflict",
    "ALREADY_EXISTS": "AlreadyExists",
    "FAILED_PRECONDITION": "FailedPrecondition",
    "INVALID_ARGUMENT": "InvalidRequest",
    "NOT_FOUND": "NotFound",
    "OUT_OF_RANGE": "InvalidRequest",
    "PERMISSION_DENIED": "PermissionDenied",
    "RESOURCE_EXHAUSTED": "ResourceExhausted",
    "UNAUTHENTICATED": "Unauthenticated",
    "UNAVAILABLE": "Unavailable",
}
"""The error of responsa_client.errors for a gRPC code; ServerFault for all others."""
SCALARS: Final = {"string": "str", "bytes": "bytes", "bool": "bool", "double": "float"}
ZEROS: Final = {"str": '""', "bytes": 'b""', "bool": "False", "float": "0.0", "int": "0"}
ETAG: Final = 'the etag that the resource must still have; "" for any.'
REQUEST_ID: Final = (
    "a UUID; a repeated call with the same UUID has no second effect. None generates a new one."
)
STRUCT: Final = "google.protobuf.Struct"
MASK: Final = "google.protobuf.FieldMask"
EMPTY: Final = "google.protobuf.Empty"
WIDTH: Final = 140

BLOCKING: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__anext__": "__next__",
    "aclose": "close",
    "aio": "blocking",
    "anext": "next",
}
# These names stay, because the stubs have the types of asyncio. The blocking transport casts the stubs.
KEPT: Final = re.compile(r"^from grpc import aio$|\baio\.[A-Z]\w+")
GROUPS: Final = re.compile(r"\bAwaitable\[(\w+)\]")
PREFIX: Final = re.compile(r"\bAsync(?=[A-Z])")


def snake(name: str) -> str:
    """ "ListUsers" becomes "list_users"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def method_name(rpc: str) -> str:
    """The method for a call."""
    name = NAMES.get(rpc) or snake(rpc)
    return name if rpc in NAMES else re.sub(r"^(get|list)_", "", name)


class _Emitter:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._modules: set[tuple[str, str]] = set()
        self._rpcs = {
            method.name: method_name(method.name) for service in plan.services for method in service.methods
        }
        longest = sorted(
            (name for name in self._rpcs if re.search("[a-z][A-Z]", name)), key=len, reverse=True
        )
        self._mentions = re.compile(rf"\b(?:\w+Service\.)?({'|'.join(longest)})\b")

    def module(self) -> str:
        classes = "\n\n".join(self._service(service) for service in self._plan.services)
        imports = "\n".join(f"from {package} import {module}" for package, module in sorted(self._modules))
        return f'''{HEAD.format(source="generated/descriptor.binpb")}"""The calls of all services that need no special code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

{imports}
from responsa_client import requests
from responsa_client.aio.calls import AsyncPart
from responsa_client.requests import Parameters

__all__ = [{", ".join(f'"{self._class_name(service)}"' for service in self._plan.services)}]


{classes}'''

    def _class_name(self, service: Service) -> str:
        return f"Async{service.name.removesuffix('Service')}Methods"

    def _service(self, service: Service) -> str:
        lines = [
            f"class {self._class_name(service)}(AsyncPart):",
            *_docstring(self._text(service.comment), 4),
        ]
        for method in service.methods:
            if method.name not in BY_HAND:
                lines += ["", *self._method(service, method)]
        return "\n".join([*lines, ""])

    def _method(self, service: Service, method: Method) -> Iterator[str]:
        arguments = self._arguments(method)
        positional = [argument for argument in arguments if argument.by_position]
        named = [argument for argument in arguments if not argument.by_position]
        stub = f"self._stubs.{service.name.removesuffix('Service').lower()}.{method.name}"
        result = self._result(method)
        star = [] if any(argument.code.startswith("*") for argument in positional) else ["*"]
        signature = [
            "self",
            *(one.code for one in positional),
            *(star if named else []),
            *(one.code for one in named),
        ]
        yield f"    {'' if method.items else 'async '}def {method_name(method.name)}("
        yield from (f"        {part}," for part in signature)
        yield f"    ) -> {result}:"
        yield from _docstring(self._documentation(method, arguments), 8)
        yield f"        request = {self._request(method)}"
        if method.items:
            yield f"        return self._calls.paged({stub}, request, lambda page: page.{method.items.name})"
            return
        retry = {
            Retry.ALWAYS: "",
            Retry.NEVER: ", repeatable=False",
            Retry.WITHOUT_ETAG: ", repeatable=not etag",
        }[method.retry]
        call = f"await self._calls.unary({stub}, request{retry})"
        if method.response == EMPTY:
            yield f"        {call}"
        elif method.only is None:
            yield f"        return {call}"
        elif method.only.repeated:
            yield f"        return list(({call}).{method.only.name})"
        else:
            yield f"        return ({call}).{method.only.name}"

    def _result(self, method: Method) -> str:
        if method.items:
            return f"AsyncIterator[{self._type(method.items)}]"
        if method.response == EMPTY:
            return "None"
        if method.only is None:
            return self._message(method.response)
        return f"list[{self._type(method.only)}]" if method.only.repeated else self._type(method.only)

    def _arguments(self, method: Method) -> list[_Argument]:
        """The arguments in the order of the signature. By position: those that are required, and, in the contract's
        order, those that are neither flags nor changes nor next to a resource."""
        arguments: list[_Argument] = []
        for field in method.fields:
            argument = self._argument(method, field)
            argument.by_position = not method.resource and field.type != "bool"
            arguments.append(argument)
        changes = [
            self._argument(method, field, change=method.update_mask) for field in method.resource_fields
        ]
        if method.update_mask:
            for change in changes:
                change.by_position = False
            text = "the name, or the id alone."
            arguments.insert(0, _Argument(_noun(method.resource_pattern), "str", None, text))
        arguments += changes
        if method.etag == "resource":
            arguments.append(_Argument("etag", "str", '""', ETAG, by_position=False))
        order = BY_POSITION.get(method.name)
        for argument in arguments:
            if order is not None:
                argument.by_position = argument.name in order
            argument.by_position |= argument.default is None
        places = {name: place for place, name in enumerate(order or ())}
        return sorted(
            arguments, key=lambda one: (one.default is not None, not one.by_position, places.get(one.name, 0))
        )

    def _argument(self, method: Method, field: Field, *, change: bool = False) -> _Argument:
        kind, default = self._type(field), None
        name, comment = _argument_name(field), field.comment
        if field.name == "request_id":
            return _Argument(name, "str | None", "None", REQUEST_ID)
        if field.name == "etag":
            return _Argument(name, "str", '""', ETAG)
        if field.name in ("name", "parent") and name != field.name:
            comment = f"{comment.removesuffix('.')}, or the id alone."
        if field.repeated and field.name == "names":
            return _Argument(f"*{name}", "str", None, comment)
        if field.kind == "map":
            kind, default = f"Mapping[str, {kind}] | None", "None"
        elif field.type == MASK:
            kind, default = "Sequence[str]", "()"
        elif field.repeated:
            kind, default = f"Sequence[{kind}]", "()"
        elif field.kind == "message" or field.presence:
            kind, default = f"{kind} | None", "None"
        elif field.kind == "enum":
            default = f"{kind.split('.', 1)[0]}.{field.zero}"
        else:
            default = ZEROS[kind]
        if change:
            return _Argument(name, kind if kind.endswith("None") else f"{kind} | None", "None", comment)
        if field.required or (method.name, field.name) in REQUIRED:
            return _Argument(name, kind.removesuffix(" | None"), None, comment)
        return _Argument(name, kind, default, comment)

    def _request(self, method: Method) -> str:
        values = [f"{field.name}={self._value(field, method)}" for field in method.fields]
        if method.items:
            values.append(f"page_size=requests.{'LONG_' if method.name in LONG_ITEMS else ''}PAGE_SIZE")
        if method.resource:
            change = method.update_mask
            inner = [
                f"{field.name}={self._value(field, method, change=change)}"
                for field in method.resource_fields
            ]
            if change:
                inner.insert(0, f"name={_named(method.resource_pattern)}")
            if method.etag == "resource":
                inner.append("etag=etag")
            values.append(f"{method.resource}={_call(self._message(method.resource_type), inner, 12)}")
        if method.update_mask:
            changed = [f"{field.name}={_argument_name(field)}" for field in method.resource_fields]
            values.append(f"update_mask={_call('requests.changed', changed, 12)}")
        return _call(self._message(method.request), values, 8)

    def _value(self, field: Field, method: Method, *, change: bool = False) -> str:
        name = _argument_name(field)
        if name == "request_id":
            return "request_id or requests.new_request_id()"
        if name == f"{method.resource}_id":
            return f'{name}.removeprefix("{method.resource_pattern.partition("{")[0]}")'
        if field.type == MASK:
            self._modules.add(("google.protobuf", "field_mask_pb2"))
            return f"field_mask_pb2.FieldMask(paths={name}) if {name} else None"
        if field.type == STRUCT:
            return f"requests.struct({name}) if {name} else None"
        if field.pattern and field.kind == "scalar" and field.name not in ("subject", "names"):
            if field.repeated:
                one = _named(field.pattern, "one")
                return f"[{one} for one in {name}]"
            return _named(field.pattern, f'{name} or ""' if change else name)
        if change and field.kind == "enum":
            return f"{name} or {self._message(field.type).rpartition('.')[0]}.{field.zero}"
        if change and field.kind == "scalar" and not field.presence:
            return f"{name} or {ZEROS[self._type(field)]}"
        return name

    def _type(self, field: Field) -> str:
        if field.type in (STRUCT, MASK):
            return "Parameters" if field.type == STRUCT else "str"
        if field.kind == "scalar" or field.type in SCALARS:
            return SCALARS.get(field.type, "int")
        return self._message(field.type) + (".ValueType" if field.kind == "enum" else "")

    def _message(self, full_name: str) -> str:
        package, _, module = (
            self._plan.files[full_name].removesuffix(".proto").replace("/", ".").rpartition(".")
        )
        self._modules.add((package, f"{module}_pb2"))
        return f"{module}_pb2.{full_name.rpartition('.')[2]}"

    def _documentation(self, method: Method, arguments: Sequence[_Argument]) -> str:
        parts = [_capital(self._text(method.comment.removeprefix(f"{method.name} ")))]
        if method.update_mask:
            parts[0] += " Arguments that are None change nothing."
        told = [
            f"{argument.name.lstrip('*')}: {_small(self._text(argument.comment))}" for argument in arguments
        ]
        if told:
            parts.append(_section("Args", told))
        errors: dict[str, list[str]] = {}
        for error in method.errors:
            errors.setdefault(ERRORS.get(error.code, "ServerFault"), []).append(error.description)
        raised = [f"{name}: {self._text(', '.join(reasons))}." for name, reasons in errors.items()]
        if any(field.type == STRUCT for field in (*method.fields, *method.resource_fields)):
            raised.append("ValueError, TypeError: a value cannot be written as JSON.")
        if raised:
            parts.append(_section("Raises", raised))
        return "\n\n".join(parts)

    def _text(self, comment: str) -> str:
        """A comment of the contract in the words of the client."""
        comment = re.sub(r" that (?:the |update_)mask names\b", " that are given", comment)
        return self._mentions.sub(lambda found: f"`{self._rpcs[found[1]]}`", comment)


class _Argument:
    def __init__(
        self, name: str, kind: str, default: str | None, comment: str, *, by_position: bool = True
    ) -> None:
        self.name, self.default, self.comment, self.by_position = name, default, comment, by_position
        self.code = f"{name}: {kind}" + ("" if default is None else f" = {default}")


def _argument_name(field: Field) -> str:
    if field.name in ("name", "parent") and field.pattern:
        return _noun(field.pattern)
    return ARGUMENTS.get(field.name, field.name)


def _noun(pattern: str) -> str:
    """The argument for a resource with such a name: "user" for users/{user}, and for what each user has once
    (users/{user}/quota); "name" for a resource in another one."""
    variables = re.findall(r"{(\w+)}", pattern)
    return variables[0] if len(variables) == 1 else "name"


def _named(pattern: str, name: str = "") -> str:
    """The code that makes a resource's name of an argument."""
    name = name or _noun(pattern)
    collection, _, rest = pattern.partition("/")
    if rest.count("{") > 1:
        return name
    last = rest.partition("/")[2]
    parts = [f'"{collection}"', name, *([f'"{last}"'] if last else [])]
    return f"requests.named({', '.join(parts)})"


def _call(function: str, arguments: Collection[str], indent: int) -> str:
    line = f"{function}({', '.join(arguments)})"
    if len(line) + indent < 100:
        return line
    inner = "".join(f"{' ' * (indent + 4)}{argument},\n" for argument in arguments)
    return f"{function}(\n{inner}{' ' * indent})"


def _section(title: str, entries: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"    {entry}" for entry in entries)])


def _docstring(text: str, indent: int) -> Iterator[str]:
    lines = text.replace("\\", "\\\\").split("\n")
    wrapped: list[str] = []
    for line in lines:
        inner = " " * (len(line) - len(line.lstrip()))
        hanging = inner + "    " if inner else ""
        wrapped += textwrap.wrap(
            line, WIDTH - indent, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
        ) or [""]
    if wrapped[-1].endswith('"'):
        wrapped[-1] += " "
    first, *others = wrapped
    first = f" {first}" if first.startswith('"') else first
    space = " " * indent
    if not others:
        yield f'{space}"""{first}"""'
        return
    yield f'{space}"""{first}'
    yield from (f"{space}{line}".rstrip() for line in others)
    yield f'{space}"""'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def blocking(name: str, source: str) -> str:
    """The blocking form of a file of the asyncio client. It drops `async` and `await`, and replaces asynchronous names."""
    lines = source.splitlines(keepends=True)
    changes: list[tuple[tuple[int, int], tuple[int, int], str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        new = token.string
        if token.type == tokenize.NAME:
            new = _blocking_name(token)
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            new = PREFIX.sub("", new)
        if new != token.string:
            changes.append((token.start, token.end, new))
    for (row, start), (last, end), new in reversed(changes):
        if not new and lines[last - 1][end : end + 1] == " ":
            end += 1
        lines[row - 1 : last] = [lines[row - 1][:start] + new + lines[last - 1][end:]]
    text = GROUPS.sub(r"\1", "".join(lines))
    text = re.sub(r"(from collections\.abc import [^\n]*)\bAwaitable, ", r"\1", text)
    return HEAD.format(source=f"../aio/{name}") + text


def _blocking_name(token: tokenize.TokenInfo) -> str:
    if token.string in ("async", "await"):
        return ""
    if token.string == "aio":
        column = token.start[1]
        kept = any(match.start() <= column < match.end() for match in KEPT.finditer(token.line.rstrip("\n")))
        return token.string if kept else BLOCKING["aio"]
    return BLOCKING.get(token.string, PREFIX.sub("", token.string))


def types(plan: Plan) -> str:
    """The module with the contract's own types, but not the requests and responses of single calls."""
    imports = sorted(
        (home.removesuffix(".proto").replace("/", "."), name.rpartition(".")[2])
        for name, home in plan.files.items()
        if re.fullmatch(r"responsa\.\w+\.v1\.[A-Z]\w*", name) and not name.endswith(("Request", "Response"))
    )
    lines = [
        HEAD.format(source="generated/descriptor.binpb")
        + '"""The types of the contract that arguments and results have."""',
        "",
    ]
    lines += [f"from {module}_pb2 import {name}" for module, name in imports]
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(name for _, name in imports)), "]", ""]
    return "\n".join(lines)


def files() -> Mapping[Path, str]:
    """The generated files."""
    plan = read()
    methods = _Emitter(plan).module()
    made = {
        TYPES: types(plan),
        METHODS: methods,
        CLIENT / "blocking" / METHODS.name: blocking(METHODS.name, methods),
    }
    for source in sorted((CLIENT / "aio").glob("*.py")):
        if source.name not in ("transport.py", METHODS.name):
            made[CLIENT / "blocking" / source.name] = blocking(
                source.name, source.read_text(encoding="utf-8")
            )
    return made


def write() -> Sequence[Path]:
    """Write the generated files, and delete the others in blocking/. The result is the files that were written."""
    made = files()
    for path in (CLIENT / "blocking").glob("*.py"):
        if path not in made and path.name != "transport.py":
            path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return list(made)


if __name__ == "__main__":
    write()
