"""The words that the scripted model speaks in: of one to four bytes a character, so that a cut at the wrong place shows."""

from __future__ import annotations

from typing import Final

_TEXT: Final = """the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all were when we there
can an your which their said if do will each about how up out them then she many some so these would other into has more two like him see
time could no make than first been its who now people my made over did down only way find use water long little very after words called
just where most know river harbour bridge lantern copper granite orchard meadow window letter engine signal winter journey island market
naïve façade café Zürich Straße Übergang Ærø smörgåsbord Łódź señor coração élève œuvre Ångström þing garçon piñata jalapeño Malmö Köln
Ελλάδα θάλασσα νησί λόγος Москва река зима мост дорога письмо Київ шлях Ereván Երևան თბილისი ירושלים שלום القاهرة نهر مدينة दिल्ली नदी
東京 水曜日 京都 図書館 北京 长江 学习 서울 바다 학교 ภาษาไทย แม่น้ำ 🌍 🚲 🎻 👩‍🚀 ½ ≤ → “quoted” — e.g. 1,024"""
WORDS: Final = tuple(_TEXT.split())
