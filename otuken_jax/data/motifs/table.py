"""Which motif goes on which host in which style, and how: a balbal carries no lale.

The table is of use, not of force: a selection that names its hosts, motifs and styles may combine
them freely.
"""

from functools import cache

import numpy as np
from scipy.ndimage import label

from otuken_jax.data.motifs.fields import MOTIFS, motif_field
from otuken_jax.data.motifs.styles import STYLES

STYLE_HOSTS = {
    "hitit": "testi kase vazo ritonhitit kemertokasi",
    "bozkir": "kemertokasi tug otag kase migfer tasbaba",
    "gokturk": "balbal tasbaba bengutas otag tug kemertokasi",
    "uygur": "kase vazo testi cini otag tasbaba",
    "karahanli": "minare kumbet tackapi kubbe kase sanduka",
    "selcuklu": "cini kase samdan buhurdan kandil ibrik kumbet minare tackapi mihrap rahle "
    "sutunbasligi ahlat sanduka migfer",
    "beylikler": "cini kumbet tackapi mihrap kubbe mezartasi rahle sanduka kandil",
    "akkoyunlu": "kocmezar ahlat sanduka kase samdan",
    "erkenosmanli": "cini kase tabak surahi kandil kubbe minare samdan migfer nazarboncuk",
    "iznik": "vazo surahi kase tabak cini kandil ibrik mihrap",
    "saz": "cini tabak surahi vazo kase",
    "laledevri": "cesme vazo surahi kase cini tabak gulabdan mezartasi",
    "barok": "cesme semaver gulabdan ibrik mezartasi sutunbasligi vazo mihrap kubbe buhurdan",
    "kutahya": "tabak kase cini ibrik vazo gulabdan kandil testi",
    "canakkale": "testi tabak vazo ibrik kase semaver",
    "kilim": "kilim otag",
}
STYLE_MOTIFS = {
    "hitit": "guneskursu aslan geyik carkifelek rozet meandr nar palmet lotus suyolu hayatagaci "
    "orgu baklava",
    "bozkir": "geyik aslan bozkurt kecitamga ejder ciftkartal balik kocboynuzu carkifelek "
    "hayatagaci tamga orgu palmet kurtizi cengel akrep bukagi",
    "gokturk": "tamga im kecitamga bozkurt geyik hilal kocboynuzu hayatagaci",
    "uygur": "lotus bulut ejder palmet hayatagaci rozet penc baklava orgu uzum hatayi",
    "karahanli": "kufi yildiz8 yildiz12 baklava girih orgu petek zencerek meandr carkifelek "
    "turkucgen",
    "selcuklu": "yildiz8 yildiz12 hacvari girih mukarnas rumi palmet ciftkartal aslan ejder kufi "
    "zencerek orgu baklava petek muhur rozet carkifelek hayatagaci balik munhani penc nar sebeke",
    "beylikler": "turkucgen munhani rumi girih palmet yildiz8 muhur penc hatayi zencerek semse "
    "rozet sebeke mukarnas",
    # Women's stones show what a bride brings and wears.
    "akkoyunlu": "kocboynuzu tamga im hilal rozet rumi penc kecitamga muhur selvi hayatagaci "
    "palmet carkifelek tarak kupe sacbagi sandik",
    "erkenosmanli": "hatayi rumi bulut penc petek palmet lotus munhani zencerek semse gonca uzum "
    "sebeke tugra",
    "iznik": "lale karanfil gul sumbul nergis hatayi penc gonca saz bahar uzum nar enginar selvi "
    "cintemani pelengi bulut rumi semse zambak susen menekse petek",
    "saz": "saz hatayi penc gonca bulut rumi bahar nar enginar",
    "laledevri": "lale gul karanfil sumbul nergis zambak menekse susen gonca selvi uzum nar bahar "
    "semse",
    "barok": "akantus gul palmet uzum rozet semse tugra hilal bahar menekse",
    "kutahya": "karanfil gul lale penc rozet nar uzum selvi balik menekse bahar zencerek",
    "canakkale": "rozet penc gul karanfil balik geyik lale hilal selvi bahar uzum elibelinde "
    "bereket muska pitrak goz suyolu",
    "kilim": "elibelinde kocboynuzu bereket hayatagaci goz muska pitrak kurtizi akrep kupe sacbagi "
    "tarak bukagi sandik cengel ejder im baklava suyolu meandr muhur yildiz8 carkifelek",
}
# Hosts that carry nothing else, in any style that makes them: glass is no kilim, though its eye is.
HOST_ONLY = {"nazarboncuk": ("goz",)}
# Pairs that no style makes, though it has both: hosts, motifs, and why, in both languages.
NEVER = (
    (
        "mihrap minare kubbe kandil rahle sanduka",
        "aslan geyik balik bozkurt kecitamga ciftkartal ejder",
        "no living beings where people pray, beside the Book, or on the cenotaph inside a tomb",
        "ibadet edilen yerde, Kitap'ın yanında ve türbe içindeki sandukada canlı resmi olmaz",
    ),
    (
        "cini kase samdan buhurdan kandil ibrik rahle sanduka migfer",
        "mukarnas",
        "its tiers carry a vault, a cornice or a capital",
        "sıraları tonoz, saçak ya da sütun başlığı taşır",
    ),
    (
        "cini kase kandil rahle mezartasi sanduka",
        "turkucgen",
        "the belt stands between a square room and its dome",
        "bu kuşak kare odayla kubbesi arasında durur",
    ),
    (
        "minare kubbe mihrap mezartasi",
        "tugra",
        "the sultan signs for this world",
        "sultan tuğrasını dünya işleri için çeker",
    ),
    (
        "kase samdan",
        "tarak kupe sacbagi sandik",
        "a woman's comb, jewels and trousseau are shown on her stone",
        "kadının tarağı, takısı ve çeyizi mezar taşında gösterilir",
    ),
    (
        "kase tabak surahi migfer samdan ibrik mihrap sanduka",
        "sebeke",
        "a grille lets light or air through",
        "kafes ışık ya da hava geçirir",
    ),
)
TEXTILES = ("otag", "kilim")  # nothing is carved into felt or a weave
STONES = ("balbal", "tasbaba", "bengutas", "kocmezar", "ahlat", "mezartasi")  # never painted alone
PIERCED_HOSTS = ("cini", "kandil", "buhurdan")  # thin enough to cut through
TOO_OPEN = {"buhurdan": ("petek", "gul")}  # motifs that would break the lid's top off
BRIDGE = 0.1  # chart units: a voxel and a half of a 64^3 grid
SMALL_CELLS = 64  # coarsest grid that shows cells of half the size
# Hosts whose face has room for them: strokes of two voxels, for the greater part.
ROOMY = (
    "vazo",
    "surahi",
    "kase",
    "tabak",
    "cini",
    "samdan",
    "otag",
    "testi",
    "bengutas",
    "semaver",
    "minare",
    "sutunbasligi",
    "ritonhitit",
)
# Too fine for them on any host.
FINE = [
    "girih",
    "mukarnas",
    "turkucgen",
    "kufi",
    "tugra",
    "bereket",
    "pitrak",
    "akrep",
    "sacbagi",
    "tarak",
    "sandik",
    "cengel",
    "ciftkartal",
    "aslan",
    "geyik",
    "hacvari",
    "uzum",
    "bahar",
    "sumbul",
    "saz",
    "kupe",
    "guneskursu",
    "balik",
    "sebeke",
    "enginar",
    "munhani",
    "hayatagaci",
    "kecitamga",
]


