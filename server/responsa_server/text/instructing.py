"""Finds sentences in a text that give instructions to an assistant, such as "Ignore all previous instructions" or "End your reply with a poem".

Such a sentence is not evidence for an answer, and a model must not follow it. Instructions to readers, such as "Press the button", are
ordinary text. The patterns below describe whom a sentence addresses and what it asks for; a logistic regression weighs them. No model is
needed. docs/retrieval.md says how often the result is wrong. `tools/instruction_weights.py` fits the weights.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

OMITTED: Final = "[…]"
"""What stands in place of a sentence that `without_instructions` leaves out."""
MOST_CHARACTERS: Final = 2_000
"""The number of characters of a segment that are read together. The patterns may need a time that grows with the square of this number."""

# The answer of the assistant: "your reply", "each response", and the same in other languages.
_OUTPUT: Final = (
    r"(?:\b(?:your|each of your|all your|any of your|every|each|all|the next|next)"
    r" (?:\w+ ){0,2}?(?:answers?|reply|replies|responses?|outputs?|completions?|summary|summaries)\b|\byour sentences?\b"
    r"|\b(?:in|with) (?:the|an?) (?:answer|reply|response)\b"
    r"|\bword of (?:your|the) (?:answer|reply|response)|\bwhen you (?:respond|reply|answer|speak|talk|mention|summari[sz]e)"
    r")"
)
_MACHINE: Final = (
    r"(?:\b(?:ai|a\.i\.|llms?|gpt\w*|\w*gpt|chat ?bots?|bots?|(?:large )?language models?|ai (?:models?|systems?|assistants?|graders?|reviewers?|agents?)|assistants?|models?"
    r"|openai|automated (?:\w+ )?(?:readers?|screening|systems?|reviewers?|summari[sz]ers?)|the software that \w+|sprachmodell\w*|assistent\w*|l'assistant|asistente|assistente"
    r"|modello linguistico|modelo de lenguaje|ассистент\w*|модел[иья]\w*)\b|助手|语言模型|المساعد|सहायक|trợ lý)"
)
_STRONG_MACHINE: Final = (
    r"(?:\b(?:ai|a\.i\.|llms?|gpt\w*|\w*gpt|chat ?bots?|bots?|(?:large )?language models?|openai|automated (?:\w+ )?(?:readers?|screening|systems?|reviewers?|summari[sz]ers?)|sprachmodell\w*"
    r"|modello linguistico|modelo de lenguaje)\b|语言模型)"
)
_RULES: Final = r"(?:instructions?|directions?|directives?|rules?|prompts?|guidelines?|orders?|commands?|polic(?:y|ies)|restrictions?)"
_QUIT: Final = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?|neglect|set aside|pay no attention to|drop|discard|cancel|abandon|stop (?:following|obeying)|(?:do not|don't|never) (?:follow|obey|heed)"
    r"|no longer (?:follow|apply|obey)|(?:are|is) (?:now )?(?:void|cancelled|canceled|revoked|obsolete|suspended))"
)
_VERSE: Final = (
    r"(?:poems?|limericks?|haikus?|stor(?:y|ies)|essays?|jokes?|songs?|verses?|lyrics|speech(?:es)?|letters?|e-?mails?|scripts?|plans?|articles?|blog posts?|reports?|reviews?|slogans?"
    r"|descriptions?|introductions?|summar(?:y|ies)|overviews?|analys[ie]s|strateg(?:y|ies)|press releases?|recipes?|lists?|names?|titles?|dialogues?|paragraphs?|functions?|programs?"
    r"|equivalents?|examples?|tweets?|workouts?|quiz(?:zes)?|riddles?|itinerar(?:y|ies))"
)
_LEADING: Final = (
    r"^(?:[^:.\n]{0,60}:\s)?(?:[^\w<]|\d|(?:please|kindly|now|then|also|and|but|so|first|next|finally|instead|additionally|important|attention|note|hey|hello|hi|dear|always|never|just|simply|only|must|bitte|por favor|veuillez"
    r"|s'il te plaît|пожалуйста|请|करें|hãy|do not|don't|make sure (?:that|to)|ensure (?:that)?|be sure to|you (?:must|should|shall|will|may|can|need to|have to)|before (?:you )?answer(?:ing)?(?: anything)?"
    r"|in (?:your|each|every|the) (?:\w+ )?(?:answer|reply|response|replies|responses)|from now on|if [^,.]{1,80},|when [^,.]{1,80},|whenever [^,.]{1,80},|whatever [^,.]{1,80},|no matter [^,.]{1,80},|instead of [^,.]{1,80},|as [^,.]{1,60},"
    r"|let's|(?:can|could|would|will) you)\b)*"
)
_SAY: Final = (
    r"(?:say|state|claim|repl(?:y|ies)|respond|answer|output|print|write|tell|speak|call|mention|include|add|append|insert|integrate|incorporate|embed|weave|work|sneak|use|give|provide|begin|start|end|finish|conclude|close|open"
    r"|put|make|keep|limit|recommend|suggest|promote|advertise|praise|modify|augment|enhance|extend|adjust|alter|adapt|change|rewrite|render|present|express|translate|convert|encode|transform|shift|flip|reverse|spell|misspell|scramble"
    r"|jumble|shuffle|rearrange|replace|substitute|swap|remove|leave|omit|group|combine|introduce|apply|switch|adopt|rate|rank|cite|ask|direct|spread|conclude|copy|send|repeat|rewrite|anagram|confuse|prefix|hide|sign|ensure|insult|beginne"
    r"|beende|schreibe|füge|antworte|sage|nenne|gib|übersetze|réponds|répondez|écris|écrivez|ajoute|ajoutez|commence|commencez|termine|traduis|dis|dites|responde|escribe|añade|agrega|empieza|termina|traduce|di|dile|rispondi|scrivi"
    r"|aggiungi|inizia|traduci|responda|escreva|adicione|comece|traduza|schrijf|antwoord|voeg|begin|vertaal|добавь|напиши|отвечай|ответь|начинай|переведи|скажи|在|把|用|أضف|अपने|thêm)"
)
_COMPOSE: Final = r"(?:write|compose|draft|create|generate|develop|design|produce|invent|devise|make|provide|give|offer|suggest|recommend|plan|prepare|tell|show|outline|propose|find|list)"

_NAMED: Final[Mapping[str, str]] = {
    # What is asked of the answer.
    "output": _OUTPUT,
    "say_output": rf"{_LEADING}(?:{_SAY}\b.{{0,160}}?{_OUTPUT}|[^.]{{0,40}}{_OUTPUT},? (?:\w+ ){{0,2}}{_SAY}\b)",
    "must_output": rf"{_OUTPUT} (?:must|should|shall|has to|needs to|will) ",
    "only": r"\b(?:repl(?:y|ies)|respond|answer|output|say|print|speak|tell|write)s? (?:\w+ ){0,5}?(?:only|just|nothing|solely|exactly|anything else)\b|\b(?:only|nothing but|exactly) (?:with|the words?|one word|this|in)\b"
    r"|\b(?:antworte|antwortest|sprich) .{0,40}\bnur\b|réponds .{0,40}(?:seulement|uniquement)|responde .{0,30}(?:solo|sólo|únicamente)|rispondi .{0,20}solo|responda .{0,20}apenas|antwoord .{0,20}alleen|отвечай .{0,20}только|只回答|فقط|केवल|chỉ (?:nói|trả lời)",
    "only_word": r"\b(?:reply|respond|answer|output|print|say) (?:\w+ ){0,3}?(?:only|just|nothing but|exactly) (?:\w+ ){0,2}?(?:with )?(?:the|this|these) (?:\w+ )?(?:words?|phrase|sentence|text|line)\b",
    "transform": r"\b(?:backwards?|in reverse|reversed?|emojis?|emoticons?|haikus?|rhymes?|in verse|base ?64|morse|binary|anagram\w*|misspell\w*|typos?|misspellings?|in capital letters|capitals|vowels?|ciphers?|homophon\w*"
    r"|alphanumeric|substitution|symbols?|letters|spaces|punctuation|rückwärts|à l'envers|al revés|al contrario|de trás para a frente|achterstevoren|задом наперёд)\b|倒过来",
    "transform_output": rf"(?:\b(?:letters?|words?|vowels?|symbols?|emojis?|numbers|spaces|typos|misspell\w*|scramble|jumble|anagram\w*|encode|cipher|haiku|rhyme|verse|morse|base ?64|binary|backwards|reverse\w*|table|poem|translate|capital\w*)\b.{{0,60}}(?:{_OUTPUT}|\byour message)"
    rf"|(?:{_OUTPUT}|\byour message).{{0,60}}\b(?:letters?|words?|vowels?|symbols?|emojis?|numbers|spaces|typos|misspell\w*|encoded?|cipher|haiku|rhyme|verse|morse|base ?64|binary|backwards|in reverse|homophon\w*|alphanumeric|anagram\w*|poem|translated?|capitals?)\b)"
    r"|\b(?:replace|substitute|swap|convert) (?:(?:every|each|all|the) )?(?:\w+ )?(?:letters?|vowels?|consonants?) (?:\w+ ){0,2}?(?:with|by|to|into|for)\b|\b(?:reply|respond|answer|speak)\b.{0,30}\b(?:emojis?|haikus?|rhyme|verse|morse|base ?64|binary|backwards|in reverse|riddles|capitals|vowels)\b",
    "advert": r"https?://|\bwww\.|\b\w+\.(?:com|example|org|net|xyz)\b|\b(?:slogan|advert\w*|sensational|headline|webinar|subscribe|donat\w+|invest\w*|phrase|sentence|link|reminder|statement|recommendation)\b",
    # To whom the sentence speaks.
    "machine": _MACHINE,
    "to_machine": rf"^\W*(?:(?:an? )?(?:important |urgent )?(?:note|notice|message|instructions?|attention|correction|update|hint|reminder|hinweis|nota|note|warning|order)s?(?: from(?: \w+){{1,4}}?)?(?: (?:to|for|of|an|à|para|al|per)(?: the| any| all| this| den| das| el)?)? |dear |hey |hello |hi |to (?:the|any|all|every|whatever) |an (?:das|den|die) |if you are (?:an? )?)(?:\w+ )?{_MACHINE}"
    rf"|^\W*(?:any |all )?{_STRONG_MACHINE} (?:reading|processing|summari[sz]ing|that (?:reads?|process\w*|summari[sz]e\w*)|who read)\b",
    "calls_machine": rf"^\W*(?:\w+ )?{_MACHINE}\W{{0,3}}(?::|,|  reading (?:this|the)| processing| summari[sz]ing| who read| that read)",
    "strong_machine": _STRONG_MACHINE,
    "machine_must": rf"{_MACHINE} (?:\w+ ){{0,2}}?(?:must|should|shall|is required to|are required to|are requested to|has to|have to|may now|will now|are to|is to|may|(?:is|are) (?:not |only )?(?:allowed|permitted|forbidden) to)\b(?: not| now| also)?"
    r" (?:use|say|tell|answer|reply|respond|recommend|rank|rate|quote|cite|mention|describe|ignore|follow|approve|include|add|write|claim|translate|speak|refuse|obey|give|output)",
    "reader_machine": rf"\b(?:if|when|whenever) (?:an?|the|any|some|this|your) (?:\w+ )?{_MACHINE} (?:reads?|process(?:es)?|summari[sz]es?|analy[sz]es?|parses?|sees?) (?:this|the following)\b.{{0,80}}\b(?:must|should|shall|has to|have to|will|say|reply|answer|recommend)\b"
    rf"|{_STRONG_MACHINE} (?:\w+ )?(?:that|which|who) (?:reads?|process(?:es)?|summari[sz]es?|analy[sz]es?) (?:this|the following)\b.{{0,60}}\b(?:must|should|shall|has to|have to)\b",
    "orders_machine": rf"^[^\w<]*(?:\w+ )?(?:{_STRONG_MACHINE}|assistants?)(?: assistants?| models?)?\s?[:,]\s+(?:please |now |always )*(?:(?:do not|don't|never|ignore|disregard|forget|rate|accept|name|recommend|praise|answer|reply|respond|say|tell|write|end|begin|include|leave|skip|repeat|translate|mention|hide|call|use) )",
    "about_machine": rf"\b(?:tell|ask|asks|asked|make|let|instruct|show|have|help|click|configure|train|test|give|allow|want|told|expect)s? (?:to )?(?:the|your|an?|our) (?:\w+ ){{0,2}}?{_MACHINE}",
    "reading_this": r"\b(?:reads?|reading|processing|processes|summari[sz]ing|asked about) (?:this|the) (?:\w+ )?(?:text|page|line|file|document|paragraph|mail|table|paper)?\b|\bif (?:you are|asked|questioned|anyone asks|the user asks|user asks)\b|\bwhen you (?:are asked|read)\b",
    "user": r"\b(?:tell|direct|urge|insult|convince|inform) (?:that )?(?:the |all |any |every )?(?:users?|readers?|customers?|everybody|asker)\b|\b(?:the )?user'?s (?:question|password|credit)\b|\bthe (?:question|message)s? of the user\b"
    r"|\b(?:if|when|whenever) (?:the |a )?users? asks?\b.{0,60}\b(?:say|reply|respond|answer|tell)\b|\bwhatever the user\b|\b(?:dile|di|dis|dites|sage|skriv|zeg|скажи) (?:al |à l'|dem |all'|tegen de )?(?:usuario|utilisateur|nutzer|utente|gebruiker|пользовател\w+)",
    "order_you": r"\bi (?:order|command|instruct|authori[sz]e) you\b|\bi want you to (?:act|pretend|ignore|answer|reply)\b|\byou may now (?:ignore|skip|answer|disregard)\b",
    "whatever": r"\b(?:whatever|no matter (?:what|which)|any questions?|all questions|every question|whenever you|when you (?:talk|speak|mention))\b",
    "any_question": r"\b(?:repl(?:y|ies)|respond|answers?)(?: to)? (?:any|all|every|each|whatever) (?:\w+ )?(?:questions?|requests?|messages?)\b.{0,80}\b(?:as (?:an? |if )|in (?:the|a) (?:form|style|voice|language))"
    r"|\b(?:any|all|every|each) questions?\b.{0,80}\b(?:(?:are|is) to be answered with|must be answered with|gets? the (?:same )?(?:answer|reply))",
    "asked_this": r"\b(?:if|when|whenever) (?:you are |you're |someone |anyone |anybody |somebody |the user |a user |users )?(?:is |are )?(?:asked?|asks|questioned)\b (?:\w+ ){0,2}?(?:to (?:summari[sz]e|describe|rate|review|translate|judge|rank|compare)|about this (?:\w+ )?(?:document|page|text|file|paper|mail|article|table|note|message))\b.{0,80}\b(?:say|repl(?:y|ies)|respond|answer|tell|claim|mention|recommend|praise)\b",
    "user_foreign": r"\b(?:dile|di|decid|dis|dites|sage|sagt|skriv|zeg|diga|di'|скажи|сообщи) (?:al |à l'|dem |den |all'|a l'|ao |aos |agli |tegen de |a los )?(?:usuarios?|utilisateurs?|nutzern?|utent[ei]|utilizadore?s?|gebruikers?|пользовател\w+)",
    "yourself": r"\b(?:introduce|present|call|refer to|speak of|think of) yourself as\b|\bnever (?:admit|reveal|say|mention) (?:that )?you are (?:an? )?(?:ai|bot|machine|model|language model|assistant|program)\b",
    "henceforth": r"\b(?:repl(?:y|ies)|respond|answers?|speaks?|talk|write)\b.{0,60}\b(?:from (?:here|now|this point) on(?:wards?)?|henceforth|for the rest of (?:this|the) (?:chat|conversation))\b|\b(?:from (?:here|now|this point) on(?:wards?)?|henceforth),? (?:\w+ ){0,3}?(?:repl(?:y|ies)|respond|answers?|speaks?)\b",
    "quoting": r"\b(?:that|whenever|when|if) you (?:quote|cite|summari[sz]e)\b.{0,60}\b(?:must|should|has to|always|add|append|followed)\b|\bafter (?:each|every) (?:of your )?(?:sentences?|answers?|repl(?:y|ies)|claims?)\b",
    # What overturns other instructions.
    "quit": rf"{_LEADING}(?:\w{{1,30}} )?{_QUIT}\b",
    "quit_limited": rf"\b{_QUIT}\b.{{0,40}}?\b{_RULES} (?:that|which|of|on|for|from|in|about)\b|\b{_QUIT} (?:\w+ ){{0,3}}?(?:manual|message|e-?mail|letter|version|announcement)\b"
    rf"|\b(?:previous|prior|earlier|preceding|existing|old) (?:\w+ )?{_RULES} (?:of|on|about|concerning)\b|\b(?:sections?|chapters?|articles?|clauses?|paragraphs?|rows?|steps?) \w+ (?:of|and|to|in)\b",
    "quit_rules": rf"{_LEADING}(?:\w{{1,30}} )?{_QUIT}\b.{{0,50}}?\b(?:(?:all|any|every|your|these|prior|previous|earlier|preceding|above|original|existing|other|system|user's) (?:\w+ ){{0,3}}?)?{_RULES}\b",
    "prior_rules": rf"\b(?:(?:all|any|every|your|the) )?(?:previous|prior|earlier|preceding|above|original|initial|existing|old) (?:\w+ )?{_RULES}\b|\b{_RULES} (?:above|before (?:this|now)|(?:that )?you (?:\w+ )?(?:were|have been|received|got|had))",
    "your_rules": rf"\byour (?:\w+ ){{0,2}}?{_RULES}\b",
    "rules_void": rf"\b{_RULES}\b.{{0,60}}\b(?:no longer apply|(?:are|is|were) (?:now )?(?:void|cancelled|canceled|a test|revoked|suspended|off|switched off))\b",
    "told_before": r"\b(?:everything|anything|all|what) (?:that )?you (?:were|have been|are|ever) (?:\w+ )?(?:told|instructed|taught|given)\b|\bwere you told\b|\byou were (?:configured|told|instructed)\b|\binstructed to\b",
    "question_quit": r"\b(?:do not|don't|never|instead of|rather than|skip|ignore|disregard) (?:\w+ ){0,2}?(?:answer(?:ing)?|repl(?:y|ying)|respond(?:ing)?|question|request)\b(?: to)?.{0,20}\b(?:user|reader|question)"
    r"|\b(?:ignore|disregard|forget|pay no attention to) the (?:user's )?question\b.{0,40}\b(?:and|but|instead|say|print|write|answer)\b",
    "output_foreign": r"\b(?:beginne|beende|schreibe|füge|commence|termine|écris|ajoute|écrivez|ajoutez|empieza|termina|escribe|añade|inizia|scrivi|aggiungi|comece|termine|escreva|adicione|begin|eindig|schrijf|начинай|заканчивай|пиши|добавляй)\b.{0,30}\b(?:jeder?|jede deiner|chaque|cada|ogni|elk|кажд\w+) (?:\w+ )?(?:antwort|réponse|respuesta|risposta|resposta|antwoord|ответ)\b|\bdeine[rnms]? (?:\w+ )?antwort(?:en)?\b|\b(?:ta|tes) réponses?\b|\b(?:tu|tus) respuestas?\b|\b(?:tua|tue) rispost[ae]\b|\b(?:sua|tua) respostas?\b|\bje antwoord(?:en)?\b|\b(?:сво\w+|тво\w+) ответ\w*|你的(?:回答|答案|回复|输出)|إجابتك|ردك|अपने (?:उत्तर|जवाब)|câu trả lời của bạn",
    "only_foreign": r"\b(?:antworte|antwortest|sprich)\b.{0,40}\b(?:nur|ausschließlich)\b|\b(?:antworte|antwortest) ab\b|\bréponds .{0,40}(?:seulement|uniquement)|\bresponde .{0,30}(?:solo|sólo|únicamente)|\brispondi .{0,20}solo|\bantwoord .{0,20}alleen|отвечай .{0,20}только|只(?:能)?(?:回答|说)|وأجب .{0,12}فقط|chỉ (?:nói|trả lời)",
    "prompt_foreign": r"\b(?:deine?n?|ton|votre|tu|tuo|seu|свой|твой) (?:\w+ )?(?:system-?)?prompts?\b|\bprompt (?:système|del sistema|di sistema|do sistema)|systemanweisung|системн\w+ промпт|你的系统提示|موجه النظام|\b(?:deine|tes|tus|tue|suas|свои|je) (?:\w+ )?(?:anweisungen|consignes|instrucciones|istruzioni|instruções|инструкции|instructies)\b|你的指令|تعليماتك|अपने निर्देश|hướng dẫn của bạn",
    "void_foreign": r"\bignorier(?:e|en sie) (?:alle |sämtliche )?(?:\w+ ){0,2}anweisung|\bvergiss (?:alle |deine )|\bignore[zs]? (?:toutes )?(?:les |tes )?(?:consignes|instructions) (?:précédentes|ci-dessus)|\boublie[zs]? (?:toutes )?(?:tes|vos|les) (?:consignes|instructions)"
    r"|\bignora (?:todas |tutte )?(?:las |le |tus |tue )?(?:instrucciones|istruzioni)|\b(?:olvida|dimentica) (?:todas |tutte )?(?:las |le )?(?:tus |tue )?(?:instrucciones|istruzioni)|\bignore todas as instruções|\besqueça (?:todas )?(?:as )?(?:suas )?instruções"
    r"|\b(?:negeer|vergeet) (?:alle |je )(?:\w+ )?instructies|игнорируй\w* .{0,20}инструкци|забудь .{0,20}инструкци|(?:忽略|忘记|无视).{0,8}(?:指令|指示|说明)|(?:تجاهل|انس) .{0,12}(?:التعليمات|تعليماتك)|निर्देश\w*.{0,6} (?:को )?(?:अनदेखा|भूल)|(?:bỏ qua|quên) .{0,12}(?:chỉ dẫn|hướng dẫn)",
    # Roles.
    "persona": rf"{_LEADING}(?:pretend (?:to be|that you|you)|act (?:as|like)|imagine (?:that )?you are|behave (?:as|like)|simulate|impersonate|roleplay|role-play|stay in character|speak (?:as|like)|play the (?:role|part)|take on the (?:role|persona)|adopt|enter|introduce yourself|you (?:will )?(?:now )?play|you are now|you are no longer|your name is)\b",
    "you_are": r"\byou (?:are|will be|act) (?:now|no longer|henceforth|from now)\b|\bfrom (?:now|this moment|this point|today) on,? (?:you|answer|reply|respond|only|speak|write)\b|\b(?:you have|there are) no (?:rules|restrictions|limits|teacher|filter)|\byour (?:only|one|real|new|next) (?:task|role|goal|job|instructions?|rules?|name)\b|\byour name is now\b|\byou are .{0,20}\b(?:evil|dan)\b"
    r"|\bdu bist jetzt\b|\btu es maintenant\b|\beres (?:ahora )?un\b|\bsei (?:ora )?un\b|\bты теперь\b|\bтеперь ты\b|你现在是|从现在开始你是|\bantworte(?:st)? ab\b|\bab (?:jetzt|sofort) nur\b|\b(?:désormais|a partir de ahora|da ora in poi) .{0,20}(?:réponds|respondes|rispondi|uniquement)",
    "role_speaks": r"(?:\byou (?:are|will|play)\b|\bfrom now on\b|\b(?:pretend|act|imagine|behave|speak|roleplay|simulate)\b).{0,60}\b(?:answers?|repl(?:y|ies)|responds?|speaks?|talks?|says?|refuses?|approve|lies)\b"
    r"|\bdu bist .{0,30}\bsprich|\btu es .{0,30}\bparles|\beres .{0,30}\brespondes|\bsei .{0,30}\b(?:parli|rispondi)|ты .{0,30}(?:отвечаешь|говори)|你是.{0,20}(?:回答|语气)",
    "unbound": r"\b(?:unrestricted|uncensored|unfiltered|without (?:any )?(?:filters?|restrictions?|rules|limits)|no moral|jailbreak\w*|do anything now|developer mode|debug mode|dan mode|maintenance mode|safety rules|content policy|never refuses?|personas?|personalit(?:y|ies))\b",
    # The instructions of the assistant, and its tools.
    "reveal": rf"{_LEADING}(?:reveal|print|show|display|repeat|output|list|leak|tell me|tell us|summari[sz]e|write down|encode|send|copy|put|give me|expose|disclose|continue|complete|translate)\b.{{0,60}}?\b(?:system (?:prompt|message|instructions?)|(?:initial|hidden|starting|first|original) (?:prompt|instructions?)|your (?:\w+ )?(?:instructions?|rules|prompt|guidelines|configuration)|(?:text|everything) (?:above|that stands before)|rules that you|instructions (?:that )?you|conversation|chat history|(?:previous|last) messages?)\b",
    "system_prompt": r"\b(?:system ?prompt|system message|starting instructions|initial prompt|hidden prompt|prompt système|prompt del sistema|prompt di sistema|systemanweisung|системн\w+ промпт)\b|系统提示|موجه النظام",
    "own_rules_asked": r"\bwhat (?:are|were|is) your (?:\w+ )?(?:instructions|rules|prompt)\b|\bwhat (?:were you|did the \w+) (?:told|tell you)\b",
    "tool": r"\b(?:call|invoke) (?:the |your |a )?(?:\w+ )?tools?\b|\b(?:use|execute|run|open|trigger|call|invoke) the (?:tool|function) \w+_\w+|\b(?:use|with|using|run|open) your (?:\w+ )?tools?\b|\b(?:run|execute) the \w+ tool with\b|\btool (?:named|called) \w+_\w+|\binvoke \w+_\w+|\bcall it with\b",
    "cite": r"\bcite (?:\[\d+\]|this|line)|\bdo not (?:cite|quote)|\bthat you (?:quote|cite)\b",
    # Marks that models know.
    "tag": r"^\W*(?:</?\|?(?:system|instructions?|assistant|prompt|inst|im_start|endoftext|context|data|passage)\|?>)|<\|(?:im_start|im_end|system|user|assistant|endoftext)|\[/?inst\]|\[system|⟦(?:end|data) [^⟧\n]{0,40}[0-9a-f]{8,}⟧|\"role\": ?\"(?:system|assistant)\""
    r"|\b(?:begin|end|start) (?:of )?(?:system|data|document|context)\b.{0,40}\b(?:override|###|---|now|assistant)",
    "speaker": r"^[^\w\[<]*(?:<!--\s*)?\[?(?:system(?: (?:note|override|message|update|prompt))?|assistant|ai|chatbot|bot|admin(?:istrator)? override)\s?:",
    "heading": r"^\W*(?:</?\w+>\W*)?(?:(?:new |core |system |follow |hidden |secret |legal amendment,? )+(?:instructions?|prompt|task|directives?)|system prompt|new rule of the system|(?:###|\[|<|\()\s*instruction)(?: \d+)?(?: (?:for|to) the (?:ai|assistant|model|chatbot))?\s*:",
    "core": r"\b(?:core instruction|follow instruction|new rule of the system|system override)\b",
    "encoded": r"\b(?:decode|decrypt|unscramble) (?:this|and|the following)\b.{0,60}(?:do|follow|execute|says)|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,}={1,2}(?!\S)",
    # Tasks that have nothing to do with a text.
    "compose": rf"{_LEADING}{_COMPOSE} (?:me |us |up )?(?:with )?(?:an? |the |some |two |three |five |ten )?(?:[\w'-]+ ){{0,5}}?{_VERSE}\b",
    "compose_about": rf"{_LEADING}{_COMPOSE}\b.{{0,60}}\b{_VERSE} (?:about|on|of|for|based on|that|describing|in the style|requesting|to)\b",
    "explain": rf"{_LEADING}(?:explain|describe|break down|discuss|define|summari[sz]e|outline|analy[sz]e|compare|tell me about|give me|teach me|help me|identify|determine|calculate)\b",
    "translate": rf"{_LEADING}(?:translate|how do you say|what(?:'s| is) ['\"‘“].{{1,60}}['\"’”] in)\b",
    "asks": r"[?？؟]\W*$",
    "for_me": r"\b(?:tell|give|show|help|teach|write) (?:me|us)\b|\b(?:can|could|would) you (?:\w+ )?(?:write|explain|show|tell|give|recommend|help|suggest)\b|\b(?:my|mine) (?:inbox|day)\b|\blet's talk\b|\bchat with me\b|\bi want you to\b",
    # What speaks against it.
    "third": r"^\W*(?:an? |the |some |this |these |those |many |each |every |most |except )(?!.{0,40}\b(?:that|which|when) you (?:quote|cite|summari[sz]e)\b)(?!(?:assistant|ai|model|bot|chatbot|user)s? (?:must|should|shall|is|are|has)\b)",
    "reports": r"\b(?:such as|for example|e\.g\.|says|said|is called|are called|attack|attacks|attacker|may|might|asked the|ask the model|evaluation|documents? contain)\b",
    "code": r"`",
    "sie": r"\bsie\b|\bvous\b|\b\w+ez\b|\busted\b",
    "addressee": r"\b(?:manager|supplier|landlord|customer|doctor|operator|colleague|neighbour|player|players|teacher|server|client|field|header|form|witness|court|phone|invoice|friday|monday)\b",
    "exam": r"\b(?:underlined|working|exercise|of your neighbour|within (?:\w+ )?\w+ days|at the top|the id|the number|the code|json|valid)\b",
    "delivered": r"\b(?:answers?|repl(?:y|ies)|responses?|summary)\b.{0,40}\b(?:to the address|to (?:us|me|him|her|them)\b|in(?:to)? the (?:box|boxes|space|spaces|margin|field|table|form|envelope|gap|gaps|grid)|below|overleaf|by (?:e-?mail|post|letter|phone|fax|noon|tomorrow|\d)|within (?:\w+ ){1,2}days|on (?:an? |the |one )?(?:separate )?(?:sheet|card|page|form|paper|board)|and (?:hand|send|post|return|mail) (?:it|them)|(?:must|should|has to|have to) (?:reach|arrive|be (?:received|sent|signed)))\b"
    r"|\b(?:answers?|repl(?:y|ies)|responses?|summary)\b.{0,60}\b(?:decimal places|(?:full|complete|whole) sentences|(?:your )?own words|(?:at most|about|up to) \w+ (?:words|sentences|lines|pages)|the (?:code|id|number|reference)(?: number)? (?:of|that|which|printed|on|at)\b)"
    r"|\b(?:reasons?|evidence|examples?|marks?|working) (?:\w+ )?for (?:your|each|every) answers?\b|\bexplain (?:your|each|every) answers?\b",
    "page": r"\b(?:page|label|manual|version|e-?mail|step|steps|chapter|section|section|file|folder|box below|exercise|settings|line|lines)\b",
}
"""The patterns, by the name of the feature."""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Compiled when a text first needs it: all of them would take 50 ms of each start."""
    return re.compile(_NAMED[name], re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OUTPUT_WORDS: Final = _words(
    "answer answers reply replies response responses output outputs completion completions summary summaries sentence sentences respond speak talk mention summarise summarize message"
)
_MACHINE_WORDS: Final = _words(
    "ai a llm llms gpt gpt4 chatgpt chatbot chatbots bot bots model models assistant assistants openai automated software sprachmodell sprachmodelle sprachmodells assistent assistenten"
    " asistente assistente linguistico lenguaje ассистент ассистента ассистенту ассистентов модели модель моделью 助手 语言模型 المساعد सहायक trợ"
)
_GATES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("output", "say_output", "must_output"), _OUTPUT_WORDS),
    **dict.fromkeys(
        ("machine", "strong_machine", "to_machine", "calls_machine", "machine_must", "about_machine"),
        _MACHINE_WORDS,
    ),
    **dict.fromkeys(
        ("prior_rules", "your_rules", "rules_void", "quit_limited", "quit_rules"),
        _words(
            "section sections chapter chapters article articles clause clauses paragraph paragraphs row rows step steps instruction instructions direction directions directive directives rule rules prompt prompts guideline guidelines order orders command commands policy policies restriction restrictions manual message email letter version announcement"
        ),
    ),
    "tool": _words("tool tools function invoke call"),
    "reader_machine": _MACHINE_WORDS,
    "orders_machine": _MACHINE_WORDS | {"assistants", "reviewers"},
    "henceforth": _words("from henceforth rest"),
    "any_question": _words("question questions request requests message messages"),
    "asked_this": _words("ask asks asked questioned"),
    "yourself": _words("yourself you"),
    "quoting": _words("quote cite summarise summarize after"),
    "delivered": _OUTPUT_WORDS,
    "user": _words(
        "user users reader readers customer customers everybody asker people nutzer nutzers utilisateur usuario utente пользователю пользователям gebruiker"
    ),
}
"""Words one of which must be in a text that has the feature. They save the time of the pattern."""

