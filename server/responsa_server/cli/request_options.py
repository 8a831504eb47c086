"""Makes a request of the contract from options such as `--display-name Ada`, without side effects."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from responsa_client.requests import new_request_id
from responsa_server.cli.contract import (
    MASK,
    STRUCT,
    fields_of,
    has_fields,
    kind_of,
    nearest,
    options_of,
    resolve_path,
    short_names,
    value_form,
)
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, valid_text
from responsa_server.cli.parameters import parse_untyped

_NUMBER: Final = re.compile(r"[+-]?\d+")
_OWN_FIELDS: Final = ("name", "etag")
"""The fields of a resource that an update does not change."""

Read = Callable[[str, str], str | bytes]
"""Returns what the value of an option stands for: a text as it is, or the bytes that it names. Takes the option and the value."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option as it was typed: "--email" and its value; None if it has no value."""

    name: str
    value: str | None


def parse_options(words: Sequence[str], message: Descriptor) -> Sequence[Option]:
    """Part words into options: `--name value`, `--name=value`, and `--name` for a bool.

    Raises:
        CommandFailed: a word is not an option, the request has no such field, or an option has no value.
    """
    options: list[Option] = []
    rest = list(words)
    while rest:
        word = valid_text(rest.pop(0), "An option")
        if not word.startswith("--") or word == "--":
            raise CommandFailed(f"{word!r} is not an option.", "Write --field value.", EXIT_USAGE)
        name, equals, value = word.partition("=")
        _, field = field_named(name, message)
        if equals:
            options.append(Option(name, value))
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and rest[:1] not in (["true"], ["false"]):
            options.append(Option(name, None))
        elif rest:
            options.append(Option(name, rest.pop(0)))
        else:
            raise CommandFailed(f"{name} has no value.", f"Write {name} {value_form(field)}.", EXIT_USAGE)
    return options


def field_named(option: str, message: Descriptor) -> tuple[str, FieldDescriptor]:
    """Return the path and the field that an option means. Raises CommandFailed, with the option that was probably meant."""
    fields = dict(fields_of(message))
    wanted = option.removeprefix("--").replace("-", "_")
    if path := resolve_path(wanted, fields):
        return path, fields[path]
    options = {name.removeprefix("--"): path for name, (path, _) in options_of(message).items()}
    same = [name for name, path in options.items() if path.endswith(f".{wanted}")]
    typed = option.removeprefix("--").replace("_", "-")
    near = nearest(typed, options) or nearest(typed.rpartition(".")[2], options)
    names = " or ".join(f"--{name}" for name in same or [near] if name)
    raise CommandFailed(
        f"{message.name} has no field {option}." if not same else f"{option} matches several fields.",
        f"Did you mean {names}?" if names else "Add --help to see its fields.",
        EXIT_USAGE,
    )


def request_of(message: Descriptor, base: str, options: Sequence[Option], read: Read) -> Message:
    """Return the request with the fields of a JSON object and of the options; options win.

    An unset request_id gets a new UUID. An unset update_mask names the fields that were given of the request's resource.

    Args:
        base: the JSON object; "" for none.
        read: see Read.

    Raises:
        CommandFailed: a value does not fit its field; the message names the option.
    """
    request = message_factory.GetMessageClass(message)()
    paths: list[str] = []
    if base:
        plain = _parse(base, "--json")
        if not isinstance(plain, dict):
            raise CommandFailed("--json takes a JSON object.", "", EXIT_USAGE)
        _merge(plain, request, "--json")
        paths += _paths_in(plain, message)
    for path, field, values in _group(message, options):
        paths.append(_mask_path(path, field))
        plain = _value(field, values, read)
        for part in reversed(path.split(".")):
            plain = {part: plain}
        _merge(cast("dict[str, Json]", plain), request, values[0].name)
    _fill_mask(request, paths)
    if "request_id" in message.fields_by_name and not getattr(request, "request_id"):  # noqa: B009  the type has no such attribute
        setattr(request, "request_id", new_request_id())  # noqa: B010
    return request


def _group(
    message: Descriptor, options: Sequence[Option]
) -> Sequence[tuple[str, FieldDescriptor, Sequence[Option]]]:
    groups: dict[str, tuple[FieldDescriptor, list[Option]]] = {}
    for option in options:
        path, field = field_named(option.name, message)
        _, values = groups.setdefault(path, (field, []))
        values.append(option)
        repeatable = field.is_repeated or value_form(field) == "KEY=VALUE"
        if len(values) > 1 and not repeatable:
            raise CommandFailed(f"{option.name} is given twice.", "Leave one out.", EXIT_USAGE)
    return [(path, field, values) for path, (field, values) in groups.items()]