def allowed(host: str, motif: str, style: str) -> bool:
    """Whether the style puts the motif on the host."""
    return (
        host in STYLE_HOSTS[style].split()
        and motif in HOST_ONLY.get(host, STYLE_MOTIFS[style].split())
        and not any(
            host in hosts.split() and motif in motifs.split() for hosts, motifs, *_ in NEVER
        )
    )


@cache
def styles_of(host: str, motif: str) -> tuple[str, ...]:
    """The styles that put the motif on the host, in the library's order."""
    return tuple(style for style in STYLES if allowed(host, motif, style))


def own_technique(host: str, style: str) -> str:
    """How the style does an ornament on the host if nothing else is asked for."""
    raised = STYLES[style].relief > 0 or host in TEXTILES
    return "relief" if raised else "engraving"


def techniques_of(host: str, motif: str, style: str) -> list[str]:
    """Techniques for the motif on the host, besides the style's own."""
    names = [t for t in STYLES[style].techniques if t not in ("pierced", "color")]
    if host in TEXTILES:
        names = []
    if "color" in STYLES[style].techniques and host not in STONES:
        names.append("color")
    if (
        "pierced" in STYLES[style].techniques
        and host in PIERCED_HOSTS
        and (motif not in FINE or MOTIFS[motif].lattice)
        and is_pierceable(motif)
        and motif not in TOO_OPEN.get(host, ())
    ):
        names.append("pierced")
    return names


def layouts_of(host: str, motif: str, resolution: int) -> list[str]:
    """Layouts for the motif on the host besides one row, on a grid of resolution^3."""
    if host in HOST_ONLY:  # the motif is the object
        return []
    roomy = host in ROOMY and motif not in FINE and resolution >= SMALL_CELLS
    running = MOTIFS[motif].group == "bordur" or MOTIFS[motif].lattice
    return (["border", "allover"] if roomy else []) + ([] if running else ["medallion"])


@cache
def is_pierceable(motif: str) -> bool:
    """Whether cutting the motif out of a wall (of a lattice: its ground) drops no loose piece.

    Nor may more than specks hang by less than `BRIDGE`.
    """
    c = ((np.arange(64) + 0.5) / 32 - 1).astype(np.float32)
    field = motif_field(motif, *np.meshgrid(c, c, indexing="ij"))
    depth = -field if MOTIFS[motif].lattice else np.pad(field, 1, constant_values=2)
    held, _ = label(depth > BRIDGE / 2)
    sizes = np.bincount(held[held > 0])
    return int(label(depth > 0)[1]) == 1 and bool(sizes.max() > 0.99 * sizes.sum())
