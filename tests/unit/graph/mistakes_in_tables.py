"""Mistakes in tables and values: parameters, models, collections, bounds. A part of the table of mistakes."""

from __future__ import annotations

from typing import Final

from tests.unit.graph.configured import Change

IN_TABLES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    "04 malformed collection": (
        [("agent.toml", "limits =", 'retrieval = { collections = ["ok", "../x y", "My notes"] }\nlimits =')],
        [
            "agent.toml:5:36: retrieval.collections[1]: “../x y” is no id of a collection: small letters, digits and -, at most 63, the first one no -.",
            "agent.toml:5:46: retrieval.collections[2]: “My notes” is no id of a collection: small letters, digits and -, at most 63, the first one no -. Did you mean “my-notes”?",
        ],
    ),
    "05 no number": (
        [
            ("agent.toml", "limits =", "model = { temperature = nan }\nlimits ="),
            ("agent.toml", 'model = { chain = ["default", "openai:gpt"] }\n', ""),
        ],
        ["agent.toml:4:11: model.temperature: must be a number that can be counted with, not nan."],
    ),
    "05 endless": (
        [("agent.toml", "seconds = 30", "seconds = inf")],
        ["agent.toml:5:12: limits.seconds: must be a number that can be counted with, not inf."],
    ),
    "05 empty name": (
        [("agent.toml", 'name = "Test"', 'name = ""')],
        ["agent.toml:1:1: name: must not be empty; give it at least one character."],
    ),
    "05 too many": (
        [
            (
                "agent.toml",
                "limits =",
                'questions = ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]\nlimits =',
            )
        ],
        ["agent.toml:5:1: questions: must have at most 20 entries."],
    ),
    "06 no kind": (
        [("agent.toml", 'grade = { kind = "grader" }', "grade = { }")],
        ["agent.toml:14:1: nodes.grade: “kind” is missing."],
    ),
    "23 a model twice": (
        [("agent.toml", '["default", "openai:gpt"]', '["default", "openai:gpt", "openai:gpt"]')],
        [
            "agent.toml:4:45: model.chain[2]: “openai:gpt” stands in the chain twice; who could not be had is not asked again, so leave it out here."
        ],
    ),
    "23 provider nearly of that name": (
        [("agent.toml", '["default", "openai:gpt"]', '["default", "opnai:other"]')],
        [
            "agent.toml:4:31: model.chain[1]: the model “opnai:other” cannot be had: there is no provider “opnai” here. Did you mean “openai:other”?"
        ],
    ),
    "23 no form of a model": (
        [("agent.toml", '["default", "openai:gpt"]', '["default", "gpt"]')],
        ["agent.toml:4:31: model.chain[1]: the model “gpt” cannot be had: there is no provider “gpt” here."],
    ),
    "23 extractive without a way round": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["openai:gpt", "extractive"]'),
            ("agent.toml", '  { from = "write", to = "quote", on = "unavailable" },\n]', "]"),
        ],
        [
            'agent.toml:15:1: nodes.write: asks a model, and no edge leads round it when none can be had, as “extractive” in model.chain promises; add one with on = "unavailable", or take “extractive” out.'
        ],
    ),
    "23 extractive alone": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["extractive"]'),
            (
                "agent.toml",
                '{ all = [{ model = true }, { field = "extraction.supported", is = true }] } }',
                '{ field = "intent", is = "qa" } }',
            ),
        ],
        [
            "agent.toml:15:1: nodes.write: asks a model, and “extractive” alone in model.chain says that there is none; name a model there, or lead here by edges with when = { model = true } alone.",
            'agent.toml:16:1: nodes.quote: answers with what “grade” has found, and on the way grade → write → quote no edge asks whether there is any; give one when = { field = "extraction.supported", is = true }.',
        ],
    ),
    "23 extractive where there may be no model": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["default", "extractive"]'),
            (
                "agent.toml",
                '{ all = [{ model = true }, { field = "extraction.supported", is = true }] } }',
                '{ field = "extraction.supported", is = true } }',
            ),
            (
                "agent.toml",
                '  { from = "grade", to = "quote", when = { field = "extraction.supported", is = true } },\n',
                "",
            ),
        ],
        [
            "agent.toml:15:1: nodes.write: asks a model, and “default” may stand for none, for which “extractive” in model.chain is there; lead here by edges with when = { model = true } alone."
        ],
    ),
    "24 default that is no value": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", "high"], default = "hgh" }')],
        [
            'agent.toml:9:46: parameters.properties.level.default: does not fit its own schema: "hgh" is not one of "low" or "high". Did you mean “high”?'
        ],
    ),
    "24 default of another type": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "string", default = 3 }')],
        [
            'agent.toml:9:39: parameters.properties.level.default: does not fit its own schema: 3 is not of type "string".'
        ],
    ),
    "24 default out of bounds": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "integer", minimum = 3, default = 1 }')],
        [
            "agent.toml:9:53: parameters.properties.level.default: does not fit its own schema: 1 is less than the minimum of 3."
        ],
    ),
    "24 no values": (
        [("agent.toml", '{ enum = ["low", "high"] }', "{ enum = [] }")],
        ["agent.toml:9:22: parameters.properties.level.enum: must not be empty; give it at least one entry."],
    ),
    "24 values of several types": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", 2] }')],
        [
            "agent.toml:9:37: parameters.properties.level.enum[1]: the number 2 is not of the type of the first value, “string”."
        ],
    ),
    "24 values of another type": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "integer", enum = [1, "two"] }')],
        [
            "agent.toml:9:51: parameters.properties.level.enum[1]: the text “two” is not of the type, “integer”."
        ],
    ),
    "24 a value twice": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", "high", "low"] }')],
        ["agent.toml:9:45: parameters.properties.level.enum[2]: the text “low” stands here twice."],
    ),
    "24 bounds the wrong way": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "integer", minimum = 9, maximum = 3 }')],
        [
            "agent.toml:9:40: parameters.properties.level.minimum: minimum is 9 and maximum is 3, so nothing fits; the first must be the smaller one."
        ],
    ),
    "24 lengths the wrong way": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "string", minLength = 9, maxLength = 3 }')],
        [
            "agent.toml:9:39: parameters.properties.level.minLength: minLength is 9 and maxLength is 3, so nothing fits; the first must be the smaller one."
        ],
    ),
    "24 misspelt keyword": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", "high"], defalt = "low" }')],
        [
            "agent.toml:9:46: parameters.properties.level.defalt: the schema of a parameter has no keyword “defalt”. Did you mean “default”?"
        ],
    ),
    "24 misspelt keyword of a choice": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "string", oneOf = [{ cnst = "low" }] }')],
        [
            "agent.toml:9:50: parameters.properties.level.oneOf[0].cnst: the schema of a parameter has no keyword “cnst”. Did you mean “const”?"
        ],
    ),
    "24 unknown records": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "string", x-resource = "teacher" }')],
        [
            "agent.toml:9:39: parameters.properties.level.x-resource: there are no records “teacher” to name; there are “teachers”. Did you mean “teachers”?"
        ],
    ),
    "24 name of a parameter": (
        [
            ("agent.toml", "properties.level", 'properties."my level"'),
            ("agent.toml", '["level"]', '["my level"]'),
        ],
        [
            "agent.toml:9:1: parameters.properties.my level: “my level” is no name for a parameter: letters, digits and _, at most 63, the first one no digit. Did you mean “my_level”?"
        ],
    ),
}
