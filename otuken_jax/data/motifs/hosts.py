"""The registry of hosts: the objects that carry ornament, and the words for their forms."""

from collections.abc import Callable
from dataclasses import dataclass

from otuken_jax.data.motifs import monuments, vessels
from otuken_jax.data.motifs.charts import Surface


@dataclass(frozen=True)
class Host:
    """Turkish noun, the adjectives of its three form attributes by level, and its builder."""

    name: str
    form: tuple[tuple[str, str, str], tuple[str, str, str], tuple[str, str, str]]
    build: Callable[[float, float, float, float], Surface]


HOSTS: dict[str, Host] = {
    "vazo": Host(
        "vazo",
        (
            ("bodur", "orta boylu", "ince uzun"),
            ("silindirik gövdeli", "oval gövdeli", "şişkin karınlı"),
            ("kısa boyunlu", "orta boyunlu", "uzun boyunlu"),
        ),
        vessels.vase,
    ),
    "surahi": Host(
        "sürahi",
        (
            ("bodur", "orta boylu", "ince uzun"),
            ("armut gövdeli", "küre gövdeli", "omuzlu gövdeli"),
            ("ince boyunlu", "orta kalınlıkta boyunlu", "kalın boyunlu"),
        ),
        vessels.bottle,
    ),
    "kase": Host(
        "kâse",
        (
            ("sığ", "orta derinlikte", "derin"),
            ("açık ağızlı", "yuvarlak gövdeli", "dik kenarlı"),
            ("alçak ayaklı", "orta ayaklı", "yüksek ayaklı"),
        ),
        vessels.bowl,
    ),
    "tabak": Host(
        "tabak",
        (
            ("yayvan", "hafif çukur", "derin"),
            ("dar dipli", "orta dipli", "geniş dipli"),
            ("yuvarlak", "sekizgen", "dilimli kenarlı"),
        ),
        vessels.dish,
    ),
    "cini": Host(
        "karo çini",
        (
            ("enine dikdörtgen", "kare", "boyuna dikdörtgen"),
            ("ince", "orta kalınlıkta", "kalın"),
            ("köşeli", "hafif pahlı", "geniş pahlı"),
        ),
        monuments.tile,
    ),
    "samdan": Host(
        "şamdan",
        (
            ("bodur", "orta boylu", "ince uzun"),
            ("konik tabanlı", "çan tabanlı", "silindirik tabanlı"),
            ("tablasız", "küçük tablalı", "geniş tablalı"),
        ),
        vessels.candlestick,
    ),
    "kumbet": Host(
        "kümbet",
        (
            ("alçak", "orta yükseklikte", "yüksek"),
            ("basık külahlı", "orta külahlı", "sivri külahlı"),
            ("kare planlı", "sekizgen planlı", "yuvarlak planlı"),
        ),
        monuments.tomb_tower,
    ),
    "otag": Host(
        "otağ",
        (
            ("alçak", "orta yükseklikte", "yüksek"),
            ("basık çatılı", "kubbe çatılı", "sivri çatılı"),
            ("dar tündüklü", "orta tündüklü", "geniş tündüklü"),
        ),
        monuments.tent,
    ),
    "testi": Host(
        "testi",
        (
            ("bodur", "orta boylu", "ince uzun"),
            ("armut gövdeli", "küre gövdeli", "omuzlu gövdeli"),
            ("küçük kulplu", "orta kulplu", "büyük kulplu"),
        ),
        vessels.jug,
    ),
    "bengutas": Host(
        "bengü taş",
        (
            ("enli", "orta ende", "ince uzun"),
            ("ince", "orta kalınlıkta", "kalın"),
            ("düz tepeli", "yuvarlak tepeli", "sivri tepeli"),
        ),
        monuments.stele,
    ),
}
