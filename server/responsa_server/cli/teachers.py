"""The commands `responsa teachers list | show | create | update | delete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from responsa.admin.v1 import teacher_pb2
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    one_line,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.parameters import shown_value, untyped
from responsa_server.cli.session import open_client
from responsa_server.domain.teachers import MAX_PERSONA_BYTES

Teacher = Annotated[str, typer.Argument(help="The teacher, as teachers/{uuid} or as the UUID alone.")]
Persona = Annotated[str | None, typer.Option(help="How the teacher speaks and teaches, at most 8 KiB.")]
PersonaFile = Annotated[Path | None, typer.Option(help="A file that holds the persona, as UTF-8 text.")]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", help="A parameter that prompts may use, as name=value; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the Teacher, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and change teachers, the personas that agents use. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_teachers)
    group.command("show")(show_teacher)
    group.command("create")(create_teacher)
    group.command("update")(update_teacher)
    group.command("delete")(delete_teachers)
    app.add_typer(group, name=name)


def list_teachers(
    matching: Annotated[
        str,
        typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'display_name = \"Ms Ashdown\"'."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one Teacher per line, as proto-JSON.")] = False,
) -> None:
    """List all teachers."""
    with reporting(json=json), open_client() as client:
        none = True
        for teacher in client.teachers(filter_by=matching):
            none = False
            if json:
                print_json(teacher)
            else:
                print_text(
                    f"{_id(teacher)}  {one_line(teacher.display_name, 40)}: {one_line(teacher.persona, 70)}"
                )
        if none and not json and not matching:
            print_text(
                "There are no teachers yet. Load samples with `responsa samples load`, or create a teacher with `responsa teachers create`."
            )


def show_teacher(teacher: Teacher, json: AsJson = False) -> None:
    """Show one teacher."""
    with reporting(json=json), open_client() as client:
        _print(client.teacher(valid_text(teacher, "The teacher")), json=json)


def create_teacher(
    display_name: Annotated[str, typer.Argument(help="The teacher's name, at most 200 bytes.")],
    persona: Persona = None,
    persona_file: PersonaFile = None,
    param: Param = None,
    teacher_id: Annotated[str, typer.Option("--id", help="The teacher's UUID. Default: a new UUID.")] = "",
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Any UUID. A repeated command with the same UUID shows the existing teacher and creates nothing."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create a teacher and print it, beginning with its id."""
    with reporting(json=json):
        given = _persona(persona, persona_file)
        if given is None:
            raise CommandFailed(
                "A teacher needs a persona.", "Give --persona TEXT or --persona-file FILE.", EXIT_USAGE
            )
        with open_client() as client:
            made = client.create_teacher(
                valid_text(display_name, "The name"), given, untyped(param or ()), teacher_id, request_id
            )
            _print(made, json=json)


def update_teacher(
    teacher: Teacher,
    name: Annotated[str | None, typer.Option(help="The new name.")] = None,
    persona: Persona = None,
    persona_file: PersonaFile = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help="A parameter as name=value; repeatable. The given parameters replace all existing ones.",
        ),
    ] = None,
    no_params: Annotated[bool, typer.Option("--no-params", help="Remove all parameters.")] = False,
    etag: Annotated[
        str,
        typer.Option(
            help="The etag from `show --json`. If the teacher has changed since then, the command changes nothing."
        ),
    ] = "",
    json: AsJson = False,
) -> None:
    """Change the given fields. A running turn keeps the persona that it started with."""
    with reporting(json=json):
        given = _persona(persona, persona_file)
        parameters = untyped(param) if param else {} if no_params else None
        if name is None and given is None and parameters is None:
            raise CommandFailed(
                "There is nothing to change.",
                "Give --name, --persona, --persona-file, --param or --no-params.",
                EXIT_USAGE,
            )
        with open_client() as client:
            changed = client.update_teacher(
                valid_text(teacher, "The teacher"),
                display_name=None if name is None else valid_text(name, "The name"),
                persona=given,
                parameters=parameters,
                etag=etag,
            )
            _print(changed, json=json)


def delete_teachers(
    teachers: Annotated[
        list[str], typer.Argument(help="The teachers, each as teachers/{uuid} or as the UUID alone.")
    ],
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per line, with the name of what was deleted."),
    ] = False,
) -> None:
    """Delete teachers. If one of them does not exist, nothing is deleted."""
    with reporting(json=json), open_client() as client:
        found = [client.teacher(valid_text(one, "The teacher")) for one in teachers]
        for teacher in {one.name: one for one in found}.values():
            client.delete_teacher(teacher.name, teacher.etag)
            if json:
                print_json({"deleted": teacher.name, "displayName": teacher.display_name})
            else:
                print_text(f"deleted {_id(teacher)}  {one_line(teacher.display_name, 60)}")


def _persona(text: str | None, file: Path | None) -> str | None:
    if text is not None and file is not None:
        raise CommandFailed("The persona is given twice.", "Give --persona or --persona-file.", EXIT_USAGE)
    if file is None:
        return None if text is None else valid_text(text, "The persona")
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_PERSONA_BYTES + 1)
        if len(data) <= MAX_PERSONA_BYTES:
            return data.decode()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read ({error.strerror}).", "", EXIT_USAGE) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not valid UTF-8.", "", EXIT_USAGE) from None
    raise CommandFailed(
        f"{file} has more than {MAX_PERSONA_BYTES:,} bytes.", "Shorten the persona.", EXIT_USAGE
    )


def _print(teacher: teacher_pb2.Teacher, *, json: bool) -> None:
    if json:
        print_json(teacher)
        return
    values = as_json(teacher.parameters)
    lines = [f"{_id(teacher)}  {one_line(teacher.display_name, 200)}"]
    lines += [f"{name}: {shown_value(value)}" for name, value in sorted(values.items())]
    print_text("\n".join([*lines, "", teacher.persona.strip()]))


def _id(teacher: teacher_pb2.Teacher) -> str:
    return teacher.name.removeprefix("teachers/")
