"""The registry of hosts: the objects that carry ornament, and the words for their forms."""

from collections.abc import Callable
from dataclasses import dataclass

from otuken_jax.data.motifs import buildings, furnishings, metalware, monuments, stones, vessels
from otuken_jax.data.motifs.charts import Surface

Levels = tuple[str, str, str]


@dataclass(frozen=True)
class Host:
    """Nouns, the part that carries ornament, adjectives of the form, and the builder.

    An adjective of one word comes first or last: in "ince ve sivri tepeli" it may be the top that
    is thin.

    `jitter` is how far, in levels, a shape may be from what its adjectives say: so little that two
    shapes with the same adjectives have an IoU of at least 0.95. A flat face that lies on cell
    centres turns a whole layer of cells over at once, so some hosts have less, or none.
    """

    name: str
    english: str
    face: str
    form: tuple[Levels, Levels, Levels]
    build: Callable[[float, float, float, float], Surface]
    jitter: float = 0.015
    material: str = "clay"  # of PLAIN_COLORS


VESSEL_HEIGHTS = ("bodur", "orta boylu", "ince uzun")
HEIGHTS = ("alçak", "orta yükseklikte", "yüksek")
THICKNESSES = ("ince", "orta kalınlıkta", "kalın")

HOSTS: dict[str, Host] = {
    "vazo": Host(
        "vazo",
        "vase",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("silindirik gövdeli", "oval gövdeli", "şişkin karınlı"),
            ("kısa boyunlu", "orta uzunlukta boyunlu", "uzun boyunlu"),
        ),
        vessels.vase,
        jitter=0.006,
    ),
    "surahi": Host(
        "sürahi",
        "bottle",
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
        "bowl",
        "dış yüz",
        (
            ("sığ", "orta derinlikte", "derin"),
            ("konik gövdeli", "yuvarlak gövdeli", "dik kenarlı"),
            ("alçak ayaklı", "orta boy ayaklı", "yüksek ayaklı"),
        ),
        vessels.bowl,
        jitter=0.002,
    ),
    "tabak": Host(
        "tabak",
        "dish",
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
        "tile",
        "ön yüz",
        (
            ("yatay dikdörtgen biçimli", "kare biçimli", "dikey dikdörtgen biçimli"),
            ("keskin köşeli", "hafif pahlı", "geniş pahlı"),
            THICKNESSES,
        ),
        monuments.tile,
    ),
    "samdan": Host(
        "şamdan",
        "candlestick",
        "kaide",
        (
            VESSEL_HEIGHTS,
            ("konik kaideli", "çan biçimli kaideli", "silindirik kaideli"),
            ("tablasız", "küçük tablalı", "geniş tablalı"),
        ),
        vessels.candlestick,
        material="metal",
    ),
    "kumbet": Host(
        "kümbet",
        "tomb tower",
        "gövde",
        (
            HEIGHTS,
            ("basık külahlı", "orta boy külahlı", "sivri külahlı"),
            ("kare planlı", "sekizgen planlı", "yuvarlak planlı"),
        ),
        monuments.tomb_tower,
        jitter=0.006,
        material="masonry",
    ),
    "otag": Host(
        "otağ",
        "tent",
        "yan yüz",
        (
            HEIGHTS,
            ("basık çatılı", "kubbeli", "sivri çatılı"),
            ("dar tündüklü", "orta boy tündüklü", "geniş tündüklü"),
        ),
        monuments.tent,
        jitter=0.006,
        material="felt",
    ),
    "testi": Host(
        "testi",
        "jug",
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
        "inscribed stele",
        "ön yüz",
        (
            ("geniş", "orta genişlikte", "dar"),
            ("düz tepeli", "yuvarlak tepeli", "sivri tepeli"),
            THICKNESSES,
        ),
        monuments.stele,
        material="stone",
    ),
    "ibrik": Host(
        "ibrik",
        "ewer",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("armudi gövdeli", "küresel gövdeli", "geniş omuzlu"),
            ("kısa emzikli", "orta boy emzikli", "uzun emzikli"),
        ),
        metalware.ewer,
        material="metal",
    ),
    "kandil": Host(
        "kandil",
        "mosque lamp",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("armudi gövdeli", "küresel gövdeli", "geniş omuzlu"),
            ("dar ağızlı", "orta genişlikte ağızlı", "geniş ağızlı"),
        ),
        metalware.mosque_lamp,
    ),
    "buhurdan": Host(
        "buhurdan",
        "incense burner",
        "kapak",
        (
            ("basık kapaklı", "orta boy kapaklı", "yüksek kapaklı"),
            ("kısa saplı", "orta boy saplı", "uzun saplı"),
            ("kısa ayaklı", "orta boy ayaklı", "uzun ayaklı"),
        ),
        metalware.burner,
        material="metal",
    ),
    "gulabdan": Host(
        "gülabdan",
        "rose-water sprinkler",
        "gövde",
        (
            ("kısa boyunlu", "orta uzunlukta boyunlu", "uzun boyunlu"),
            ("şişkin karınlı", "küresel gövdeli", "oval gövdeli"),
            ("alçak ayaklı", "orta boy ayaklı", "yüksek ayaklı"),
        ),
        metalware.sprinkler,
        material="metal",
    ),
    "semaver": Host(
        "semaver",
        "samovar",
        "gövde",
        (
            VESSEL_HEIGHTS,
            ("silindirik gövdeli", "oval gövdeli", "konik gövdeli"),
            ("alçak kaideli", "orta boy kaideli", "yüksek kaideli"),
        ),
        metalware.samovar,
        material="metal",
    ),
    "migfer": Host(
        "miğfer",
        "helmet",
        "tepe",
        (
            ("sivri tepeli", "orta yükseklikte tepeli", "şişkin tepeli"),
            ("düz yüzeyli", "hafif dilimli", "derin dilimli"),
            ("kısa yanaklıklı", "orta boy yanaklıklı", "uzun yanaklıklı"),
        ),
        metalware.helmet,
        material="metal",
    ),
    "tug": Host(
        "tuğ",
        "horse-tail standard",
        "küre",
        (
            ("kısa püsküllü", "orta boy püsküllü", "uzun püsküllü"),
            ("küçük küreli", "orta boy küreli", "büyük küreli"),
            ("ince gönderli", "orta kalınlıkta gönderli", "kalın gönderli"),
        ),
        metalware.standard,
        jitter=0.006,
        material="metal",
    ),
    "mezartasi": Host(
        "mezar taşı",
        "turbaned tombstone",
        "ön yüz",
        (
            ("geniş", "orta genişlikte", "dar"),
            ("alçak kavuklu", "orta boy kavuklu", "yüksek kavuklu"),
            THICKNESSES,
        ),
        stones.turbaned_stone,
        material="stone",
    ),
    "kocmezar": Host(
        "koçbaşlı mezar taşı",
        "ram-headed tombstone",
        "yan yüz",
        (
            ("tıknaz gövdeli", "orta boy gövdeli", "uzun gövdeli"),
            ("küçük boynuzlu", "orta boy boynuzlu", "büyük boynuzlu"),
            ("alçak kaideli", "orta boy kaideli", "yüksek kaideli"),
        ),
        stones.ram,
        material="stone",
    ),
    "ahlat": Host(
        "Ahlat şahidesi",
        "Ahlat stele",
        "ön yüz",
        (
            ("geniş", "orta genişlikte", "dar"),
            ("düz tepeli", "mukarnas tepeli", "ejder tepeli"),
            THICKNESSES,
        ),
        stones.ahlat_stele,
        jitter=0.002,
        material="stone",
    ),
    "balbal": Host(
        "balbal",
        "standing stone",
        "ön yüz",
        (
            ("geniş", "orta genişlikte", "dar"),
            ("düz tepeli", "yuvarlak tepeli", "sivri tepeli"),
            ("dik duran", "hafif eğik", "çok eğik"),
        ),
        stones.balbal,
        material="stone",
    ),
    "tasbaba": Host(
        "taşbaba",
        "stone ancestor figure",
        "etek",
        (
            ("dar omuzlu", "orta genişlikte omuzlu", "geniş omuzlu"),
            ("küçük başlı", "orta boy başlı", "büyük başlı"),
            THICKNESSES,
        ),
        stones.ancestor,
        material="stone",
    ),
    "sanduka": Host(
        "sanduka",
        "cenotaph",
        "yan yüz",
        (
            HEIGHTS,
            ("düz kapaklı", "hafif eğimli kapaklı", "dik eğimli kapaklı"),
            ("kaidesiz", "alçak kaideli", "yüksek kaideli"),
        ),
        stones.cenotaph,
        jitter=0.0,
        material="stone",
    ),
    "kubbe": Host(
        "kubbe",
        "dome",
        "dış yüz",
        (
            ("basık", "yarım küre biçimli", "sivri"),
            ("alçak kasnaklı", "orta boy kasnaklı", "yüksek kasnaklı"),
            ("düz yüzeyli", "hafif dilimli", "derin dilimli"),
        ),
        buildings.dome,
        jitter=0.002,
        material="masonry",
    ),
    "minare": Host(
        "minare",
        "minaret",
        "gövde",
        (
            ("ince gövdeli", "orta kalınlıkta gövdeli", "kalın gövdeli"),
            ("dar şerefeli", "orta genişlikte şerefeli", "geniş şerefeli"),
            ("kısa külahlı", "orta boy külahlı", "uzun külahlı"),
        ),
        buildings.minaret,
        material="masonry",
    ),
    "tackapi": Host(
        "taçkapı",
        "portal",
        "alınlık",
        (
            ("dar", "orta genişlikte", "geniş"),
            ("alçak nişli", "orta boy nişli", "yüksek nişli"),
            ("yuvarlak kemerli", "sivri kemerli", "mukarnas kavsaralı"),
        ),
        buildings.portal,
        material="masonry",
    ),
    "mihrap": Host(
        "mihrap",
        "prayer niche",
        "niş",
        (
            ("dar", "orta genişlikte", "geniş"),
            ("sığ nişli", "orta derinlikte nişli", "derin nişli"),
            ("düz taçlı", "yuvarlak taçlı", "sivri taçlı"),
        ),
        buildings.prayer_niche,
        material="masonry",
    ),
    "sutunbasligi": Host(
        "sütun başlığı",
        "capital",
        "gövde",
        (
            HEIGHTS,
            ("içbükey gövdeli", "düz gövdeli", "dışbükey gövdeli"),
            ("ince tablalı", "orta kalınlıkta tablalı", "kalın tablalı"),
        ),
        buildings.capital,
        jitter=0.002,
        material="masonry",
    ),
    "cesme": Host(
        "çeşme",
        "fountain",
        "ayna",
        (
            ("dar", "orta genişlikte", "geniş"),
            ("saçaksız", "hafif çıkık saçaklı", "çok çıkık saçaklı"),
            ("küçük tekneli", "orta boy tekneli", "büyük tekneli"),
        ),
        buildings.fountain,
        jitter=0.0,
        material="masonry",
    ),
    "ritonhitit": Host(
        "riton",
        "animal rhyton",
        "yan yüz",
        (
            ("kısa boynuzlu", "orta boy boynuzlu", "uzun boynuzlu"),
            ("dar ağızlı", "orta genişlikte ağızlı", "geniş ağızlı"),
            ("kısa bacaklı", "orta boy bacaklı", "uzun bacaklı"),
        ),
        furnishings.rhyton,
    ),
    "rahle": Host(
        "rahle",
        "folding book stand",
        "ön yüz",
        (
            ("az açılmış", "yarı açılmış", "çok açılmış"),
            ("alçak kemerli", "orta boy kemerli", "yüksek kemerli"),
            ("dar", "orta genişlikte", "geniş"),
        ),
        furnishings.book_stand,
        jitter=0.0,
        material="wood",
    ),
    "kemertokasi": Host(
        "kemer tokası",
        "belt plaque",
        "ön yüz",
        (
            ("dar", "orta genişlikte", "geniş"),
            ("keskin köşeli", "yuvarlak köşeli", "oval biçimli"),
            THICKNESSES,
        ),
        furnishings.belt_plaque,
        material="metal",
    ),
    "kilim": Host(
        "kilim panosu",
        "kilim panel",
        "ön yüz",
        (
            ("yatay dikdörtgen biçimli", "kare biçimli", "dikey dikdörtgen biçimli"),
            ("kısa saçaklı", "orta boy saçaklı", "uzun saçaklı"),
            ("düz", "hafif dalgalı", "çok dalgalı"),
        ),
        furnishings.kilim,
        jitter=0.006,
        material="felt",
    ),
    "nazarboncuk": Host(
        "nazar boncuğu",
        "evil-eye bead",
        "ön yüz",
        (
            THICKNESSES,
            ("yuvarlak biçimli", "oval biçimli", "damla biçimli"),
            ("küçük delikli", "orta boy delikli", "büyük delikli"),
        ),
        furnishings.bead,
        material="glass",
    ),
}
