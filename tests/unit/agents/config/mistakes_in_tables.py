"""Mistakes in tables and values: parameters, models, collections, bounds. This is a part of the table of mistakes."""

from __future__ import annotations

from typing import Final

from tests.unit.agents.configured import Change

IN_TABLES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    "04 malformed collection": (
        [("agent.toml", "limits =", 'retrieval = { collections = ["ok", "../x y", "My notes"] }\nlimits =')],
        [
            "agent.toml:5:36: retrieval.collections[1]: “../x y” is not a valid id of a collection: use at most 63 lower-case letters, digits and “-”, and no “-” first.",
            "agent.toml:5:46: retrieval.collections[2]: “My notes” is not a valid id of a collection: use at most 63 lower-case letters, digits and “-”, and no “-” first. Did you mean “my-notes”?",
        ],
    ),
    "04 sources that nobody chooses": (
        [
            (
                "agent.toml",
                "limits =",
                'retrieval = { sources.handbook = { collections = ["Hand book"], filter = "colour = red" } }\nlimits =',
            )
        ],
        [
            "agent.toml:5:1: retrieval: sources and source_parameter need each other; add source_parameter.",
            "agent.toml:5:51: retrieval.sources.handbook.collections[0]: “Hand book” is not a valid id of a collection: use at most 63 lower-case letters, digits and “-”, and no “-” first. Did you mean “hand-book”?",
            "agent.toml:5:65: retrieval.sources.handbook.filter: is not a valid filter: there is no field `colour` (character 1); fields: source_key,uri,title,media_type,language,author,owner,collection,labels.KEY,metadata.KEY,date,create_time,update_time.",
        ],
    ),
    "04 source of no parameter": (
        [
            (
                "agent.toml",
                "limits =",
                'retrieval = { source_parameter = "levl", sources.handbook = {} }\nlimits =',
            )
        ],
        ["agent.toml:5:15: retrieval.source_parameter: there is no parameter “levl”. Did you mean “level”?"],
    ),
    "04 values without a source": (
        [
            (
                "agent.toml",
                "limits =",
                'retrieval = { source_parameter = "level", sources.low = {} }\nlimits =',
            )
        ],
        [
            "agent.toml:5:15: retrieval.source_parameter: the values (enum) of the parameter “level” must be the names of the sources: “low”."
        ],
    ),
    "04 no sources for a model": (
        [
            (
                "agent.toml",
                "grade =",
                'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade =',
            ),
            (
                "agent.toml",
                '{ from = "route", to = "retrieve" },',
                '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },',
            ),
        ],
        [
            "agent.toml:14:55: nodes.expand.sources: there are no sources to choose from; describe them in retrieval.sources."
        ],
    ),
    "04 an example with a source that does not exist": (
        [
            (
                "agent.toml",
                "grade =",
                'expand = { kind = "query_expander", prompt = "write", examples = [{ question = "Why?", sources = ["hihg"] }] }\ngrade =',
            ),
            (
                "agent.toml",
                '{ from = "route", to = "retrieve" },',
                '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },',
            ),
            (
                "agent.toml",
                "limits =",
                'retrieval = { source_parameter = "level", sources.low = {}, sources.high = {} }\nlimits =',
            ),
        ],
        [
            "agent.toml:15:88: nodes.expand.examples[0].sources: there is no source “hihg”; the sources are “high”, “low”. Did you mean “high”?"
        ],
    ),
    "04 sources without descriptions for a model": (
        [
            (
                "agent.toml",
                "grade =",
                'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade =',
            ),
            (
                "agent.toml",
                '{ from = "route", to = "retrieve" },',
                '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },',
            ),
            (
                "agent.toml",
                "limits =",
                'retrieval = { source_parameter = "level", sources.low = {}, sources.high = { description = "All." } }\nlimits =',
            ),
        ],
        [
            "agent.toml:5:43: retrieval.sources.low: needs a description, because “expand” lets a model choose among the sources."
        ],
    ),
    "05 no number": (
        [
            ("agent.toml", "limits =", "model = { temperature = nan }\nlimits ="),
            ("agent.toml", 'model = { chain = ["default", "openai:gpt"] }\n', ""),
        ],
        ["agent.toml:4:11: model.temperature: must be a finite number, not nan."],
    ),
    "05 endless": (
        [("agent.toml", "seconds = 30", "seconds = inf")],
        ["agent.toml:5:12: limits.seconds: must be a finite number, not inf."],
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
        [("agent.toml", 'grade = { kind = "ranker" }', "grade = { }")],
        ["agent.toml:14:1: nodes.grade: “kind” is missing."],
    ),
    "23 a model twice": (
        [("agent.toml", '["default", "openai:gpt"]', '["default", "openai:gpt", "openai:gpt"]')],
        [
            "agent.toml:4:45: model.chain[2]: “openai:gpt” is in the chain twice; an unavailable model is not asked again, so remove it here."
        ],
    ),
    "23 extractive without a way round": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["openai:gpt", "passages"]'),
            ("agent.toml", '  { from = "write", to = "quote", on = "unavailable" },\n]', "]"),
        ],
        [
            'agent.toml:15:1: nodes.write: asks a model, but no edge leads around it when no model is available, although model.chain has “passages”; add an edge with on = "unavailable", or remove “passages”.'
        ],
    ),
    "23 extractive alone": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["passages"]'),
            (
                "agent.toml",
                '{ all = [{ model = true }, { field = "ranking.near", is = true }] } }',
                '{ field = "intent", is = "qa" } }',
            ),
        ],
        [
            "agent.toml:15:1: nodes.write: asks a model, but model.chain names only “passages”, which is not a model; name a model there, or let only edges with when = { model = true } lead here.",
            'agent.toml:16:1: nodes.quote: answers with what “grade” found, but no edge on the path grade → write → quote tests whether it found anything; add when = { field = "ranking.near", is = true } to one of them.',
        ],
    ),
    "23 extractive where there may be no model": (
        [
            ("agent.toml", '["default", "openai:gpt"]', '["default", "passages"]'),
            (
                "agent.toml",
                '{ all = [{ model = true }, { field = "ranking.near", is = true }] } }',
                '{ field = "ranking.near", is = true } }',
            ),
            (
                "agent.toml",
                '  { from = "grade", to = "quote", when = { field = "ranking.near", is = true } },\n',
                "",
            ),
        ],
        [
            "agent.toml:15:1: nodes.write: asks a model, but “default” in model.chain may stand for no model; let only edges with when = { model = true } lead here."
        ],
    ),
    "24 default that is not a value": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", "high"], default = "hgh" }')],
        [
            'agent.toml:9:46: parameters.properties.level.default: does not match its schema: "hgh" is not one of "low" or "high". Did you mean “high”?'
        ],
    ),
    "24 values of another type": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "integer", enum = [1, "two"] }')],
        [
            'agent.toml:9:51: parameters.properties.level.enum[1]: does not match its schema: "two" is not of type "integer".'
        ],
    ),
    "24 default out of bounds": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "integer", minimum = 3, default = 1 }')],
        [
            "agent.toml:9:53: parameters.properties.level.default: does not match its schema: 1 is less than the minimum of 3."
        ],
    ),
    "24 misspelt keyword": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ enum = ["low", "high"], defalt = "low" }')],
        [
            "agent.toml:9:46: parameters.properties.level.defalt: the schema of a parameter has no keyword “defalt”. Did you mean “default”?"
        ],
    ),
    "24 unknown records": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "string", x-resource = "teacher" }')],
        [
            "agent.toml:9:39: parameters.properties.level.x-resource: must be “teachers”. Did you mean “teachers”?"
        ],
    ),
    "24 name of a parameter": (
        [
            ("agent.toml", "properties.level", 'properties."my level"'),
            ("agent.toml", '["level"]', '["my level"]'),
        ],
        [
            "agent.toml:9:1: parameters.properties.my level: “my level” is not a valid name for a parameter: use at most 63 letters, digits and “_”, and no digit first. Did you mean “my_level”?"
        ],
    ),
}
