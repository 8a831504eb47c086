"""`responsa model`: requests, output and exit codes."""

from __future__ import annotations

from typing import Any

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import model_settings_pb2 as pb
from tests.clients.command_line import CommandLine
from tests.clients.scripted import Scripted

KEY = "sk-test-9f8e7d6c5b4a"
SERVICE = "responsa.admin.v1.AdminService/"


async def test_a_key_is_read_the_models_are_listed_and_one_is_set(
    server: Scripted, responsa: CommandLine
) -> None:
    requests: list[Any] = []

    async def test(request: admin.TestModelRequest, _: Any) -> admin.TestModelResponse:
        requests.append(request)
        if request.default_model.api_key != KEY:
            return admin.TestModelResponse(
                outcome=pb.MODEL_TEST_OUTCOME_KEY_REFUSED, message="Check the key."
            )
        if request.default_model.model:
            steps = [
                pb.ModelTestStep(name="answer", passed=True),
                pb.ModelTestStep(name="schema", detail="HTTP 400: no schema"),
            ]
            return admin.TestModelResponse(
                outcome=pb.MODEL_TEST_OUTCOME_ANSWERED,
                message="The model has answered.",
                steps=steps,
                learned={"temperature": 0, "window": 8192},
            )
        return admin.TestModelResponse(
            outcome=pb.MODEL_TEST_OUTCOME_ANSWERED, models=["m-1", "m-2"], message="Choose one of the models."
        )

    async def set_model(request: admin.SetDefaultModelRequest, _: Any) -> pb.ModelSettings:
        requests.append(request)
        name = request.default_model.provider
        return pb.ModelSettings(
            models=[f"{name}:{request.default_model.model}"] if name else [],
            key_in_use="stored" if name else "",
            key_stored=bool(name),
            providers=[pb.ModelProvider(name="openai")],
            embedding="embedded:minilm",
        )

    server.reply(SERVICE + "GetModels", pb.ModelSettings(problem="Paste the key again.", key_stored=True))
    server.on(SERVICE + "TestModel", test)
    server.on(SERVICE + "SetDefaultModel", set_model)
    shown = await responsa("model", "show")
    assert (shown.code, "Paste the key again." in shown.out.splitlines()) == (0, True)
    listed = await responsa("model", "set", "openai", "--key", stdin=f"{KEY}\n".encode())
    assert (listed.code, listed.out) == (0, "openai:m-1\nopenai:m-2\n")
    refused = await responsa("model", "set", "openai", "--key", stdin=b"wrong\n")
    assert (refused.code, "Check the key." in refused.err) == (2, True)
    options = ("--embedding", "e-1", "--judge", "m-3", "--price", "0.5", "2")
    done = await responsa("model", "set", "openai:m-2", "--key", *options, stdin=f"{KEY}\n".encode())
    assert (done.code, done.out) == (
        0,
        "openai:m-2 writes the answers.\nIts key was entered and is stored encrypted.\n"
        "embedded:minilm makes the vectors of new collections.\n",
    )
    assert done.err.splitlines()[-5:] == [
        "responsa: answer: taken",
        "responsa: schema: not taken. HTTP 400: no schema",
        "responsa: Its server refuses temperature; calls do without.",
        "responsa: A prompt and its answer have room for 8,192 tokens.",
        "responsa: The model has answered.",
    ]
    wanted = pb.DefaultModel(provider="openai", model="m-2", api_key=KEY, embedding="e-1", judge="m-3")
    wanted.input_usd_micros, wanted.output_usd_micros = 500_000, 2_000_000
    assert requests[-2:] == [
        admin.TestModelRequest(default_model=wanted),
        admin.SetDefaultModelRequest(default_model=wanted, skip_test=True),
    ]
    failed = await responsa("model", "set", "openai:m-2", "--key", stdin=b"wrong\n")
    assert (failed.code, "Check the key." in failed.err, type(requests[-1])) == (
        2,
        True,
        admin.TestModelRequest,
    )
    none = await responsa("model", "set", "none")
    assert ("The stored key was deleted" in none.err, "deleted" in done.err) == (True, False)
    assert none.out.startswith("No model is set: answers show passages.\nembedded:minilm makes")
    assert none.out.endswith(
        "Providers: openai. `responsa model set PROVIDER --key` lists the models of one.\n"
    )
    assert requests[-1] == admin.SetDefaultModelRequest(default_model=pb.DefaultModel(), skip_test=True)
    assert KEY not in listed.err + done.err + refused.err
