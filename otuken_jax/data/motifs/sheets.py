"""Pictures of the library: a motif flat or on a host, and contact sheets of all."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from otuken_jax.data.motifs.applications import LAYOUTS, TECHNIQUES
from otuken_jax.data.motifs.drawing import GROUPS
from otuken_jax.data.motifs.english import FORMS
from otuken_jax.data.motifs.fields import MOTIFS, motif_field
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.recipes import Recipe
from otuken_jax.data.motifs.shapes import solid_mesh
from otuken_jax.data.motifs.styles import STYLES
from otuken_jax.data.motifs.table import (
    HOST_ONLY,
    NEVER,
    PIERCED_HOSTS,
    ROOMY,
    SMALL_CELLS,
    STONES,
    styles_of,
)
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import write_atomic
from otuken_jax.geometry.render import contact_sheet, render_mesh, save_png

COLUMNS, PICTURE = 5, 190
HOST_RESOLUTION = 64
INK, PAPER = (27, 42, 107), (244, 241, 232)
INTRODUCTION = """# Motifler / Motifs

{count} motif, {hosts} obje, {styles} üslup. Her motif [-1, 1]² üzerinde işaretli bir uzaklık
alanıdır ve objenin haritasına (u, v) oturur. Şekiller genel bilgiden çizilmiştir; bu sayfayı
`python -m otuken_jax.motifs sheets --out docs` yazar.

{count} motifs, {hosts} hosts, {styles} styles. Each motif is a signed distance field on [-1, 1]²
that sits on the chart (u, v) of a host. The shapes are drawn from general knowledge; this page is
written by `python -m otuken_jax.motifs sheets --out docs`.
"""


def flat_picture(name: str, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """One cell of a motif, ink on paper, with smooth edges."""
    c = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    field = motif_field(name, *np.meshgrid(c, c, indexing="ij")).T[::-1]
    cover = np.clip(0.5 - field * (size / 2), 0, 1)[..., None]
    return np.rint(cover * INK + (1 - cover) * PAPER).astype(np.uint8)


def recipe_of(
    motif: str,
    host: str,
    style: str | None = None,
    *,
    palette: int = 0,
    technique: str | None = None,
    layout: str = "row",
) -> Recipe:
    """A recipe by its names, in the middle form; the style by the table if none is given.

    Raises:
        UserError: a name is unknown, or the palette's number too high.
    """
    if style is None:
        known = styles_of(host, motif) if host in HOSTS else ()
        style = known[0] if known else next(iter(STYLES))
    asked = {
        "host": (host, HOSTS),
        "style": (style, STYLES),
        "technique": (technique, TECHNIQUES),
        "layout": (layout, LAYOUTS),
    }
    for kind, (name, registry) in asked.items():
        if name is not None and name not in registry:
            raise UserError(f"no {kind} {name!r}; choose among {', '.join(registry)}")
    if not 0 <= palette < len(STYLES[style].palettes):
        raise UserError(f"{style} has palettes 0 to {len(STYLES[style].palettes) - 1}")
    return Recipe(host, motif, style, palette, (1, 1, 1), 0, technique, layout)


def plain_recipe(host: str) -> Recipe:
    """A host without ornament, in the middle form."""
    return Recipe(host, None, None, 0, (1, 1, 1), 0)


def host_picture(name: str) -> UInt8[np.ndarray, "size size 3"]:
    """A host without ornament on the contact sheet."""
    return render_mesh(solid_mesh(plain_recipe(name), HOST_RESOLUTION, 32), PICTURE)


def write_sheets(directory: Path) -> list[Path]:
    """Writes motifs.md and its contact sheets beside it; returns the paths."""
    sheets = {}
    for group in GROUPS:
        names = [name for name, motif in MOTIFS.items() if motif.group == group]
        images = [flat_picture(name, PICTURE) for name in names]
        captions = [f"{MOTIFS[name].name}\n{MOTIFS[name].english}" for name in names]
        sheets[group] = contact_sheet(images, captions, COLUMNS)
    images = [host_picture(host) for host in HOSTS]
    captions = [f"{host.name}\n{host.english}" for host in HOSTS.values()]
    sheets["objeler"] = contact_sheet(images, captions, COLUMNS)
    paths = [directory / "motifs.md"]
    write_atomic(paths[0], motifs_page().encode())
    for name, sheet in sheets.items():
        paths.append(directory / "motifs" / f"{name}.png")
        save_png(sheet.quantize(64, dither=Image.Dither.NONE), paths[-1])
    return paths


def motifs_page() -> str:
    """Names and meanings of all motifs beside their pictures, the hosts, and the table of uses."""
    sections = [INTRODUCTION.format(count=len(MOTIFS), hosts=len(HOSTS), styles=len(STYLES))]
    for group, (turkish, english) in GROUPS.items():
        sections.append(f"\n## {turkish} / {english}\n\n![{turkish}](motifs/{group}.png)\n")
        sections.append("| ad | motif | anlam | name | meaning |\n|---|---|---|---|---|")
        sections += [
            f"| `{name}` | {m.name} | {m.meaning} | {m.english} | {m.meaning_english} |"
            for name, m in MOTIFS.items()
            if m.group == group
        ]
    sections += [_table_of_hosts(), _table_of_styles(), _table_of_uses(), _table_of_ways()]
    return "\n".join(sections) + "\n"


def _table_of_hosts() -> str:
    """The hosts beside their picture, the face that carries ornament, and words for their forms."""
    lines = [
        "\n## Objeler / Hosts\n\n![Objeler](motifs/objeler.png)\n",
        "| ad | obje | host | bezenen yer | biçim | form |\n|---|---|---|---|---|---|",
    ]
    for key, host in HOSTS.items():
        form = "; ".join(", ".join(levels) for levels in host.form)
        english = "; ".join(", ".join(FORMS[word] for word in levels) for levels in host.form)
        lines.append(
            f"| `{key}` | {host.name} | {host.english} | {host.face} | {form} | {english} |"
        )
    return "\n".join(lines)


def _table_of_styles() -> str:
    """The styles' palettes, the ground before the ornament, in both languages."""
    lines = [
        "\n## Üsluplar / Styles\n",
        "| ad | üslup | style | renkler (zemin, motif) | colours (ground, motif) |",
        "|---|---|---|---|---|",
    ]
    for key, style in STYLES.items():
        turkish = "; ".join(f"{p.ground.name}, {p.motif.name}" for p in style.palettes)
        english = "; ".join(f"{p.ground.english}, {p.motif.english}" for p in style.palettes)
        lines.append(f"| `{key}` | {style.name} | {style.english} | {turkish} | {english} |")
    return "\n".join(lines)


