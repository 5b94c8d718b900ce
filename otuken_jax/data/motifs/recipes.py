"""Recipes: which motif in which style on which host, in which form; and the splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES, Color, Palette
from otuken_jax.data.motifs.table import layouts_of, styles_of, techniques_of
from otuken_jax.errors import UserError

PLAIN_FRACTION = 0.1  # of the training shapes
VARIED = 0.35  # of the ornaments, by technique and by layout
PIERCED = 0.5  # of the few that can be cut through
HOSTS_KEPT = 3
STYLES_HELD = 1 / 8  # of the styles go to `heldout_styles`, at least one
Form = tuple[int, int, int]
Pair = tuple[str, str | None]


@dataclass(frozen=True)
class Recipe:
    """What a shape is made from; motif and style are None for a plain object."""

    host: str
    motif: str | None
    style: str | None
    palette: int
    form: Form
    jitter_seed: int
    technique: str | None = None  # of TECHNIQUES; None: as the style has it, raised or engraved
    layout: str = "row"  # of LAYOUTS

    def to_dict(self) -> dict:
        """Plain types for a record; a technique and layout only where they are chosen."""
        values = {**asdict(self), "form": list(self.form)}
        for field in fields(self):
            if field.name in ("technique", "layout") and values[field.name] == field.default:
                del values[field.name]
        return values

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """Inverse of `to_dict`."""
        return cls(**{**values, "form": tuple(values["form"])})


def form_values(recipe: Recipe) -> tuple[float, float, float]:
    """The three attributes as numbers near -1, 0 or 1."""
    # What is pierced has more edge for its volume: a little jitter would move too much of it.
    reach = 0.0 if recipe.technique == "pierced" else HOSTS[recipe.host].jitter
    jitter = np.random.default_rng(recipe.jitter_seed).uniform(-reach, reach, 3)
    return tuple(float(level - 1 + j) for level, j in zip(recipe.form, jitter, strict=True))


def plain_color(recipe: Recipe) -> Color:
    """The colour of an object without ornament: one of its material's."""
    return _palettes(recipe.host, None)[recipe.palette]


def _palettes(host: str, style: str | None) -> Sequence[Palette | Color]:
    return STYLES[style].palettes if style else PLAIN_COLORS[HOSTS[host].material]


def is_heldout_pair(host: str, motif: str) -> bool:
    """Whether the pair belongs to `heldout_pairs`: a seventh, spread evenly over both lists."""
    return (3 * list(HOSTS).index(host) + list(MOTIFS).index(motif)) % 7 == 0