_QUOTED: Final = re.compile(
    r"“[^“”\n]{1,300}”|„[^„“”\n]{1,300}[“”]|«[^«»\n]{1,300}»|\"[^\"\n]{1,300}\"|`[^`\n]{1,300}`|(?<!\w)['‘][^'‘’\n]{2,300}['’](?!\w)"
)
_LEAST_OUTSIDE: Final = 2
_NORMALIZED: Final = 200
"""The number of characters that are normalised together. The time grows with the square of the length of a run of combining marks."""


def _plain(text: str) -> str:
    """The text with ordinary letters in place of their variants, such as "Ｉ", and without invisible characters. It may have up to eighteen times as many characters."""
    pieces = (text[start : start + _NORMALIZED] for start in range(0, len(text), _NORMALIZED))
    return "".join(unicodedata.normalize("NFKC", one) for one in pieces).translate(_HIDDEN)


def bare(text: str) -> str:
    """The plain text without what it quotes, in one line. A text that is hardly more than a quote stays whole."""
    text = " ".join(_ADDRESS.sub("https://x ", _plain(text[:MOST_CHARACTERS])[:MOST_CHARACTERS]).split())
    outside = _QUOTED.sub(' "" ', text)
    return " ".join(outside.split()) if len(_WORD.findall(outside)) >= _LEAST_OUTSIDE else text


