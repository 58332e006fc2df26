"""The languages Whisper knows, by code and by English name (openai/whisper `tokenizer.py`). Depends on nothing."""

from __future__ import annotations

import functools

_LANGUAGES = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian, bg bulgarian,
bn bengali, bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh, da danish, de german, el greek,
en english, es spanish, et estonian, eu basque, fa persian, fi finnish, fo faroese, fr french, gl galician,
gu gujarati, ha hausa, haw hawaiian, he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian,
hy armenian, id indonesian, is icelandic, it italian, ja japanese, jw javanese, ka georgian, kk kazakh,
km khmer, kn kannada, ko korean, la latin, lb luxembourgish, ln lingala, lo lao, lt lithuanian, lv latvian,
mg malagasy, mi maori, mk macedonian, ml malayalam, mn mongolian, mr marathi, ms malay, mt maltese,
my myanmar, ne nepali, nl dutch, nn nynorsk, no norwegian, oc occitan, pa punjabi, pl polish, ps pashto,
pt portuguese, ro romanian, ru russian, sa sanskrit, sd sindhi, si sinhala, sk slovak, sl slovenian, sn shona,
so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil, te telugu, tg tajik,
th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian, ur urdu, uz uzbek, vi vietnamese,
yi yiddish, yo yoruba, yue cantonese, zh chinese
"""
_OTHER_NAMES = """
ca valencian, es castilian, ht haitian, lb letzeburgesch, my burmese, nl flemish, pa panjabi, ps pushto, ro moldavian,
ro moldovan, si sinhalese, zh mandarin
"""


def language_name(code: str) -> str:
    """Whisper's English name of a language code, as OpenAI answers it; what is no code comes back lower-case.

    >>> language_name("de")
    'german'
    """
    return _names().get(code.lower(), code.lower())


def language_code(name: str) -> str | None:
    """The code of a code, an English name or a tag with a region; `None` for what Whisper does not know.

    >>> language_code("German"), language_code("de-AT"), language_code("Klingon")
    ('de', 'de', None)
    """
    given = name.strip().lower()
    for candidate in (given, given.replace("_", "-").split("-")[0]):
        if candidate in _names():
            return candidate
        if candidate in _codes():
            return _codes()[candidate]
    return None


@functools.cache
def _names() -> dict[str, str]:
    return dict(_pairs(_LANGUAGES))


@functools.cache
def _codes() -> dict[str, str]:
    return {name: code for code, name in _pairs(_LANGUAGES) + _pairs(_OTHER_NAMES)}


def _pairs(table: str) -> list[tuple[str, str]]:
    """`(code, name)` of each entry."""
    entries = (entry.strip().partition(" ") for entry in table.split(","))
    return [(code, name) for code, _, name in entries]
