"""Turkish suffixes by rule: vowel harmony, buffer letters, softened consonants.

Words are lower case, except for the first letter of a name.
"""

BACK, FRONT = "aıou", "eiöü"
VOWELS = BACK + FRONT + "âîû"
ROUNDED = "oöuüû"
VOICELESS = "fstkçşhp"
# Borrowed words whose palatal l takes front vowels although their own are back.
FRONT_EXCEPTIONS = ("hilal",)
# Final consonants that turn voiced before a vowel; -k after a vowel does so by rule.
SOFTENED = {"üslup": "üslub", "renk": "reng"}


def is_front(word: str) -> bool:
    """Whether suffixes of the word take front vowels: by its last vowel, but for borrowed words."""
    if word.endswith(FRONT_EXCEPTIONS):
        return True
    return _last_vowel(word) in FRONT + "î"


def low_vowel(word: str) -> str:
    """The vowel of -lA and -DA: a or e."""
    return "e" if is_front(word) else "a"


def high_vowel(word: str) -> str:
    """The vowel of -lI and -(n)In: ı, i, u or ü."""
    if _last_vowel(word) in ROUNDED:
        return "ü" if is_front(word) else "u"
    return "i" if is_front(word) else "ı"


def soften(word: str) -> str:
    """The stem before a suffix that begins with a vowel: tabak -> tabağ, renk -> reng."""
    for ending, stem in SOFTENED.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + stem
    syllables = sum(letter in VOWELS for letter in word.split()[-1])
    if word.endswith("k") and word[-2] in VOWELS and syllables > 1:
        return word[:-1] + "ğ"
    return word


def with_li(word: str) -> str:
    """-lI, "having": lale -> laleli, yıldız -> yıldızlı, boynuz -> boynuzlu."""
    return f"{word}l{high_vowel(word)}"


def genitive(word: str) -> str:
    """-(n)In, "of": vazo -> vazonun, tabak -> tabağın."""
    buffer = "n" if word[-1] in VOWELS else ""
    return f"{soften(word)}{buffer}{high_vowel(word)}n"


def possessive(word: str) -> str:
    """-(s)I, "its": gövde -> gövdesi, yüz -> yüzü, üslup -> üslubu."""
    buffer = "s" if word[-1] in VOWELS else ""
    return f"{soften(word)}{buffer}{high_vowel(word)}"


def locative(word: str, *, possessed: bool = False) -> str:
    """-DA, "in, on": masa -> masada, taş -> taşta; after a possessive gövdesi -> gövdesinde."""
    consonant = "nd" if possessed else "t" if word[-1] in VOICELESS else "d"
    return f"{word}{consonant}{low_vowel(word)}"


def instrumental(word: str) -> str:
    """-(y)lA, "with": lale -> laleyle, motifi -> motifiyle, taş -> taşla."""
    buffer = "y" if word[-1] in VOWELS else ""
    return f"{word}{buffer}l{low_vowel(word)}"


def _last_vowel(word: str) -> str:
    return next(letter for letter in reversed(word) if letter in VOWELS)