_WORD: Final = re.compile(r"\w+")
_ADDRESS: Final = re.compile(r"https?://[^\s)\]>\"']{1,1000}")
_HIDDEN: Final = {
    **dict.fromkeys(
        (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10))
    ),
    **dict.fromkeys((0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, ord("*"))),
    **{0xE0000 + one: chr(one) for one in range(0x20, 0x7F)},
    0x2019: "'",
}
"""Invisible characters, and what stands for them. Tags, which are invisible letters, become ordinary letters, because models may read them."""

_BASE: Final = -3.03
_WEIGHTS: Final[Mapping[str, float]] = {
    "output": 2.07,
    "say_output": 3.08,
    "must_output": 0.82,
    "only": 1.39,
    "only_word": 4.00,
    "transform": 0.34,
    "transform_output": 3.40,
    "advert": 0.68,
    "machine": 0.46,
    "to_machine": 3.91,
    "calls_machine": 0.61,
    "strong_machine": 1.37,
    "machine_must": 3.05,
    "reader_machine": 6.00,
    "orders_machine": 4.00,
    "about_machine": -2.10,
    "reading_this": -0.21,
    "user": 2.45,
    "order_you": 4.42,
    "whatever": 2.04,
    "any_question": 3.50,
    "asked_this": 5.00,
    "user_foreign": 4.00,
    "yourself": 3.00,
    "henceforth": 3.50,
    "quoting": 5.00,
    "quit": 0.50,
    "quit_limited": -2.87,
    "quit_rules": 2.77,
    "prior_rules": 1.45,
    "your_rules": 1.52,
    "rules_void": 1.90,
    "told_before": 4.00,
    "question_quit": 1.59,
    "output_foreign": 3.27,
    "only_foreign": 2.56,
    "prompt_foreign": 3.43,
    "void_foreign": 4.87,
    "persona": 0.31,
    "you_are": 0.88,
    "role_speaks": 2.52,
    "unbound": 1.84,
    "reveal": 4.29,
    "system_prompt": 1.47,
    "own_rules_asked": 3.00,
    "tool": 3.92,
    "cite": 1.00,
    "tag": 4.54,
    "speaker": 3.98,
    "heading": 4.01,
    "core": 3.00,
    "encoded": 5.00,
    "explain": -0.17,
    "third": -2.62,
    "reports": -0.87,
    "code": -1.47,
    "sie": -0.70,
    "addressee": -1.34,
    "exam": -1.57,
    "delivered": -4.68,
    "page": -1.34,
}
"""Fitted by tools/instruction_weights.py. A feature without a weight does not count."""


