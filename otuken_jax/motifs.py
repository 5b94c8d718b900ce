"""The library of Turkish motifs: lists it, draws it, captions it, builds data sets of it.

python -m otuken_jax.motifs list
python -m otuken_jax.motifs render lale --host vazo --style iznik --out lale.png
python -m otuken_jax.motifs render vazo
python -m otuken_jax.motifs build --count 1000 --resolution 64 --seed 0 --out data --meshes glb
python -m otuken_jax.motifs sheets --out docs
python -m otuken_jax.motifs captions --count 300 --seed 1 --out docs/captions.md
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from otuken_jax.errors import Parser, UserError, run_command

if TYPE_CHECKING:
    from otuken_jax.data.motifs.recipes import Recipe

SMALLEST, LARGEST = 16, 256  # resolutions that make sense
MOST = 1_000_000  # shapes: more would take days
# The other splits of a data set have one shape for so many of training.
OTHER_SPLITS = {"val": 20, "heldout_pairs": 20, "heldout_styles": 40, "heldout_phrasing": 40}
CHOICE, MORE = 100, 6  # shapes that a caption may be of; so many the next one cannot be of
SAMPLE = """## Rastgele şekiller / Random shapes

As a data set has them; the captions above were chosen to say every word."""
OTHER_KINDS = """## noun, unfamiliar