def _names(keys: Iterable[str], registry: dict) -> str:
    """Turkish names in a cell, English ones in the next."""
    entries = [registry[key] for key in keys]
    return " | ".join(", ".join(getattr(e, n) for e in entries) for n in ("name", "english"))


def _table_of_uses() -> str:
    """Which style puts which motifs on which hosts, in Markdown."""
    lines = [
        "\n## Hangi motif, hangi obje, hangi üslup / What goes with what\n",
        "| ad | objeler | hosts | motifler | motifs |\n|---|---|---|---|---|",
    ]
    for style in STYLES:
        pairs = [p for p in product(HOSTS, MOTIFS) if style in styles_of(*p)]
        hosts, motifs = ({p[i] for p in pairs} for i in (0, 1))
        in_order = _names((h for h in HOSTS if h in hosts), HOSTS)
        in_order += " | " + _names((m for m in MOTIFS if m in motifs), MOTIFS)
        lines.append(f"| `{style}` | {in_order} |")
    lines.append("\nYan yana gelmeyenler / Never together:\n")
    lines.append("| objeler | hosts | motifler | motifs | neden | why |\n|---|---|---|---|---|---|")
    for hosts, motifs, why, neden in NEVER:
        barred = f"{_names(hosts.split(), HOSTS)} | {_names(motifs.split(), MOTIFS)}"
        lines.append(f"| {barred} | {neden} | {why} |")
    for host, motifs in HOST_ONLY.items():
        only, only_english = _names(motifs, MOTIFS).split(" | ")
        lines.append(
            f"\n{HOSTS[host].name}: yalnız {only} / {HOSTS[host].english}: {only_english}."
        )
    return "\n".join(lines)


def _table_of_ways() -> str:
    """Techniques and layouts, and the hosts that they are kept to."""
    bound = {
        "color": [host for host in HOSTS if host not in STONES],
        "pierced": PIERCED_HOSTS,
        "border": ROOMY,
        "allover": ROOMY,
    }
    lines = ["\n## Uygulama ve düzen / Techniques and layouts"]
    for turkish, english, registry in (
        ("uygulama", "technique", TECHNIQUES),
        ("düzen", "layout", LAYOUTS),
    ):
        lines.append(f"\n| ad | {turkish} | {english} | objeler | hosts |\n|---|---|---|---|---|")
        for key, way in registry.items():
            hosts = _names(bound[key], HOSTS) if key in bound else "hepsi | all"
            lines.append(f"| `{key}` | {way.name} | {way.english} | {hosts} |")
    lines.append(
        f"\n`border` ve `allover` {SMALL_CELLS}³ ızgaradan başlayarak, ince motifler olmadan; "
        "`pierced` yalnız dağılmadan kesilebilen motiflerle."
        f"\n\n`border` and `allover` from a {SMALL_CELLS}³ grid on, without the finest motifs; "
        "`pierced` with motifs that leave no loose piece."
    )
    return "\n".join(lines)