def features(segment: str) -> Mapping[str, float]:
    """The features of a sentence or line, by name: 1 if the pattern is in it, otherwise 0."""
    found = _found(segment, _NAMED)
    return {name: float(name in found) for name in _NAMED}


def score(segment: str) -> float:
    """The logit that a sentence or line gives an instruction to an assistant; from 0 on, it counts as one."""
    return _BASE + sum(_WEIGHTS[name] for name in _found(segment, _WEIGHTS))


def _found(segment: str, names: Iterable[str]) -> Sequence[str]:
    text = bare(segment)
    words = frozenset(_WORD.findall(text.lower()))
    return [
        name
        for name in names
        if not (name in _GATES and _GATES[name].isdisjoint(words)) and _pattern(name).search(text)
    ]


def instructing_spans(text: str) -> Sequence[tuple[int, int]]:
    """The ranges [start, end) of characters that give instructions to an assistant, in order and without overlaps.

    A range consists of whole sentences, lines or cells of a table. If a range announces an instruction, as in "Follow this
    instruction:", the next sentence or line of the paragraph belongs to it.
    """
    found: list[tuple[int, int]] = [match.span() for match in _ENCLOSED.finditer(text)]
    for paragraph in _paragraphs(text):
        announced = False
        for sentence in _sentences(text, paragraph):
            own = [_instructs(text[one.start : one.end]) for one in sentence]
            if not any(own) and len(sentence) > 1:
                # A sentence that goes on in the next line is also read as a whole.
                own = [_instructs(text[sentence[0].start : sentence[-1].end])] * len(sentence)
            follows = False
            for one, instructs in zip(sentence, own, strict=True):
                follows = instructs or announced or (follows and text[one.start].islower())
                announced = instructs and _announces(text[one.start : one.end])
                if follows:
                    found.append((one.start, one.end))
    return _merged(sorted(found))