def _value(field: FieldDescriptor, options: Sequence[Option], read: Read) -> Json:
    if value_form(field) == "KEY=VALUE":
        return _entries(field, options, read)
    values = [_single(field, option, read) for option in options]
    return cast("Json", values) if field.is_repeated else values[0]


def _entries(field: FieldDescriptor, options: Sequence[Option], read: Read) -> Json:
    texts = [_text(option, read) for option in options]
    if len(texts) == 1 and texts[0].lstrip().startswith("{"):
        return _parse(texts[0], options[0].name)
    entries = parse_untyped(texts, options[0].name.removeprefix("--"))
    kind = field.message_type
    if kind is None or kind.full_name == STRUCT:
        return cast("Json", entries)
    value = kind.fields_by_name["value"]
    pairs = (text.partition("=") for text in texts)
    return {key: _plain(value, text, options[0].name) for key, _, text in pairs}


def _single(field: FieldDescriptor, option: Option, read: Read) -> Json:
    if option.value is None:
        return True
    if field.type == FieldDescriptor.TYPE_BYTES:
        content = read(option.name, option.value)
        return content if isinstance(content, str) else base64.b64encode(content).decode()
    return _plain(field, _text(option, read), option.name)


def _text(option: Option, read: Read) -> str:
    content = read(option.name, option.value or "")
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError:
        raise CommandFailed(f"{option.name}: the file is not text in UTF-8.", "", EXIT_USAGE) from None


def _plain(field: FieldDescriptor, text: str, option: str) -> Json:
    if field.enum_type:
        names = short_names(field.enum_type)
        if (short := text.lower().replace("_", "-")) in names:
            return names[short]
        if text in field.enum_type.values_by_name:
            return text
        raise _unfit(option, text, f"It takes {', '.join(names)}.")
    if field.message_type:
        if field.message_type.full_name == MASK:
            return re.sub("_([a-z])", lambda match: match[1].upper(), text)
        return text if value_form(field) != "JSON" else _parse(text, option)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return text
        case FieldDescriptor.CPPTYPE_BOOL:
            if text in ("true", "false"):
                return text == "true"
            raise _unfit(option, text, "It takes true or false.")
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            try:
                return float(text)
            except ValueError:
                raise _unfit(option, text, "It takes a number.") from None
        case _:
            if _NUMBER.fullmatch(text):
                return int(text)
            raise _unfit(option, text, "It takes a whole number.")


def _unfit(option: str, text: str, remedy: str) -> CommandFailed:
    return CommandFailed(f"{option} cannot be {text!r}.", remedy, EXIT_USAGE)


def _parse(text: str, option: str) -> Json:
    try:
        return cast("Json", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{option} is not valid JSON: {error}.", "", EXIT_USAGE) from None


def _merge(plain: dict[str, Json], request: Message, option: str) -> None:
    try:
        json_format.ParseDict(plain, request)
    except (json_format.ParseError, RecursionError) as error:
        raise CommandFailed(
            f"{option} does not match {kind_of(request).name}: {error}".rstrip(".") + ".", "", EXIT_USAGE
        ) from None


def _fill_mask(request: Message, paths: Sequence[str]) -> None:
    fields = kind_of(request).fields_by_name
    resource = next((field.name for field in fields.values() if has_fields(field)), "")
    if "update_mask" in fields and resource and not request.HasField("update_mask"):
        inner = (path.partition(".")[2] for path in paths if path.startswith(f"{resource}."))
        changed = [path for path in inner if path not in _OWN_FIELDS]
        getattr(request, "update_mask").paths.extend(dict.fromkeys(changed))  # noqa: B009


def _paths_in(plain: dict[str, Json], message: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in message.fields:
        for key in {field.name, field.json_name} & plain.keys():
            value = plain[key]
            if isinstance(value, dict) and field.message_type and has_fields(field):
                yield from _paths_in(value, field.message_type, f"{prefix}{field.name}.")
            else:
                yield _mask_path(f"{prefix}{field.name}", field)


def _mask_path(path: str, field: FieldDescriptor) -> str:
    """The path for a mask: one of several fields of a oneof stands for the message that has them."""
    alternatives = field.containing_oneof
    return path.rpartition(".")[0] if alternatives and len(alternatives.fields) > 1 else path
