"""The registry of hosts: the objects that carry ornament, and the words for their forms."""

from collections.abc import Callable
from dataclasses import dataclass

from otuken_jax.data.motifs import monuments, vessels
from otuken_jax.data.motifs.charts import Surface

Levels = tuple[str, str, str]


@dataclass(frozen=True)
class Host:
    """Turkish noun, the part that carries ornament, adjectives of the form, and the builder."""

    name: str
    face: str
    form: tuple[Levels, Levels, Levels]
    build: Callable[[float, float, float, float], Surface]


VESSEL_HEIGHTS = ("bodur", "orta boylu", "ince uzun")
HEIGHTS = ("alçak", "orta yükseklikte", "yüksek")
THICKNESSES = ("ince", "orta kalınlıkta", "kalın")

HOSTS: dict[str, Host] = {
    "vazo": Host(
        "vazo",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("silindirik gövdeli", "oval gövdeli", "şişkin karınlı"),
            ("kısa boyunlu", "orta boy boyunlu", "uzun boyunlu"),
        ),
        vessels.vase,
    ),
    "surahi": Host(
        "sürahi",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("armudi gövdeli", "küresel gövdeli", "geniş omuzlu"),
            ("ince boyunlu", "orta kalınlıkta boyunlu", "kalın boyunlu"),
        ),
        vessels.bottle,
    ),
    "kase": Host(
        "kâse",
        "dış yüz",
        (
            ("sığ", "orta derinlikte", "derin"),
            ("konik gövdeli", "yuvarlak gövdeli", "dik kenarlı"),
            ("alçak ayaklı", "orta boy ayaklı", "yüksek ayaklı"),
        ),
        vessels.bowl,
    ),
    "tabak": Host(
        "tabak",
        "iç yüz",
        (
            ("yayvan", "hafif çukur", "çukur"),
            ("dar dipli", "orta genişlikte dipli", "geniş dipli"),
            ("yuvarlak kenarlı", "sekizgen kenarlı", "dilimli kenarlı"),
        ),
        vessels.dish,
    ),
    "cini": Host(
        "karo çini",
        "ön yüz",
        (
            ("yatay dikdörtgen biçimli", "kare biçimli", "dikey dikdörtgen biçimli"),
            THICKNESSES,
            ("keskin köşeli", "hafif pahlı", "geniş pahlı"),
        ),
        monuments.tile,
    ),
    "samdan": Host(
        "şamdan",
        "kaide",
        (
            VESSEL_HEIGHTS,
            ("konik kaideli", "çan biçimli kaideli", "silindirik kaideli"),
            ("tablasız", "küçük tablalı", "geniş tablalı"),
        ),
        vessels.candlestick,
    ),
    "kumbet": Host(
        "kümbet",
        "gövde",
        (
            HEIGHTS,
            ("basık külahlı", "orta boy külahlı", "sivri külahlı"),
            ("kare planlı", "sekizgen planlı", "yuvarlak planlı"),
        ),
        monuments.tomb_tower,
    ),
    "otag": Host(
        "otağ",
        "yan yüz",
        (
            HEIGHTS,
            ("basık çatılı", "kubbeli", "sivri çatılı"),
            ("dar tündüklü", "orta boy tündüklü", "geniş tündüklü"),
        ),
        monuments.tent,
    ),
    "testi": Host(
        "testi",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("armudi gövdeli", "küresel gövdeli", "geniş omuzlu"),
            ("küçük kulplu", "orta boy kulplu", "büyük kulplu"),
        ),
        vessels.jug,
    ),
    "bengutas": Host(
        "bengü taş",
        "ön yüz",
        (
            ("geniş", "orta genişlikte", "dar"),
            THICKNESSES,
            ("düz tepeli", "yuvarlak tepeli", "sivri tepeli"),
        ),
        monuments.stele,
    ),
}