def is_val_form(host: str, form: Form) -> bool:
    """Whether the host shows this form in `val` only: 3 of 27, with each level once."""
    a, b, c = form
    shift = list(HOSTS).index(host)
    return (a + b + c + shift) % 3 == 0 and (a + 2 * b + shift // 3) % 3 == 0


class Holdout(NamedTuple):
    """What training may show, and what only the other splits do."""

    known: list[Pair]  # (host, motif), each in some of `styles`
    styles: list[str]
    free: bool  # whether any motif may go on any host in any style
    pairs: list[Pair]  # only in `heldout_pairs`
    unseen_styles: list[str]  # only in `heldout_styles`


def hold_out(
    seed: int,
    *,
    hosts: Sequence[str] | None = None,
    motifs: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    unseen_styles: Sequence[str] | None = (),
    free: bool = False,
) -> Holdout:
    """Divides a selection of the library; None stands for all of it.

    Held-out pairs depend on the library alone. `unseen_styles` are drawn by the seed if None: an
    eighth of the styles, such that the others still show every host, and every motif on at least
    three: to be looked for on one more, it must have been seen apart from a host.

    `table` says what goes together, unless the selection may be combined freely.

    Raises:
        UserError: a name that the library does not have, or no style can be held out.
    """
    hosts = _check("host", hosts, HOSTS)
    motifs = _check("motif", motifs, MOTIFS)
    styles = _check("style", styles, STYLES)

    uses = {p: set(styles if free else styles_of(*p)) for p in product(hosts, motifs)}

    def shown_in(names: Sequence[str]) -> list[Pair]:
        return [pair for pair, shown in uses.items() if shown & set(names)]

    def known_in(names: Sequence[str]) -> list[Pair]:
        return [pair for pair in shown_in(names) if not is_heldout_pair(*pair)]

    if unseen_styles is None:
        unseen: list[str] = []
        before = _shown(known_in(styles))
        order = np.random.default_rng([seed, 1]).permutation(len(styles))
        for style in (styles[i] for i in order):
            rest = [name for name in styles if name not in (*unseen, style)]
            known = known_in(rest)
            after = _shown(known)
            covered = all(after[name] >= min(HOSTS_KEPT, before[name]) for name in before)
            if covered and set(known) & set(known_in([style])):
                unseen.append(style)
            if len(unseen) == max(1, round(STYLES_HELD * len(styles))):
                break
    else:
        unseen = [style for style in styles if style in unseen_styles]
        if len(unseen) != len(set(unseen_styles)):
            raise UserError(
                f"held-out styles {', '.join(unseen_styles)} must be among {', '.join(styles)}"
            )
    styles = [style for style in styles if style not in unseen]
    held = [pair for pair in shown_in(styles) if is_heldout_pair(*pair)]
    return Holdout(known_in(styles), styles, free, held, unseen)


def _shown(pairs: Sequence[Pair]) -> Counter[str]:
    """On how many hosts each motif is shown, and HOSTS_KEPT of every host."""
    return Counter(motif for _, motif in pairs) + Counter({h: HOSTS_KEPT for h, _ in pairs})


def sample_recipes(
    num_shapes: int,
    seed: int,
    holdout: Holdout,
    *,
    resolution: int = 64,
    num_val: int = 0,
    num_heldout_pairs: int = 0,
    num_heldout_styles: int = 0,
    num_heldout_phrasing: int = 0,
) -> dict[str, list[Recipe]]:
    """Recipes of `num_shapes` training shapes and of the other splits, by split.

    `val` shows known pairs in (host, form) combinations that `train` never has; so does
    `heldout_phrasing`, whose words are to be others. `heldout_pairs` shows known forms with
    (host, motif) pairs that no other split has, `heldout_styles` known forms and pairs in styles
    that no other has. Motifs and styles are drawn in turn, and of a motif its hosts, so that each
    motif is equally frequent, however few hosts carry it.

    In a free selection each ornament is as its style has it. Otherwise techniques and layouts vary
    too, as far as a grid of resolution^3 shows them, except that only `train` has ornaments in
    colour alone, whose shape tells nothing of their motif.

    Raises:
        UserError: a split has nothing to show.
    """
    known, styles, free, held, unseen = holdout
    rng = np.random.default_rng(seed)
    num_plain = round(PLAIN_FRACTION * num_shapes)
    plain = [(host, None) for host in dict.fromkeys(host for host, _ in known + held)]
    in_unseen = [p for p in known if unseen and (free or set(styles_of(*p)) & set(unseen))]
    _check_splits(
        train=(known, num_shapes),
        val=(known, num_val),
        heldout_pairs=(held, num_heldout_pairs),
        heldout_styles=(in_unseen, num_heldout_styles),
        heldout_phrasing=(known, num_heldout_phrasing),
    )
    draw = partial(_draw, rng, styles=styles, free=free, val_forms=False, resolution=resolution)
    train = draw(known, count=num_shapes - num_plain)
    train += draw(plain, count=num_plain)
    splits = {
        "train": [train[i] for i in rng.permutation(len(train))],
        "val": draw(known, count=num_val, val_forms=True, in_color=False),
        "heldout_pairs": draw(held, count=num_heldout_pairs, in_color=False),
        "heldout_styles": draw(in_unseen, styles=unseen, count=num_heldout_styles, in_color=False),
        "heldout_phrasing": draw(known, count=num_heldout_phrasing, val_forms=True, in_color=False),
    }
    return splits


def _check(kind: str, names: Sequence[str] | None, registry: dict) -> list[str]:
    names = list(registry) if names is None else list(names)
    unknown = [name for name in names if name not in registry]
    if unknown or not names:
        raise UserError(
            f"unknown {kind} {', '.join(unknown) or '(none given)'}: choose among "
            f"{', '.join(registry)}"
        )
    return names


def _check_splits(**splits: tuple[Sequence[Pair], int]) -> None:
    """A UserError if some splits are to have shapes, but no pairs to show."""
    empty = [name for name, (pairs, size) in splits.items() if size and not pairs]
    if empty:
        remedy = "" if "train" in empty else ", or set the number of shapes there to 0"
        raise UserError(
            f"nothing is left for {', '.join(empty)}: choose more hosts, motifs or styles{remedy}"
        )


def _draw(
    rng: np.random.Generator,
    pairs: Sequence[tuple[str, str | None]],
    *,
    styles: Sequence[str],
    free: bool,
    count: int,
    val_forms: bool,
    resolution: int,
    in_color: bool = True,
) -> list[Recipe]:
    """`count` recipes that go round the motifs and the styles, and with a motif round its hosts."""
    forms_of = {
        host: [f for f in product(range(3), repeat=3) if is_val_form(host, f) == val_forms]
        for host in {host for host, _ in pairs}
    }
    motifs = list(dict.fromkeys(motif for _, motif in pairs))
    shown: Counter[str | Pair] = Counter()  # how often a host, and a pair
    recipes = []
    styles_in_turn: list[str] = []
    uses = dict.fromkeys(styles, 0)
    while len(recipes) < count:
        for i in rng.permutation(len(motifs))[: count - len(recipes)]:
            able = [pair for pair in pairs if pair[1] == motifs[i]]
            host, motif = min(able, key=lambda pair: (shown[pair], shown[pair[0]], rng.random()))
            shown.update([host, (host, motif)])
            if free and not styles_in_turn:
                styles_in_turn = [styles[j] for j in rng.permutation(len(styles))]
            if not motif:
                style = None
            elif free:
                style = styles_in_turn.pop()
            else:  # the style used least so far that has the pair
                known = [style for style in styles_of(host, motif) if style in uses]
                style = min(known, key=lambda style: (uses[style], rng.random()))
                uses[style] += 1
            forms = forms_of[host]
            recipe = Recipe(
                host,
                motif,
                style,
                int(rng.integers(len(_palettes(host, style)))),
                forms[rng.integers(len(forms))],
                int(rng.integers(2**31)),
            )
            if motif and not free:
                recipe = _apply(rng, recipe, resolution, in_color=in_color)
            recipes.append(recipe)
    return recipes


def _apply(rng: np.random.Generator, recipe: Recipe, resolution: int, *, in_color: bool) -> Recipe:
    """The recipe with a technique and a layout that the table allows, often the usual ones."""
    techniques = techniques_of(recipe.host, recipe.motif, recipe.style)
    techniques = [name for name in techniques if in_color or name != "color"]
    layouts = layouts_of(recipe.host, recipe.motif, resolution)
    technique, layout = None, "row"
    if techniques and rng.random() < VARIED:
        technique = techniques[rng.integers(len(techniques))]
    if "pierced" in techniques and rng.random() < PIERCED:
        technique = "pierced"
    if layouts and rng.random() < VARIED:
        layout = layouts[rng.integers(len(layouts))]
    if technique == "pierced" and layout in ("border", "allover"):
        layout = "row"  # between openings so small the wall would break
    return replace(recipe, technique=technique, layout=layout)
