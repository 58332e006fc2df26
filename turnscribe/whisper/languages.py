"""The languages Whisper knows, by code and by English name (openai/whisper `tokenizer.py`), and what else they are
called. Depends on nothing."""

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
ca valencian, es castilian, fa farsi, ht haitian, lb letzeburgesch, my burmese, nl flemish, no bokmal, no bokmål,
no norwegian bokmal, no norwegian bokmål, nn norwegian nynorsk, pa panjabi, ps pushto, ro moldavian, ro moldovan,
si sinhalese, tl filipino, zh mandarin
"""
# ISO 639-2 and 639-3 (both of 639-2's, where a language has two; where one stands for several languages, the usual
# one of them too), and codes of 639-1 that Whisper writes otherwise or that were withdrawn.
_OTHER_CODES = """
af afr, am amh, ar ara arb, as asm, az aze azj, ba bak, be bel, bg bul, bn ben, bo bod tib, br bre, bs bos, ca cat,
cs ces cze, cy cym wel, da dan, de deu ger, el ell gre, en eng, es spa, et est ekk, eu eus baq, fa fas per pes,
fi fin, fo fao, fr fra fre, gl glg, gu guj, ha hau, he heb iw, hi hin, hr hrv, ht hat, hu hun, hy hye arm, id ind in,
is isl ice, it ita, ja jpn, jw jav jv, ka kat geo, kk kaz, km khm, kn kan, ko kor, la lat, lb ltz, ln lin, lo lao,
lt lit, lv lav lvs, mg mlg plt, mi mri mao, mk mkd mac, ml mal, mn mon khk, mr mar, ms msa may zsm, mt mlt,
my mya bur, ne nep npi, nl nld dut, nn nno, no nor nob nb, oc oci, pa pan, pl pol, ps pus pbt, pt por,
ro ron rum mol mo, ru rus, sa san, sd snd, si sin, sk slk slo, sl slv, sn sna, so som, sq sqi alb als, sr srp,
su sun, sv swe, sw swa swh, ta tam, te tel, tg tgk, th tha, tk tuk, tl tgl fil, tr tur, tt tat, uk ukr, ur urd,
uz uzb uzn, vi vie, yi yid ydd ji, yo yor, yue zh-yue, zh zho chi cmn
"""


CODES = tuple(pair.split()[0] for pair in _LANGUAGES.split(","))


def language_name(code: str) -> str:
    """Whisper's English name of a language code, as OpenAI answers it; what is no code comes back lower-case.

    >>> language_name("de")
    'german'
    """
    return _names().get(code.lower(), code.lower())


def language_code(name: str) -> str | None:
    """Whisper's code for a code, an English name or a tag with a region; `None` for what Whisper does not know.

    >>> language_code("German"), language_code("de-AT"), language_code("deu"), language_code("Klingon")
    ('de', 'de', 'de', None)
    """
    given = name.strip().lower()
    tag = given.replace("_", "-")
    for candidate in (given, tag, tag.split("-")[0]):
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
    others = [(code, other) for code, more in _pairs(_OTHER_CODES) for other in more.split()]
    return {name: code for code, name in _pairs(_LANGUAGES) + _pairs(_OTHER_NAMES) + others}


def _pairs(table: str) -> list[tuple[str, str]]:
    """`(code, name)` of each entry."""
    entries = (entry.strip().partition(" ") for entry in table.split(","))
    return [(code, name) for code, _, name in entries]