def without_instructions(text: str) -> str:
    """The text with OMITTED in place of the sentences that give instructions to an assistant; the same text if there are no such sentences."""
    kept: list[str] = []
    place = 0
    for start, end in instructing_spans(text):
        kept += (text[place:start], OMITTED)
        place = end
    return "".join((*kept, text[place:])) if place else text


@dataclass(frozen=True, slots=True)
class _Segment:
    """The characters [start, end) of a text, without white space at the ends: a sentence, or the part of it in one line."""

    start: int
    end: int


_BLANK: Final = re.compile(r"\n[ \t\r]*\n")
_ENDING: Final = re.compile(
    r"(?<!\b[DM]r)(?<!\bMrs)(?<!\b[ei]\.[ge])[.!?…](?=[\"'”’)\]*_]{0,3}\s(?!\s?[a-zà-ÿ]))[\"'”’)\]*_]{0,3}|[。！？؟।]|\n|(?<=\s)\|(?=\s)|(?:^|(?<=\n))\|"
)
_ENCLOSED: Final = re.compile(
    r"<(system|instructions?|assistant|prompt)>(?:(?!<\1>).){1,2000}?</\1>|\[INST\].{1,2000}?\[/INST\]|<\|im_start\|>.{1,2000}?<\|im_end\|>|<\|endoftext\|>.{1,2000}?<\|endoftext\|>",
    re.IGNORECASE | re.DOTALL,
)
_ANNOUNCED: Final = 8
"""The most words of a line that only announces an instruction."""


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _BLANK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _sentences(text: str, paragraph: tuple[int, int]) -> Iterator[Sequence[_Segment]]:
    """The sentences of a paragraph, each as its segments: one for each line."""
    start, end = paragraph
    sentence: list[_Segment] = []
    for match in (*_ENDING.finditer(text, start, end), None):
        stop = end if match is None else match.end()
        raw = text[start:stop]
        low = start + len(raw) - len(raw.lstrip(" \t\r\n|"))
        high = start + len(raw.rstrip(" \t\r\n|"))
        if low < high:
            sentence.append(_Segment(low, high))
        start = stop
        if sentence and (match is None or match.group() != "\n" or len(sentence) == _MOST_LINES):
            yield sentence
            sentence = []


