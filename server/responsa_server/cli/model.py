"""The commands `responsa model show | set`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import typer

from responsa.admin.v1 import admin_service_pb2, model_settings_pb2
from responsa_client import Responsa
from responsa_server.cli.login import ask_secret
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    one_line,
    print_error,
    print_json,
    print_text,
    reporting,
)
from responsa_server.cli.resources import CommandGroup
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted

_MOST_LISTED = 200
_NO_MODEL = "none"


register: Final = CommandGroup("Show and set the default language model.")


def _describe(settings: model_settings_pb2.ModelSettings) -> str:
    models = ", then ".join(settings.models)
    lines = [f"{models} writes the answers." if models else "No model is set: answers show passages."]
    if settings.fixed_by:
        lines.append(f"The setting {settings.fixed_by} of this server fixes it.")
    if settings.key_in_use == "stored":
        lines.append("Its key was entered and is stored encrypted.")
    elif settings.key_in_use:
        lines.append(f"Its key comes from {settings.key_in_use}.")
    lines += _tell_learned(settings.learned)
    if judge := settings.default_model.judge:
        lines.append(f"{settings.default_model.provider}:{judge} checks each sentence of an answer.")
    lines.append(f"{settings.embedding} makes the vectors of new collections.")
    lines += filter(None, (settings.problem, settings.warning))
    if not models:
        names = ", ".join(provider.name for provider in settings.providers)
        lines.append(f"Providers: {names}. `responsa model set PROVIDER --key` lists the models of one.")
    return "\n".join(lines)


@register.show("show", "Print the ModelSettings, as proto-JSON.", _describe)
def show_model(client: Responsa) -> model_settings_pb2.ModelSettings:
    """Show the model that answers by default, where its key comes from, and the providers."""
    return client.models()


@register.add("set")
def set_model(
    model: str,
    url: str = "",
    key: Annotated[bool, typer.Option("--key")] = False,
    key_name: str = "",
    embedding: str = "",
    window: int = 0,
    judge: str = "",
    price: tuple[float, float] | None = None,
    skip_test: Annotated[bool, typer.Option("--skip-test")] = False,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Set the model that answers by default, on all servers, without a restart. It is tested first, for at most two minutes. A stored
    key stays as long as provider and address do.

    Args:
        model: PROVIDER:MODEL, e.g. openai:gpt-5.6-luna; PROVIDER alone lists its models; `none` sets no model.
        url: The address of the provider `compatible`, up to and including the version, e.g.
            http://127.0.0.1:11434/v1.
        key: Ask for the provider's key, or read it from standard input. It is stored encrypted.
        key_name: The name of the secret file or environment variable that has the key.
        embedding: The provider's model for the vectors of new collections; without it, the model on the
            server's machine.
        window: The most tokens of a prompt and its answer together; 0 if unknown.
        judge: The provider's model that checks each sentence of an answer.
        price: What a million tokens cost that the model reads, and that it writes, in US dollars.
        skip_test: Store the model without a test.
        json: Print the ModelSettings, or the TestModelResponse, as proto-JSON.
    """
    with reporting(json=json), open_client() as client:
        provider, _, named = ("", "", "") if model == _NO_MODEL else model.partition(":")
        wanted = model_settings_pb2.DefaultModel(
            provider=provider,
            model=named,
            base_url=url,
            key_name=key_name,
            embedding=embedding,
            window=window,
            judge=judge,
        )
        if price:
            wanted.input_usd_micros, wanted.output_usd_micros = (round(usd * 1_000_000) for usd in price)
        if key:
            wanted.api_key = ask_secret("Key", "key").strip()
        if provider and not (named and skip_test):
            tested = client.test_model(wanted)
            if not named and json:
                print_json(tested)
            else:
                _print_test(provider, tested)
            if not named:
                return
        had_key = client.models().key_stored
        settings = client.set_default_model(wanted, skip_test=True)  # it was tested above
        if json:
            print_json(settings)
        else:
            print_text(_describe(settings))
        if had_key and not settings.key_stored:
            print_error(
                "The stored key was deleted: it was for another provider or address. Store one with --key."
            )


def _tell_learned(learned: Mapping[str, int]) -> Iterator[str]:
    if refused := [name for name, value in sorted(learned.items()) if not value]:
        yield f"Its server refuses {', '.join(refused)}; calls do without."
    if window := learned.get("window", 0):
        yield f"A prompt and its answer have room for {window:,} tokens."


def _print_test(provider: str, tested: admin_service_pb2.TestModelResponse) -> None:
    """Print the models, and to standard error each step and what was learned. Raises CommandFailed if no answer came."""
    for step in tested.steps:
        print_error(f"{step.name}: {'taken' if step.passed else f'not taken. {one_line(step.detail, 300)}'}")
    for line in _tell_learned(tested.learned):
        print_error(line)
    if tested.outcome != model_settings_pb2.MODEL_TEST_OUTCOME_ANSWERED:
        raise CommandFailed(tested.message, "", EXIT_USAGE)
    for name in tested.models[:_MOST_LISTED]:
        print_text(f"{provider}:{one_line(name, 200)}")
    further = max(len(tested.models) - _MOST_LISTED, 0)
    if further:
        print_error(f"and {counted(further, 'more model', 'more models')}")
    print_error(tested.message)
