"""The mistakes in the files of `configured`, and every report of each."""

from __future__ import annotations

from typing import Final

from tests.unit.agents.configured import Change

# A change or a report without a file's name is one of agent.toml.
# fmt: off
_TABLE: Final[dict[str, tuple[list[tuple[str, ...]], list[str]]]] = {
    "04 malformed collection": ([("limits =", 'retrieval = { collections = ["ok", "../x y", "My notes"] }\nlimits =')], [
        "retrieval.collections[1]: must match pattern “^[a-z0-9][a-z0-9-]{0,62}$”, not “../x y”.",
        "retrieval.collections[2]: must match pattern “^[a-z0-9][a-z0-9-]{0,62}$”, not “My notes”.",
    ]),
    "04 sources that nobody chooses": ([
        ("limits =", 'retrieval = { sources.handbook = { collections = ["Hand book"], filter = "colour = red" } }\nlimits =')], [
        "retrieval.sources.handbook.collections[0]: must match pattern “^[a-z0-9][a-z0-9-]{0,62}$”, not “Hand book”.",
        "retrieval: sources and source_parameter need each other; add source_parameter.",
        ("retrieval.sources.handbook.filter: is not a valid filter: there is no field `colour` (character 1); fields: "
         "source_key,uri,title,media_type,language,author,owner,collection,labels.KEY,metadata.KEY,date,create_time,update_time."),
    ]),
    "04 source of no parameter": ([("limits =", 'retrieval = { source_parameter = "levl", sources.handbook = {} }\nlimits =')], [
        "retrieval.source_parameter: there is no parameter “levl”. Did you mean “level”?"]),
    "04 values without a source": ([("limits =", 'retrieval = { source_parameter = "level", sources.low = {} }\nlimits =')], [
        "retrieval.source_parameter: the values (enum) of the parameter “level” must be the names of the sources: “low”."]),
    "04 no sources for a model": ([
        ("grade =", 'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },')], [
        "nodes.expand.sources: there are no sources to choose from; describe them in retrieval.sources."]),
    "04 an example with a source that does not exist": ([
        ("grade =",
         'expand = { kind = "query_expander", prompt = "write", examples = [{ question = "Why?", sources = ["hihg"] }] }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },'),
        ("limits =", 'retrieval = { source_parameter = "level", sources.low = {}, sources.high = {} }\nlimits =')], [
        "nodes.expand.examples[0].sources: there is no source “hihg”; the sources are “high”, “low”. Did you mean “high”?"]),
    "04 sources without descriptions for a model": ([
        ("grade =", 'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },'),
        ("limits =", 'retrieval = { source_parameter = "level", sources.low = {}, sources.high = { description = "All." } }\nlimits =')], [
        "retrieval.sources.low: needs a description, because “expand” lets a model choose among the sources."]),
    "05 no number": ([("limits =", "model = { temperature = nan }\nlimits ="), ('model = { chain = ["default", "openai:gpt"] }\n', "")], [
        "model.temperature: must be a finite number, not “nan”."]),
    "05 endless": ([("seconds = 30", "seconds = inf")], [
        "limits.seconds: must be a finite number, not “inf”."]),
    "05 empty name": ([('name = "Test"', 'name = ""')], [
        "name: must have at least 1 character."]),
    "05 too many": ([
        ("limits =", 'questions = ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]\nlimits =')], [
        "questions: must have at most 20 items, not 21."]),
    "06 no kind": ([('grade = { kind = "ranker" }', "grade = { }")], [
        "nodes.grade: “kind” is missing."]),
    "23 a model twice": ([('["default", "openai:gpt"]', '["default", "openai:gpt", "openai:gpt"]')], [
        "model.chain: “openai:gpt” is listed twice; remove one."]),
    "23 extractive alone": ([
        ('["default", "openai:gpt"]', '["passages"]'),
        ('{ all = [{ model = true }, { field = "ranking.near", is = true }] } }', '{ field = "intent", is = "qa" } }')], [
        ("nodes.quote: answers with what “grade” found, but a path from there tests nowhere whether it found anything; add when = "
         '{ field = "ranking.near", is = true } to an edge of the path.')]),
    "24 default that is not a value": ([('{ enum = ["low", "high"] }', '{ enum = ["low", "high"], default = "hgh" }')], [
        'parameters.properties.level.default: does not match its schema: "hgh" is not one of "low" or "high". Did you mean “high”?']),
    "24 values of another type": ([('{ enum = ["low", "high"] }', '{ type = "integer", enum = [1, "two"] }')], [
        'parameters.properties.level.enum[1]: does not match its schema: "two" is not of type "integer".']),
    "24 misspelt keyword": ([('{ enum = ["low", "high"] }', '{ enum = ["low", "high"], defalt = "low" }')], [
        "parameters.properties.level.defalt: the schema of a parameter has no keyword “defalt”. Did you mean “default”?"]),
    "24 a reference within a schema": ([('{ enum = ["low", "high"] }', '{ type = "string", anyOf = [{ "$ref" = "#" }] }')], [
        "parameters.properties.level.anyOf[0].$ref: the schema of a parameter has no keyword “$ref”."]),
    "24 unknown records": ([('{ enum = ["low", "high"] }', '{ type = "string", x-resource = "teacher" }')], [
        "parameters.properties.level.x-resource: must be “teachers”. Did you mean “teachers”?"]),
    "24 name of a parameter": ([("properties.level", 'properties."my level"'), ('["level"]', '["my level"]')], [
        "parameters.properties.my level: must match pattern “^[A-Za-z_][A-Za-z0-9_]{0,62}$”, not “my level”.",
        "parameters.required[0]: the required parameter “my level” is not among the properties.",
    ]),
    "07 a field that nobody writes": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", reads = { persona = "intnt" }')], [
        "nodes.write.reads.persona: no node writes a field “intnt”. Did you mean “intent”?"]),
    "07 a name that is the engine's": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { marks = "steps" }')], [
        "nodes.write.writes.marks: only the engine writes “steps”; write “marks” under another name."]),
    "07 invalid name": ([('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { marks = "my marks" }')], [
        "nodes.write.writes.marks: must match pattern “^[A-Za-z_][A-Za-z0-9_]*$”, not “my marks”."]),
    "07 two fields under one name": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { shown = "marks" }')], [
        "nodes.write.writes.shown: writes both “marks” and “shown” as “marks”; give one of them another name."]),
    "10 a start that is never reached": ([("edges = [", 'edges = [\n  { from = "begin", to = "refuse" },')], [
        "start: no turn goes from “begin” to “route”: its condition never holds, or an edge before it always does."]),
    "19 partials in a circle": ([
        ("prompts/parts/tone.md", "Be kind.", 'Be kind.\n{% include "parts/more.md" %}'),
        ("prompts/parts/more.md", "", '{% include "parts/tone.md" %}\n')], [
        ("prompts/parts/more.md:1: the template is not valid: parts/more.md includes itself through parts/tone.md; remove one of the "
         "includes."),
        ("prompts/parts/tone.md:2: the template is not valid: parts/tone.md includes itself through parts/more.md; remove one of the "
         "includes."),
    ]),
    "19 no prompt": ([('kind = "prompt", prompt = "write"', 'kind = "prompt"')], [
        "nodes.write: “prompt” is missing: without the file prompts/NAME.md the model gets only the question and no instructions."]),
    "19 an empty name": ([('template = "hello"', 'template = ""')], [
        "nodes.hello.template: is empty; name a file in the folder prompts, without “.md”."]),
    "19 an empty prompt": ([("prompts/write.md", "", "\n")], ["prompts/write.md:1: is empty; write the prompt's text."]),
    "22 unknown filter": ([("prompts/write.md", "{{ question }}", "{{ question | uper }}")], [
        "prompts/write.md:7: templates have no filter “uper”. Did you mean “upper”?"]),
    "22 unknown schema": ([("prompts/write.md", "variables = { question", 'schema = "intnt"\nvariables = { question')], [
        ("prompts/write.md: schema: there is no schema “intnt”; use one of “intent”, “category”, “need”, “query”, “queries”, "
         "“verdict”, “metadata”, “begins”, “tools”, “arguments”. Did you mean “intent”?")]),
    "22 two user parts": ([("prompts/write.md", "{{ question }}", "{{ question }}\n=== user\nAgain.")], [
        ("prompts/write.md:8: there is a second line “=== user”, but the one in line 6 already ends the instructions; remove one of "
         "them.")]),
    "25 intent without an example": ([('["qa", "chat"]', '["qa", "chat", "post"]')], [
        ("nodes.route.examples: no line of examples/intents.jsonl has the label “post”, so no message gets it; write some lines, "
         "or remove the label.")]),
    "25 a text under two labels": ([
        ("examples/intents.jsonl", '"label": "chat"}', '"label": "chat"}\n{"text": "hello!", "label": "qa"}')], [
        "examples/intents.jsonl:3: the text has the label “qa” here, but another one in line 2; correct one of them."]),
    "25 unknown key of an example": ([("examples/intents.jsonl", '"label": "chat"}', '"label": "chat", "txt": "Hi!"}')], [
        "examples/intents.jsonl:2: txt: there is no key “txt” here. Did you mean “text”?"]),
    "01 TOML syntax": ([('start = "route"', "start = route")], [
        "3:9: is not valid TOML: string values must be quoted, expected literal string."]),
    "01 TOML syntax, a key twice": ([('start = "route"', 'start = "route"\nstart = "grade"')], ["4:1: is not valid TOML: duplicate key."]),
    "03 unknown key in a table": ([("seconds = 30", "secnds = 30")], [
        "limits.secnds: there is no key “secnds” here. Did you mean “seconds”?"]),
    "04 wrong type": ([("steps = 20", 'steps = "20"')], [
        "limits.steps: must be a valid integer, not “20”."]),
    "04 wrong type of a node's own": ([("timeout = 20", "timeout = true")], [
        "nodes.retrieve.timeout: must be a valid number, not “true”."]),
    "05 out of range": ([("seconds = 30", "seconds = -1")], [
        "limits.seconds: must be greater than 0, not “-1”."]),
    "05 a tool twice, and one with an impossible name": ([("limits =", 'tools = { use = ["time", "time", "Uhr"] }\nlimits =')], [
        "tools.use[2]: must match pattern “^([a-z][a-z0-9_-]{0,126}|\\*)$”, not “Uhr”."]),
    "05 tools where only the caller's record may be read": ([
        ("limits =", 'tools = { use = ["time"] }\nretrieval = { subject = "caller" }\nlimits =')], [
        "tools.use: must be empty with retrieval.subject = “caller”, which does not limit what tools return."]),
    "07 unknown option of a kind": ([('prompt = "write"', 'promt = "write"')], [
        "nodes.write.promt: the kind prompt has no option “promt”. Did you mean “prompt”?"]),
    "07 field that is not read": ([('kind = "ranker"', 'kind = "ranker", reads = { evidnce = "found" }')], [
        "nodes.grade.reads.evidnce: the node reads no field “evidnce”. Did you mean “evidence”?"]),
    "09 edge from an unknown node": ([('from = "grade", to = "refuse"', 'from = "grades", to = "refuse"')], [
        "graph.edges[6].from: the edge comes from “grades”, but there is no such node. Did you mean “grade”?"]),
    "10 unreachable node": ([("refuse = { kind", 'other = { kind = "refuse" }\nrefuse = { kind')], [
        "nodes.other: no path leads to the node “other”."]),
    "11 no start": ([('start = "route"\n', "")], ["agent.toml: start: “start” is missing."]),
    "11 start that is not there": ([('start = "route"', 'start = "rout"')], [
        "start: there is no node “rout”. Did you mean “route”?"]),
    "12 cycle without a limit": ([
        ('  { from = "write", to = "quote", on = "unavailable" },\n]',
         '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "hello", to = "route" },\n]')], [
        "graph.edges: the cycle route → hello → route has no limit; set limit = n on one of its edges."]),
    "13 no way on": ([
        ('  { from = "grade", to = "refuse" },\n', '  { from = "grade", to = "refuse", when = { field = "intent", is = "qa" } },\n')], [
        ("graph.edges[6]: the last edge from “grade” has a condition or a limit, so a turn may find no way on; add a last edge "
         "without one.")]),
    "13 an edge that is never taken": ([('to = "hello", when = { field = "intent", is = "chat" } }', 'to = "hello" }')], [
        "graph.edges[1]: no turn goes from “route” to “retrieve”: its condition never holds, or an edge before it always does."]),
    "14 condition on an unknown field": ([('field = "intent"', 'field = "intnt"')], [
        "graph.edges[0].when.field: no node writes a field “intnt”. Did you mean “intent”?"]),
    "14 condition within a field": ([('"quote", when = { field = "ranking.near"', '"quote", when = { field = "ranking.nea"')], [
        "graph.edges[5].when.field: “ranking” has no field “nea”. Did you mean “near”?"]),
    "14 condition on an unknown parameter": ([('field = "intent", is = "chat"', 'field = "parameters.leval", is = "low"')], [
        "graph.edges[0].when.field: the agent has no parameter “leval”. Did you mean “level”?"]),
    "15 two tests": ([('field = "intent", is = "chat"', 'field = "intent", is = "chat", above = 3')], [
        "graph.edges[0].when: needs exactly one of the keys “is”, “in”, “above”, “below” and “empty” for its field."]),
    "15 no test": ([('when = { field = "intent", is = "chat" }', 'when = { is = "chat" }')], [
        "graph.edges[0].when: needs exactly one of the keys “field”, “model”, “all” and “any”."]),
    "19 prompt that is not there": ([('prompt = "write"', 'prompt = "wrote"')], [
        "nodes.write.prompt: there is no file prompts/wrote.md here or among the shared prompts. Did you mean “write”?"]),
    "19 partial that is not there": ([("prompts/write.md", "parts/tone.md", "parts/tune.md")], [
        "prompts/write.md:5: the template is not valid: there is no partial parts/tune.md."]),
    "20 variable that is not declared": ([("prompts/write.md", "{{ question }}", "{{ question }} {{ quesion }}")], [
        "prompts/write.md: uses “quesion”, which its front matter does not declare. Did you mean “question”?"]),
    "19 prompts that the wrong thing chooses": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = { by = "intend", default = "write" }')], [
        "nodes.write.prompt.by: no node writes a field “intend”. Did you mean “intent”?"]),
    "19 prompts without a default": ([('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = { by = "intent", qa = "write" }')], [
        "nodes.write.prompt: “default” is missing: the prompt for all other values."]),
    "20 variable that is not offered": ([
        ("prompts/write.md", 'question = "what is asked"', 'question = "what is asked", passage = "found"')], [
        ("prompts/write.md: variables.passage: declares “passage”, which the node “write” does not offer; it offers “agent”, "
         "“formats”, “history”, “instructions”, “language”, “no_answer”, “parameters”, “passages”, “persona”, “problem”, “question”, "
         "“questions”, “summary”, “today”, “without_retrieval”. Did you mean “passages”?")]),
    "21 what others wrote among the instructions": ([("prompts/write.md", "one sentence.", "one sentence. {{ question }}")], [
        "prompts/write.md: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."]),
    "21 what others wrote, by a partial": ([("prompts/parts/tone.md", "", "Be kind to {{ question }}.\n")], [
        "prompts/write.md: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."]),
    "22 broken template": ([("prompts/write.md", "{{ question }}", "{{ question }")], [
        "prompts/write.md:7: the template is not valid: unexpected `}`, expected end of variable block."]),
    "22 broken front matter": ([("prompts/write.md", "variables = { question", 'variables = { question "')], [
        "prompts/write.md:2:24: is not valid TOML: missing assignment between key-value pairs, expected `=`."]),
    "22 unknown key of a front matter": ([("prompts/write.md", "variables = {", "hint = 1\nvariables = {")], [
        "prompts/write.md: hint: there is no key “hint” here. Did you mean “hints”?"]),
    "23 unknown provider": ([('"openai:gpt"', '"opnai:gpt"')], [
        "model.chain[1]: the model “opnai:gpt” is not available: there is no provider “opnai” here. Did you mean “openai:gpt”?"]),
    "23 extractive in the middle": ([('["default", "openai:gpt"]', '["passages", "openai:gpt"]')], [
        "model.chain[0]: “passages” is never unavailable, so the models after it are never asked; move it to the end."]),
    "24 parameter of no type": ([('{ enum = ["low", "high"] }', '{ type = "strin" }')], [
        "parameters.properties.level.type: must be one of “string”, “integer”, “number”, “boolean”. Did you mean “string”?"]),
    "24 required and not there": ([('required = ["level"]', 'required = ["levels"]')], [
        "parameters.required[0]: the required parameter “levels” is not among the properties. Did you mean “level”?"]),
    "25 examples that are not there": ([("examples/intents.jsonl", "examples/intent.jsonl")], [
        "nodes.route.examples: there is no file examples/intent.jsonl. Did you mean “examples/intents.jsonl”?"]),
    "25 invalid example": ([("examples/intents.jsonl", '"label": "chat"', '"lable": "chat"')], [
        "examples/intents.jsonl:2: label: “label” is missing.",
        "examples/intents.jsonl:2: lable: there is no key “lable” here. Did you mean “label”?",
    ]),
    "25 label that is not an intent": ([("examples/intents.jsonl", '"label": "chat"', '"label": "chatt"')], [
        "examples/intents.jsonl:2: the label “chatt” is not one of “qa”, “chat”. Did you mean “chat”?"]),
    "unknown node on an edge that is never unavailable": ([
        ('  { from = "write", to = "quote", on = "unavailable" },\n]',
         '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "grade", to = "hello", on = "unavailable" },\n]')], [
        "graph.edges[8].on: “grade” is never unavailable, so this edge is never taken."]),
    "name that is kept for the graph": ([("refuse = { kind", 'finish = { kind = "refuse" }\nrefuse = { kind')], [
        "nodes.finish: “finish” is the graph's own end; give the node another name."]),
    "several at once": ([("description =", "descripton ="), ('kind = "ranker"', 'kind = "rankr"'), ('to = "refuse"', 'to = "refusal"')], [
        "descripton: there is no key “descripton” here. Did you mean “description”?",
        "nodes.grade.kind: there is no kind of node “rankr”. Did you mean “ranker”?",
        "graph.edges[6].to: the edge leads to “refusal”, but there is no such node. Did you mean “refuse”?",
    ]),
}
# fmt: on


def _change(texts: tuple[str, ...]) -> Change:
    *file, old, new = texts
    return (file[0] if file else "agent.toml", old, new)


MISTAKES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    name: (
        [_change(one) for one in changes],
        [
            report
            if report.startswith(("agent.toml:", "prompts/", "examples/"))
            else f"agent.toml:{'' if report[0].isdigit() else ' '}{report}"
            for report in reports
        ],
    )
    for name, (changes, reports) in _TABLE.items()
}
