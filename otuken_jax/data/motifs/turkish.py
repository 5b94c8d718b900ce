"""Turkish suffixes by rule: vowel harmony, buffer letters, softened consonants, compounds.

Words are lower case, except for the first letter of a name. Of several words the last is inflected.
"""

import numpy as np

BACK, FRONT = "aıouâû", "eiöüî"
VOWELS = BACK + FRONT
ROUNDED = "oöuüû"
VOICELESS = "fstkçşhp"
# Borrowed words whose palatal l takes front vowels although their own are back.
FRONT_EXCEPTIONS = ("hilal", "hâl", "alkol")
# Final consonants that turn voiced before a vowel although the word has one syllable, or ends in t.
SOFTENED = {"renk": "reng", "penç": "penc", "taç": "tac", "dip": "dib", "kanat": "kanad"}
VOICED = {"k": "ğ", "p": "b", "ç": "c"}
# Compounds by their last word, which has a possessive suffix already, and that word without it.
COMPOUNDS = {
    "ağacı": "ağaç",
    "başı": "baş",
    "başlığı": "başlık",
    "boncuğu": "boncuk",
    "dalı": "dal",
    "izi": "iz",
    "keçisi": "keçi",
    "koçboynuzu": "koçboynuz",
    "kursu": "kurs",
    "panosu": "pano",
    "saçbağı": "saçbağ",
    "şahidesi": "şahide",
    "taşı": "taş",
    "tokası": "toka",
    "üçgeni": "üçgen",
    "yaprağı": "yaprak",
    "yolu": "yol",
}

ONSETS = "bcçdfghkmnprsştvyz"  # of syllables
CODAS = ("", "", "", "k", "l", "m", "n", "r", "s", "ş", "z")


def invented(rng: np.random.Generator) -> str:
    """A made-up word of two or three syllables whose vowels are all back, or all front."""
    vowels = (BACK, FRONT)[rng.integers(2)][:4]
    syllables = [
        ONSETS[rng.integers(len(ONSETS))]
        + vowels[rng.integers(len(vowels))]
        + CODAS[rng.integers(len(CODAS))]
        for _ in range(rng.integers(2, 4))
    ]
    return "".join(syllables)


def is_front(word: str) -> bool:
    """Whether suffixes of the word take front vowels: by its last vowel, but for borrowed words."""
    return _last(word) in FRONT_EXCEPTIONS or _last_vowel(word) in FRONT


def low_vowel(word: str) -> str:
    """The vowel of -lA and -DA: a or e."""
    return "e" if is_front(word) else "a"


def high_vowel(word: str) -> str:
    """The vowel of -lI and -(n)In: ı, i, u or ü."""
    if _last_vowel(word) in ROUNDED:
        return "ü" if is_front(word) else "u"
    return "i" if is_front(word) else "ı"


def soften(word: str) -> str:
    """The stem before a suffix that begins with a vowel: tabak -> tabağ, ağaç -> ağac."""
    last = _last(word)
    if last in SOFTENED:
        return word.removesuffix(last) + SOFTENED[last]
    if sum(letter in VOWELS for letter in last) > 1 and last[-1] in VOICED:
        return word[:-1] + VOICED[last[-1]]
    return word


def with_li(word: str) -> str:
    """-lI, "having": lale -> laleli, boynuz -> boynuzlu; of a compound su yolu -> su yollu."""
    last = _last(word)
    stem = word.removesuffix(last) + COMPOUNDS.get(last, last)
    return f"{stem}l{high_vowel(stem)}"


def genitive(word: str) -> str:
    """-(n)In, "of": vazo -> vazonun, tabak -> tabağın; of a compound su yolu -> su yolunun."""
    buffer = "n" if word[-1] in VOWELS else ""
    return f"{soften(word)}{buffer}{high_vowel(word)}n"


def possessive(word: str) -> str:
    """-(s)I, "its": taçkapı -> taçkapısı, üslup -> üslubu; a compound has it already."""
    if _last(word) in COMPOUNDS:
        return word
    buffer = "s" if word[-1] in VOWELS else ""
    return f"{soften(word)}{buffer}{high_vowel(word)}"


def locative(word: str, *, possessed: bool = False) -> str:
    """-DA, "in, on": masa -> masada, taş -> taşta; after a possessive gövdesi -> gövdesinde."""
    voiceless = word[-1] in VOICELESS
    consonant = "nd" if possessed or _last(word) in COMPOUNDS else "t" if voiceless else "d"
    return f"{word}{consonant}{low_vowel(word)}"


def _last(word: str) -> str:
    return word.split()[-1]


def _last_vowel(word: str) -> str:
    return next(letter for letter in reversed(word) if letter in VOWELS)