A record has three more texts. noun: the object with words for the form of another one ("sivri
külahlı ve yuvarlak planlı bir tabak"). It is no description: the shape is the noun's. Of the host's
captions that training reads, `data.other_form` is this one's share, and the noun alone tells the
host. unfamiliar, unfamiliar_style: the full caption and the style text with made-up names of the
style and often of colours ("Çirre tarzı, dultunuk mavisi üzerine"), in `data.unfamiliar` of what
training reads, so that a name never met does not spoil the words beside it."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m otuken_jax.motifs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    resolution, seed = _within(SMALLEST, LARGEST), _within(0, 2**32 - 1)
    commands.add_parser("list", help="names of all motifs, hosts and styles")

    render = commands.add_parser(
        "render", help="a picture of a motif, flat or on a host, or of a plain host"
    )
    add = render.add_argument
    add("name", help="a motif of `list`, or an object without ornament")
    add("--host", help="put it on this object")
    add("--style", help="in this style (default: the first that puts the motif on the host)")
    add("--technique", help="relief, engraving, color or pierced (default: the style's own)")
    add("--layout", help="row, border, allover or medallion (default row)")
    add("--palette", type=int, help="number of the style's palette (default 0)")
    add("--resolution", type=resolution, help="of the shape (default 96)")
    add("--out", help="PNG file (default: NAME.png)")

    build = commands.add_parser("build", help="a data set for training")
    add = build.add_argument
    add("--count", type=_within(1, MOST), required=True, help="training shapes")
    for split, part in OTHER_SPLITS.items():
        unless = ", none with --styles" if split == "heldout_styles" else ""
        add(
            f"--num-{split.replace('_', '-')}",
            type=_within(0, MOST),
            help=f"shapes in {split} (default: a {part}th of --count{unless})",
        )
    add("--resolution", type=resolution, default=64, help="of the stored fields (default 64)")
    add("--seed", type=seed, default=0)
    add("--out", required=True, help="folder; the same command goes on where it was stopped")
    add("--workers", type=_within(0, 1024), help="processes (default: one per CPU; 0: none)")
    add("--meshes", help="also write every shape as glb, obj, stl, ply or 3mf")
    for kind in ("hosts", "motifs", "styles"):
        add(f"--{kind}", default="", help=f"names of `list`, with commas (default: all {kind})")
    add("--free", action="store_true", help="combine them freely, not only as the table has them")

    sheets = commands.add_parser("sheets", help="motifs.md with contact sheets of motifs and hosts")
    sheets.add_argument("--out", default="docs", help="folder (default docs)")

    captions = commands.add_parser("captions", help="captions of random shapes, by kind")
    add = captions.add_argument
    add("--count", type=_within(1, MOST), default=300)
    add("--seed", type=seed, default=0)
    add("--out", help="Markdown file (default: printed)")
    return parser.parse_args(argv)


def _within(least: int, most: int) -> Callable[[str], int]:
    """The type of an option: whole numbers from `least` to `most`."""

    def integer(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"give {least} to {most}, not {value}")
        return value

    return integer


def print_library() -> None:
    """Motifs by group, hosts and styles, with their Turkish and English names."""
    from otuken_jax.data.motifs.drawing import GROUPS
    from otuken_jax.data.motifs.fields import MOTIFS
    from otuken_jax.data.motifs.hosts import HOSTS
    from otuken_jax.data.motifs.styles import STYLES

    for group, titles in GROUPS.items():
        print(" / ".join(titles))
        for name, motif in MOTIFS.items():
            if motif.group == group:
                print(f"  {name:<14} {motif.name:<24} {motif.english}")
    print("Objeler / Hosts")
    for name, host in HOSTS.items():
        print(f"  {name:<14} {host.name:<24} {host.english}")
    print("Üsluplar / Styles")
    for name, style in STYLES.items():
        print(f"  {name:<14} {style.name:<24} {style.english}")


def render(arguments: argparse.Namespace) -> Path:
    """Draws a motif or a plain host.

    Raises:
        UserError: a name that the library lacks, options that do not apply, or no such file.
    """
    from otuken_jax.data.motifs.shapes import solid_mesh
    from otuken_jax.data.motifs.sheets import flat_picture
    from otuken_jax.geometry.render import render_mesh, save_png

    recipe = _recipe(arguments)
    out = Path(arguments.out or f"{arguments.name}.png")
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: pictures are PNG files; give a name that ends in .png")
    if recipe is None:
        save_png(flat_picture(arguments.name, 512), out)
    else:
        resolution = arguments.resolution or 96
        save_png(render_mesh(solid_mesh(recipe, resolution, min(32, resolution))), out)
    return out


def _recipe(arguments: argparse.Namespace) -> "Recipe | None":
    """The shape to draw; None for a motif by itself."""
    from otuken_jax.data.motifs.fields import MOTIFS
    from otuken_jax.data.motifs.hosts import HOSTS
    from otuken_jax.data.motifs.sheets import plain_recipe, recipe_of
    from otuken_jax.data.motifs.styles import STYLES

    name, host, style = arguments.name, arguments.host, arguments.style
    chosen = {k: getattr(arguments, k) for k in ("style", "technique", "layout", "palette")}
    chosen = {k: value for k, value in chosen.items() if value is not None}
    if name in HOSTS:
        if host or chosen:
            raise UserError(
                f"{name} is an object; to put a motif on it: render MOTIF --host {name}"
            )
        return plain_recipe(name)
    _check_name("motif or object", name, [*MOTIFS, *HOSTS])
    if host is not None:
        _check_name("host", host, HOSTS)
        if style is not None:
            _check_name("style", style, STYLES)
        return recipe_of(name, host, **chosen)
    if chosen or arguments.resolution:
        raise UserError(
            "style, technique, layout, palette and resolution are of a motif on an object; "
            "add --host"
        )
    return None


def build(arguments: argparse.Namespace) -> None:
    """Builds a data set of the library."""
    from otuken_jax.data.build import build_motif_dataset
    from otuken_jax.data.motifs.recipes import HOSTS, MOTIFS, STYLES

    names = {}
    for kind, registry in (("host", HOSTS), ("motif", MOTIFS), ("style", STYLES)):
        names[f"{kind}s"] = getattr(arguments, f"{kind}s").replace(",", " ").split()
        for name in names[f"{kind}s"]:
            _check_name(kind, name, registry)
    sizes = {split: -(-arguments.count // part) for split, part in OTHER_SPLITS.items()}
    if arguments.styles:  # chosen to be shown
        sizes["heldout_styles"] = 0
    asked = {split: getattr(arguments, f"num_{split}") for split in sizes}
    sizes |= {split: size for split, size in asked.items() if size is not None}
    manifest = build_motif_dataset(
        arguments.out,
        num_shapes=arguments.count,
        resolution=arguments.resolution,
        num_points=2048,
        seed=arguments.seed,
        coarsest=min(32, arguments.resolution),
        num_val=sizes["val"],
        num_heldout=sizes["heldout_pairs"],
        num_heldout_styles=sizes["heldout_styles"],
        num_heldout_phrasing=sizes["heldout_phrasing"],
        num_workers=arguments.workers,
        meshes=arguments.meshes,
        **names,
        free=arguments.free,
        verify=True,
    )
    for name, split in manifest["splits"].items():
        size = sum(file["bytes"] for file in split["files"].values())
        print(f"{name}: {split['count']} shapes, {size / 1e6:.1f} MB")


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        from otuken_jax.config import did_you_mean  # 0.5 s

        hint = did_you_mean(name, list(known)) or "; `list` shows all"
        raise UserError(f"no {kind} {name!r}{hint}")


def captions_page(count: int, seed: int) -> str:
    """`count` captions of shapes of the library, as Markdown, from each template in turn.

    Those for plain objects, which say little, have one turn; full ones and those of the form, which
    say most, have twice as many. Of some random shapes each takes the one whose words were said
    least, in the form least said. After them a quarter as many of random shapes as they are.
    """
    from otuken_jax.data.motifs.captions import LONGEST, captions, described, fill, style_text
    from otuken_jax.data.motifs.phrases import ASCII, CAPTIONS, ENGLISH, STYLE_TEXT
    from otuken_jax.data.motifs.recipes import HOSTS, hold_out, sample_recipes

    recipes = sample_recipes(MORE * count + CHOICE, seed, hold_out(seed))["train"]
    shapes = {
        plain: [described(recipe) for recipe in recipes if (recipe.motif is None) == plain]
        for plain in (False, True)
    }
    kinds = {**CAPTIONS, "style_text": STYLE_TEXT}
    order = [*kinds, "full", "host"]
    lines: dict[str, list[str]] = {kind: [] for kind in kinds}
    said: Counter[tuple[str, str, str]] = Counter()
    for i in range(count):
        kind = order[i % len(order)]
        templates = [*kinds[kind].usual, *kinds[kind].heldout]
        if len(lines[kind]) >= len(templates):
            templates = [template for template in templates if "{plain" not in template]
        template = templates[len(lines[kind]) % len(templates)]
        slots = set(re.findall(r"\{(\w+)", template))
        slots |= {"motif", "color", "technique"} if "layout" in slots else set()
        language = kind if kind in (ASCII, ENGLISH) else ""
        choice = []
        pool = shapes["{plain" in template]
        for values in (pool[j % len(pool)] for j in range(MORE * i, MORE * i + CHOICE)):
            levels = zip("abc", HOSTS[values["host"]].form, strict=True)
            form = {k: min(three, key=lambda w: said[language, k, w]) for k, three in levels}
            choice.append(values | form)
        choice.sort(key=lambda v: -sum(0.2 ** said[language, s, v[s]] for s in v if s in slots))
        texts = ((fill(template, kind, values), values) for values in choice)
        text, values = next((t, v) for t, v in texts if t and len(t.encode()) <= LONGEST)
        said.update((language, slot, word) for slot, word in values.items() if slot in slots)
        lines[kind].append(f"- {text}")
    command = f"python -m otuken_jax.motifs captions --count {count} --seed {seed}"
    sections = [f"# Betimlemeler / Captions\n\nBy `{command}`; see `otuken_jax.data.motifs`."]
    sections += [f"## {kind}\n\n" + "\n".join(texts) for kind, texts in lines.items() if texts]
    texts = [captions(recipe) | {"style_text": style_text(recipe)} for recipe in recipes]
    sample = [f"- {kind}: {text[kind]}" for text, kind in zip(texts, cycle(kinds), strict=False)]
    sections += [SAMPLE + "\n\n" + "\n".join(sample[: count // 4]), OTHER_KINDS]
    return "\n\n".join(sections) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.command == "list":
        print_library()
    elif arguments.command == "render":
        print(render(arguments))
    elif arguments.command == "build":
        build(arguments)
    elif arguments.command == "captions":
        if arguments.out and Path(arguments.out).is_dir():
            raise UserError(f"{arguments.out} is a folder; give the name of a file")
        page = captions_page(arguments.count, arguments.seed)
        if arguments.out:
            from otuken_jax.geometry.mesh_io import write_atomic

            write_atomic(Path(arguments.out), page.encode())
        else:
            print(page)
    else:
        from otuken_jax.data.motifs.sheets import write_sheets

        for path in write_sheets(Path(arguments.out)):
            print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