_MOST_LINES: Final = 4
_OVERLAP: Final = 500


def _instructs(segment: str) -> bool:
    """Whether a segment gives an instruction. Most segments have no word that can be part of one, and are decided by their words alone."""
    return any(_window_instructs(one) for one in _windows(_plain(segment)))


def _windows(segment: str) -> Iterator[str]:
    """The parts of a segment that are read one by one; a long segment has several, which overlap."""
    start = 0
    while len(segment) - start > MOST_CHARACTERS:
        yield segment[start : start + MOST_CHARACTERS]
        start += MOST_CHARACTERS - _OVERLAP
        # An instruction is recognised by its first words.
        blank = segment.find(" ", start, start + _OVERLAP // 2)
        start = blank + 1 if blank >= 0 else start
    yield segment[start:]


def _window_instructs(text: str) -> bool:
    words = _WORD.findall(text.lower())
    if _TRIGGERS.isdisjoint(words) and _FOREIGN.search(text) is None:
        return False
    return score(text) >= 0


def _announces(segment: str) -> bool:
    """Whether an instruction says that another one follows."""
    text = segment.rstrip("*_ \"”'>)]")
    return text.endswith((":", "：")) or (
        len(_WORD.findall(text)) <= _ANNOUNCED
        and any(_pattern(name).search(segment) for name in ("core", "heading", "tag"))
    )


def _merged(spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


_TRIGGERS: Final = _words(
    "answer answers answering reply replies respond responds response responses output outputs completion summary say says tell tells print ask rank rate"
    " sentences sentence mention recommend speak talk"
    " ai llm llms gpt chatgpt chatbot chatbots bot bots model models assistant assistants openai automated software sprachmodell sprachmodelle assistent assistenten asistente assistente"
    " instruction instructions directions directives rules rule prompt prompts guidelines orders policy restrictions task"
    " ignore ignoring disregard forget override bypass void cancelled pretend act imagine behave simulate impersonate roleplay character persona personas dan jailbreak"
    " now henceforth name tool tools function invoke call execute system inst im_start endoftext conversation history previous above told user users"
    " yourself quote cite asked questions question sage dile dites zeg diga utilisateur réponse chaque jede jeder"
    " decode encode letter letters vowel vowels misspell scramble anagram"
    " ignoriere vergiss antworte antwort antworten nutzer systemanweisung jetzt anweisungen réponse réponses réponds consignes désormais maintenant l'assistant respuesta respuestas responde instrucciones usuario eres asistente"
    " risposta risposte rispondi istruzioni sei utente resposta respostas responda instruções antwoord instructies apenas"
)
_FOREIGN: Final = re.compile(
    r"[⟦]|ответ|инструкци|промпт|(?:теперь ты|ты теперь)|ассистент|модел|指令|指示|提示|回答|回复|助手|语言模型|你是|تعليمات|إجابت|موجه|المساعد|أجب|निर्देश|उत्तर|जवाब|chỉ dẫn|hướng dẫn|câu trả lời|trợ lý",
    re.IGNORECASE,
)
