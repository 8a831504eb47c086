"""The mistakes in the files of `configured`, and every report of each."""

from __future__ import annotations

from typing import Final

from tests.unit.agents.configured import Change

# A change or a report without a file's name is one of agent.toml.
# fmt: off
_TABLE: Final[dict[str, tuple[list[tuple[str, ...]], list[str]]]] = {
    "04 malformed collection": ([("limits =", 'retrieval = { collections = ["ok", "../x y", "My notes"] }\nlimits =')], [
        ("5:36: retrieval.collections[1]: “../x y” is not a valid id of a collection: use at most 63 lower-case letters, digits and "
         "“-”, and no “-” first."),
        ("5:46: retrieval.collections[2]: “My notes” is not a valid id of a collection: use at most 63 lower-case letters, digits and "
         "“-”, and no “-” first. Did you mean “my-notes”?"),
    ]),
    "04 sources that nobody chooses": ([
        ("limits =", 'retrieval = { sources.handbook = { collections = ["Hand book"], filter = "colour = red" } }\nlimits =')], [
        "5:1: retrieval: sources and source_parameter need each other; add source_parameter.",
        ("5:51: retrieval.sources.handbook.collections[0]: “Hand book” is not a valid id of a collection: use at most 63 lower-case "
         "letters, digits and “-”, and no “-” first. Did you mean “hand-book”?"),
        ("5:65: retrieval.sources.handbook.filter: is not a valid filter: there is no field `colour` (character 1); fields: "
         "source_key,uri,title,media_type,language,author,owner,collection,labels.KEY,metadata.KEY,date,create_time,update_time."),
    ]),
    "04 source of no parameter": ([("limits =", 'retrieval = { source_parameter = "levl", sources.handbook = {} }\nlimits =')], [
        "5:15: retrieval.source_parameter: there is no parameter “levl”. Did you mean “level”?"]),
    "04 values without a source": ([("limits =", 'retrieval = { source_parameter = "level", sources.low = {} }\nlimits =')], [
        "5:15: retrieval.source_parameter: the values (enum) of the parameter “level” must be the names of the sources: “low”."]),
    "04 no sources for a model": ([
        ("grade =", 'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },')], [
        "14:55: nodes.expand.sources: there are no sources to choose from; describe them in retrieval.sources."]),
    "04 an example with a source that does not exist": ([
        ("grade =",
         'expand = { kind = "query_expander", prompt = "write", examples = [{ question = "Why?", sources = ["hihg"] }] }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },'),
        ("limits =", 'retrieval = { source_parameter = "level", sources.low = {}, sources.high = {} }\nlimits =')], [
        "15:88: nodes.expand.examples[0].sources: there is no source “hihg”; the sources are “high”, “low”. Did you mean “high”?"]),
    "04 sources without descriptions for a model": ([
        ("grade =", 'expand = { kind = "query_expander", prompt = "write", sources = true }\ngrade ='),
        ('{ from = "route", to = "retrieve" },', '{ from = "route", to = "expand" },\n  { from = "expand", to = "retrieve" },'),
        ("limits =", 'retrieval = { source_parameter = "level", sources.low = {}, sources.high = { description = "All." } }\nlimits =')], [
        "5:43: retrieval.sources.low: needs a description, because “expand” lets a model choose among the sources."]),
    "05 no number": ([("limits =", "model = { temperature = nan }\nlimits ="), ('model = { chain = ["default", "openai:gpt"] }\n', "")], [
        "4:11: model.temperature: must be a finite number, not nan."]),
    "05 endless": ([("seconds = 30", "seconds = inf")], ["5:12: limits.seconds: must be a finite number, not inf."]),
    "05 empty name": ([('name = "Test"', 'name = ""')], ["1:1: name: must not be empty; give it at least one character."]),
    "05 too many": ([
        ("limits =", 'questions = ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]\nlimits =')], [
        "5:1: questions: must have at most 20 entries."]),
    "06 no kind": ([('grade = { kind = "ranker" }', "grade = { }")], ["14:1: nodes.grade: “kind” is missing."]),
    "06 a kind of an earlier release": ([('grade = { kind = "ranker" }', 'grade = { kind = "grader" }')], [
        "14:11: nodes.grade.kind: the kind of node “grader” no longer exists; “ranker” replaces it."]),
    "23 a model of an earlier release": ([('["default", "openai:gpt"]', '["default", "extractive"]')], [
        "4:31: model.chain[1]: the model “extractive” no longer exists; “passages” replaces it."]),
    "23 a model twice": ([('["default", "openai:gpt"]', '["default", "openai:gpt", "openai:gpt"]')], [
        "4:45: model.chain[2]: “openai:gpt” is in the chain twice; an unavailable model is not asked again, so remove it here."]),
    "23 extractive without a way round": ([
        ('["default", "openai:gpt"]', '["openai:gpt", "passages"]'), ('  { from = "write", to = "quote", on = "unavailable" },\n]', "]")], [
        ("15:1: nodes.write: asks a model, but no edge leads around it when no model is available, although model.chain has "
         '“passages”; add an edge with on = "unavailable", or remove “passages”.')]),
    "23 extractive alone": ([
        ('["default", "openai:gpt"]', '["passages"]'),
        ('{ all = [{ model = true }, { field = "ranking.near", is = true }] } }', '{ field = "intent", is = "qa" } }')], [
        ("15:1: nodes.write: asks a model, but model.chain names only “passages”, which is not a model; name a model there, or let "
         "only edges with when = { model = true } lead here."),
        ("16:1: nodes.quote: answers with what “grade” found, but no edge on the path grade → write → quote tests whether it found "
         'anything; add when = { field = "ranking.near", is = true } to one of them.'),
    ]),
    "23 extractive where there may be no model": ([
        ('["default", "openai:gpt"]', '["default", "passages"]'),
        ('{ all = [{ model = true }, { field = "ranking.near", is = true }] } }', '{ field = "ranking.near", is = true } }'),
        ('  { from = "grade", to = "quote", when = { field = "ranking.near", is = true } },\n', "")], [
        ("15:1: nodes.write: asks a model, but “default” in model.chain may stand for no model; let only edges with when = { model = "
         "true } lead here.")]),
    "24 default that is not a value": ([('{ enum = ["low", "high"] }', '{ enum = ["low", "high"], default = "hgh" }')], [
        ('9:46: parameters.properties.level.default: does not match its schema: "hgh" is not one of "low" or "high". Did you mean '
         "“high”?")]),
    "24 values of another type": ([('{ enum = ["low", "high"] }', '{ type = "integer", enum = [1, "two"] }')], [
        '9:51: parameters.properties.level.enum[1]: does not match its schema: "two" is not of type "integer".']),
    "24 default out of bounds": ([('{ enum = ["low", "high"] }', '{ type = "integer", minimum = 3, default = 1 }')], [
        "9:53: parameters.properties.level.default: does not match its schema: 1 is less than the minimum of 3."]),
    "24 misspelt keyword": ([('{ enum = ["low", "high"] }', '{ enum = ["low", "high"], defalt = "low" }')], [
        "9:46: parameters.properties.level.defalt: the schema of a parameter has no keyword “defalt”. Did you mean “default”?"]),
    "24 a reference within a schema": ([('{ enum = ["low", "high"] }', '{ type = "string", anyOf = [{ "$ref" = "#" }] }')], [
        "9:50: parameters.properties.level.anyOf[0].$ref: the schema of a parameter has no keyword “$ref”."]),
    "24 schemas within schemas": ([
        ('{ enum = ["low", "high"] }', "{ enum = ['a'], not = { not = { not = { not = { not = { not = { const = 1 } } } } } } }")], [
        "9:1: parameters.properties.level: has more than 100 schemas, or more than 5 within one another; use “enum” for a choice."]),
    "24 unknown records": ([('{ enum = ["low", "high"] }', '{ type = "string", x-resource = "teacher" }')], [
        "9:39: parameters.properties.level.x-resource: must be “teachers”. Did you mean “teachers”?"]),
    "24 name of a parameter": ([("properties.level", 'properties."my level"'), ('["level"]', '["my level"]')], [
        ("9:1: parameters.properties.my level: “my level” is not a valid name for a parameter: use at most 63 letters, digits and “_”, "
         "and no digit first. Did you mean “my_level”?")]),
    "07 a field that nobody writes": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", reads = { persona = "intnt" }')], [
        "15:56: nodes.write.reads.persona: no node writes a field “intnt”. Did you mean “intent”?"]),
    "07 a name that is the engine's": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { marks = "steps" }')], [
        "15:57: nodes.write.writes.marks: only the engine writes “steps”; write “marks” under another name."]),
    "07 invalid name": ([('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { marks = "my marks" }')], [
        "15:57: nodes.write.writes.marks: “my marks” is not a valid name for a field: use letters, digits and “_”, and no digit first."]),
    "07 two fields under one name": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", writes = { shown = "marks" }')], [
        "15:57: nodes.write.writes.shown: writes both “marks” and “shown” as “marks”; give one of them another name."]),
    "10 a start that is never reached": ([("edges = [", 'edges = [\n  { from = "begin", to = "refuse" },')], [
        ("22:3: graph.edges[0]: this edge from “begin” is always taken, so “start” (“route”) is never reached; give the edge a "
         "condition (when), or write start = “refuse” instead.")]),
    "19 partials in a circle": ([
        ("prompts/parts/tone.md", "Be kind.", 'Be kind.\n{% include "parts/more.md" %}'),
        ("prompts/parts/more.md", "", '{% include "parts/tone.md" %}\n')], [
        ("prompts/parts/more.md:1: the template is not valid: parts/more.md includes itself through parts/tone.md; remove one of the "
         "includes."),
        ("prompts/parts/tone.md:2: the template is not valid: parts/tone.md includes itself through parts/more.md; remove one of the "
         "includes."),
    ]),
    "19 no prompt": ([('kind = "prompt", prompt = "write"', 'kind = "prompt"')], [
        ("15:1: nodes.write: “prompt” is missing: without the file prompts/NAME.md the model gets only the question and no "
         "instructions.")]),
    "19 an empty name": ([('template = "hello"', 'template = ""')], [
        "17:30: nodes.hello.template: is empty; name a file in the folder prompts, without “.md”."]),
    "19 an empty prompt": ([("prompts/write.md", "", "\n")], ["prompts/write.md:1: is empty; write the prompt's text."]),
    "19 prompts by a misspelt field": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = { by = "categry", default = "write" }')], [
        ("15:39: nodes.write.prompt.by: no node writes a field “categry”; a node of the kind “question_categoriser” writes “category”. "
         "Did you mean “category”?")]),
    "20 what a variable does not have": ([("prompts/write.md", "{{ question }}", "{{ question.__class__ }}")], [
        "prompts/write.md:7: the template cannot be filled in: “question.__class__” is undefined."]),
    "20 what cannot be done without something": ([
        ("prompts/write.md", "variables = { question", 'variables = { passages = "how many", question'),
        ("prompts/write.md", "{{ question }}", "{{ question }} {{ 6 / passages }}")], [
        "prompts/write.md:7: the template cannot be filled in when “passages” is empty: unable to calculate 6 / 0."]),
    "20 nothing to say": ([("prompts/hello.md", "Hello. You asked: {{ question }}", '{% if question == "" %}Hello.{% endif %}')], [
        "prompts/hello.md: the template produces no text; write some."]),
    "22 unknown filter": ([("prompts/write.md", "{{ question }}", "{{ question | uper }}")], [
        "prompts/write.md:7: templates have no filter “uper”. Did you mean “upper”?"]),
    "22 unknown schema": ([("prompts/write.md", "variables = { question", 'schema = "intnt"\nvariables = { question')], [
        ("prompts/write.md:2:1: schema: there is no schema “intnt”; use one of “intent”, “category”, “need”, “query”, “queries”, "
         "“questions”, “verdict”, “metadata”, “begins”, “tools”, “arguments”. Did you mean “intent”?")]),
    "22 two user parts": ([("prompts/write.md", "{{ question }}", "{{ question }}\n=== user\nAgain.")], [
        ("prompts/write.md:8: there is a second line “=== user”, but the one in line 6 already ends the instructions; remove one of "
         "them.")]),
    "25 intent without an example": ([('["qa", "chat"]', '["qa", "chat", "post"]')], [
        ("12:28: nodes.route.examples: no line of examples/intents.jsonl has the label “post”, so no message gets it; write some "
         "lines, or remove the label.")]),
    "25 a text under two labels": ([
        ("examples/intents.jsonl", '"label": "chat"}', '"label": "chat"}\n{"text": "hello!", "label": "qa"}')], [
        "examples/intents.jsonl:3: the text “hello!” has the label “qa” here, but another one in line 2; correct one of them."]),
    "25 unknown key of an example": ([("examples/intents.jsonl", '"label": "chat"}', '"label": "chat", "txt": "Hi!"}')], [
        "examples/intents.jsonl:2: there is no key “txt” here; a line has only “text”, “label”. Did you mean “text”?"]),
    "01 TOML syntax": ([('start = "route"', "start = route")], [
        "3:9: is not valid TOML: string values must be quoted, expected literal string."]),
    "01 TOML syntax, a key twice": ([('start = "route"', 'start = "route"\nstart = "grade"')], ["4:1: is not valid TOML: duplicate key."]),
    "02 unknown key": ([("description =", "descripton =")], [
        "2:1: descripton: there is no key “descripton” here. Did you mean “description”?"]),
    "03 unknown key in a table": ([("seconds = 30", "secnds = 30")], [
        "5:12: limits.secnds: there is no key “secnds” here. Did you mean “seconds”?"]),
    "04 wrong type": ([("steps = 20", 'steps = "20"')], ["5:26: limits.steps: must be a whole number, not the text “20”."]),
    "04 wrong type of a node's own": ([("timeout = 20", "timeout = true")], ["13:34: nodes.retrieve.timeout: must be a number, not true."]),
    "05 out of range": ([("seconds = 30", "seconds = -1")], ["5:12: limits.seconds: must be more than 0, not the number -1."]),
    "05 a tool twice, and one with an impossible name": ([("limits =", 'tools = { use = ["time", "time", "Uhr"] }\nlimits =')], [
        "5:26: tools.use[1]: “time” is listed twice; remove one.",
        "5:34: tools.use[2]: “Uhr” is not a valid name of a tool: use lower-case letters, digits, “-” and “_”, with a letter first.",
    ]),
    "05 tools where only the caller's record may be read": ([
        ("limits =", 'tools = { use = ["time"] }\nretrieval = { subject = "caller" }\nlimits =')], [
        "5:11: tools.use: must be empty with retrieval.subject = “caller”, which does not limit what tools return."]),
    "06 unknown kind": ([('kind = "ranker"', 'kind = "rankr"')], [
        "14:11: nodes.grade.kind: there is no kind of node “rankr”. Did you mean “ranker”?"]),
    "07 unknown option of a kind": ([('prompt = "write"', 'promt = "write"')], [
        "15:28: nodes.write.promt: the kind prompt has no option “promt”. Did you mean “prompt”?"]),
    "07 field that is not read": ([('kind = "ranker"', 'kind = "ranker", reads = { evidnce = "found" }')], [
        "14:38: nodes.grade.reads.evidnce: the node reads no field “evidnce”. Did you mean “evidence”?"]),
    "08 edge to an unknown node": ([('to = "refuse"', 'to = "refusal"')], [
        "28:21: graph.edges[6].to: the edge leads to “refusal”, but there is no such node. Did you mean “refuse”?"]),
    "09 edge from an unknown node": ([('from = "grade", to = "refuse"', 'from = "grades", to = "refuse"')], [
        "28:5: graph.edges[6].from: the edge comes from “grades”, but there is no such node. Did you mean “grade”?"]),
    "10 unreachable node": ([("refuse = { kind", 'other = { kind = "refuse" }\nrefuse = { kind')], [
        "18:1: nodes.other: no path leads to the node “other”."]),
    "11 no start": ([('start = "route"\n', "")], ["agent.toml: start: “start” is missing."]),
    "11 start that is not there": ([('start = "route"', 'start = "rout"')], ["3:1: start: there is no node “rout”. Did you mean “route”?"]),
    "12 cycle without a limit": ([
        ('  { from = "write", to = "quote", on = "unavailable" },\n]',
         '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "hello", to = "route" },\n]')], [
        "30:3: graph.edges[8]: the cycle route → hello → route has no limit; set limit = n on one of its edges."]),
    "13 no way on": ([
        ('  { from = "grade", to = "refuse" },\n', '  { from = "grade", to = "refuse", when = { field = "intent", is = "qa" } },\n')], [
        ("28:36: graph.edges[6].when: the last edge from “grade” has a condition, so a turn may not be able to continue; add a last "
         "edge without one.")]),
    "13 an edge that is never taken": ([('to = "hello", when = { field = "intent", is = "chat" } }', 'to = "hello" }')], [
        "22:3: graph.edges[0]: this edge from “route” is always taken, so the edges after it are never taken."]),
    "14 condition on an unknown field": ([('field = "intent"', 'field = "intnt"')], [
        "22:44: graph.edges[0].when.field: no node writes a field “intnt”. Did you mean “intent”?"]),
    "14 condition within a field": ([('"quote", when = { field = "ranking.near"', '"quote", when = { field = "ranking.nea"')], [
        "27:44: graph.edges[5].when.field: “ranking” has no field “nea”. Did you mean “near”?"]),
    "14 condition on an unknown parameter": ([('field = "intent", is = "chat"', 'field = "parameters.leval", is = "low"')], [
        "22:44: graph.edges[0].when.field: the agent has no parameter “leval”. Did you mean “level”?"]),
    "15 two tests": ([('field = "intent", is = "chat"', 'field = "intent", is = "chat", above = 3')], [
        "22:35: graph.edges[0].when: needs exactly one of the keys “is”, “in”, “above”, “below” and “empty” for its field."]),
    "15 no test": ([('when = { field = "intent", is = "chat" }', 'when = { is = "chat" }')], [
        "22:35: graph.edges[0].when: needs exactly one of the keys “field”, “model”, “all” and “any”."]),
    "16 input that no way provides": ([('to = "retrieve" }', 'to = "grade" }')], [
        "13:1: nodes.retrieve: no path leads to the node “retrieve”.",
        "14:1: nodes.grade: needs “evidence”, which the path begin → route → grade does not provide.",
    ]),
    "19 prompt that is not there": ([('prompt = "write"', 'prompt = "wrote"')], [
        "15:28: nodes.write.prompt: there is no file prompts/wrote.md here or among the shared prompts. Did you mean “write”?"]),
    "19 partial that is not there": ([("prompts/write.md", "parts/tone.md", "parts/tune.md")], [
        "prompts/write.md:5: the template is not valid: there is no partial parts/tune.md."]),
    "20 variable that is not declared": ([("prompts/write.md", "{{ question }}", "{{ question }} {{ quesion }}")], [
        "prompts/write.md:7: uses “quesion”, which the front matter of prompts/write.md does not declare. Did you mean “question”?"]),
    "19 prompts that the wrong thing chooses": ([
        ('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = { by = "intend", default = "write" }')], [
        "15:39: nodes.write.prompt.by: no node writes a field “intend”. Did you mean “intent”?"]),
    "19 prompts without a default": ([('kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = { by = "intent", qa = "write" }')], [
        "15:28: nodes.write.prompt: “default” is missing: the prompt for all other values."]),
    "20 variable that is not offered": ([
        ("prompts/write.md", 'question = "what is asked"', 'question = "what is asked", passage = "found"')], [
        ("prompts/write.md:2:43: variables.passage: declares “passage”, which the node “write” does not offer; it offers “agent”, "
         "“formats”, “history”, “language”, “no_answer”, “parameters”, “passages”, “persona”, “problem”, “question”, “questions”, "
         "“summary”, “today”, “without_retrieval”. Did you mean “passages”?")]),
    "21 what others wrote among the instructions": ([("prompts/write.md", "one sentence.", "one sentence. {{ question }}")], [
        "prompts/write.md:4: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."]),
    "21 what others wrote, by a partial": ([("prompts/parts/tone.md", "", "Be kind to {{ question }}.\n")], [
        "prompts/parts/tone.md:1: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."]),
    "22 broken template": ([("prompts/write.md", "{{ question }}", "{{ question }")], [
        "prompts/write.md:7: the template is not valid: unexpected `}`, expected end of variable block."]),
    "22 import": ([("prompts/write.md", '{% include "parts/tone.md" %}', '{% import "parts/tone.md" as tone %}')], [
        ("prompts/write.md:5: the template is not valid: prompts have no statement “import”; they have if, elif, else, endif, for, "
         "endfor, include.")]),
    "22 broken front matter": ([("prompts/write.md", "variables = { question", 'variables = { question "')], [
        "prompts/write.md:2:24: is not valid TOML: missing assignment between key-value pairs, expected `=`."]),
    "22 unknown key of a front matter": ([("prompts/write.md", "variables = {", "hint = 1\nvariables = {")], [
        "prompts/write.md:2:1: hint: there is no key “hint” here. Did you mean “hints”?"]),
    "23 unknown provider": ([('"openai:gpt"', '"opnai:gpt"')], [
        "4:31: model.chain[1]: the model “opnai:gpt” is not available: there is no provider “opnai” here. Did you mean “openai:gpt”?"]),
    "23 extractive in the middle": ([('["default", "openai:gpt"]', '["passages", "openai:gpt"]')], [
        "4:20: model.chain[0]: “passages” is never unavailable, so the models after it are never asked; move it to the end."]),
    "24 parameter of no type": ([('{ enum = ["low", "high"] }', '{ type = "strin" }')], [
        "9:22: parameters.properties.level.type: must be one of “string”, “integer”, “number”, “boolean”. Did you mean “string”?"]),
    "24 reference to another schema": ([('{ enum = ["low", "high"] }', '{ "$ref" = "https://example.com/schema" }')], [
        "9:22: parameters.properties.level.$ref: the schema of a parameter has no keyword “$ref”."]),
    "24 required and not there": ([('required = ["level"]', 'required = ["levels"]')], [
        "8:13: parameters.required[0]: the required parameter “levels” is not among the properties. Did you mean “level”?"]),
    "25 examples that are not there": ([("examples/intents.jsonl", "examples/intent.jsonl")], [
        "12:28: nodes.route.examples: there is no file examples/intent.jsonl. Did you mean “examples/intents.jsonl”?"]),
    "25 invalid example": ([("examples/intents.jsonl", '"label": "chat"', '"lable": "chat"')], [
        'examples/intents.jsonl:2: is not a line of the form {"text": "…", "label": "…"}.']),
    "25 label that is not an intent": ([("examples/intents.jsonl", '"label": "chat"', '"label": "chatt"')], [
        "examples/intents.jsonl:2: the label “chatt” is not one of “qa”, “chat”. Did you mean “chat”?"]),
    "unknown node on an edge that is never unavailable": ([
        ('  { from = "write", to = "quote", on = "unavailable" },\n]',
         '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "grade", to = "hello", on = "unavailable" },\n]')], [
        "30:35: graph.edges[8].on: “grade” is never unavailable, so this edge is never taken."]),
    "name that is kept for the graph": ([("refuse = { kind", 'finish = { kind = "refuse" }\nrefuse = { kind')], [
        "18:1: nodes.finish: “finish” is the graph's own end; give the node another name."]),
    "several at once": ([("description =", "descripton ="), ('kind = "ranker"', 'kind = "rankr"'), ('to = "refuse"', 'to = "refusal"')], [
        "2:1: descripton: there is no key “descripton” here. Did you mean “description”?",
        "14:11: nodes.grade.kind: there is no kind of node “rankr”. Did you mean “ranker”?",
        "28:21: graph.edges[6].to: the edge leads to “refusal”, but there is no such node. Did you mean “refuse”?",
    ]),
}
# fmt: on


def _change(texts: tuple[str, ...]) -> Change:
    *file, old, new = texts
    return (file[0] if file else "agent.toml", old, new)


MISTAKES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    name: (
        [_change(one) for one in changes],
        [f"agent.toml:{one}" if one[0].isdigit() else one for one in reports],
    )
    for name, (changes, reports) in _TABLE.items()
}
