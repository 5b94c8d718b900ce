"""Recipes: which motif in which style on which host, in which form; and the splits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import product

import numpy as np

from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES
from otuken_jax.data.motifs.table import layouts_of, styles_of, techniques_of
from otuken_jax.errors import UserError

PLAIN_FRACTION = 0.1  # of the training shapes
VARIED = 0.35  # of the ornaments, by technique and by layout
Form = tuple[int, int, int]


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
    reach = HOSTS[recipe.host].jitter
    jitter = np.random.default_rng(recipe.jitter_seed).uniform(-reach, reach, 3)
    return tuple(float(level - 1 + j) for level, j in zip(recipe.form, jitter, strict=True))


def is_heldout_pair(host: str, motif: str) -> bool:
    """Whether the pair belongs to `heldout_pairs`: a seventh, spread evenly over both lists."""
    return (3 * list(HOSTS).index(host) + list(MOTIFS).index(motif)) % 7 == 0


def is_val_form(host: str, form: Form) -> bool:
    """Whether the host shows this form in `val` only: 3 of 27, with each level once."""
    a, b, c = form
    shift = list(HOSTS).index(host)
    return (a + b + c + shift) % 3 == 0 and (a + 2 * b + shift // 3) % 3 == 0


def sample_recipes(
    num_shapes: int,
    seed: int,
    *,
    hosts: Sequence[str] | None = None,
    motifs: Sequence[str] | None = None,
    styles: Sequence[str] | None = None,
    num_val: int,
    num_heldout: int,
) -> dict[str, list[Recipe]]:
    """Recipes of `num_shapes` training shapes, `num_val` and `num_heldout` others, by split.

    `val` shows known pairs in (host, form) combinations that `train` never has; `heldout_pairs`
    shows known forms with (host, motif) pairs that neither of the others has. Hosts, motifs and
    styles are drawn in turn, so each is equally frequent. None stands for the whole library.

    A selection that names hosts, motifs and styles is combined freely, each ornament as its style
    has it. Otherwise `table` says what goes together; techniques and layouts then vary too, except
    that only `train` has ornaments in colour alone, whose shape tells nothing of their motif.

    Raises:
        UserError: a host, motif or style that the library does not have.
    """
    named = None not in (hosts, motifs, styles)
    hosts = _check("host", hosts, HOSTS)
    motifs = _check("motif", motifs, MOTIFS)
    styles = _check("style", styles, STYLES)
    pairs = [
        (host, motif)
        for host, motif in product(hosts, motifs)
        if named or set(styles_of(host, motif)) & set(styles)
    ]
    held = [pair for pair in pairs if is_heldout_pair(*pair)]
    known = [pair for pair in pairs if not is_heldout_pair(*pair)]
    rng = np.random.default_rng(seed)
    num_plain = round(PLAIN_FRACTION * num_shapes)
    plain = [(host, None) for host in hosts]
    draw = partial(_draw, rng, styles=styles, free=named)
    train = draw(known, count=num_shapes - num_plain, val_forms=False)
    train += draw(plain, count=num_plain, val_forms=False)
    return {
        "train": [train[i] for i in rng.permutation(len(train))],
        "val": draw(known, count=num_val, val_forms=True, in_color=False),
        "heldout_pairs": draw(held, count=num_heldout, val_forms=False, in_color=False),
    }


def _check(kind: str, names: Sequence[str] | None, registry: dict) -> list[str]:
    names = list(registry) if names is None else list(names)
    unknown = [name for name in names if name not in registry]
    if unknown or not names:
        raise UserError(
            f"unknown {kind} {', '.join(unknown) or '(none given)'}: choose among "
            f"{', '.join(registry)}"
        )
    return names


def _draw(
    rng: np.random.Generator,
    pairs: Sequence[tuple[str, str | None]],
    *,
    styles: Sequence[str],
    free: bool,
    count: int,
    val_forms: bool,
    in_color: bool = True,
) -> list[Recipe]:
    """`count` recipes that go round the pairs, and round the styles, in shuffled order."""
    if count and not pairs:
        raise UserError("no (host, motif) pair is left for a split: choose more hosts or motifs")
    forms_of = {
        host: [f for f in product(range(3), repeat=3) if is_val_form(host, f) == val_forms]
        for host in {host for host, _ in pairs}
    }
    recipes = []
    styles_in_turn: list[str] = []
    uses = dict.fromkeys(styles, 0)
    while len(recipes) < count:
        for i in rng.permutation(len(pairs))[: count - len(recipes)]:
            host, motif = pairs[i]
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
                int(rng.integers(len(STYLES[style].palettes if style else PLAIN_COLORS))),
                forms[rng.integers(len(forms))],
                int(rng.integers(2**31)),
            )
            recipes.append(recipe if free or not motif else _apply(rng, recipe, in_color))
    return recipes


def _apply(rng: np.random.Generator, recipe: Recipe, in_color: bool) -> Recipe:
    """The recipe with a technique and a layout that the table allows, often the usual ones."""
    techniques = techniques_of(recipe.host, recipe.motif, recipe.style)
    techniques = [name for name in techniques if in_color or name != "color"]
    layouts = layouts_of(recipe.motif)
    technique, layout = None, "row"
    if techniques and rng.random() < VARIED:
        technique = techniques[rng.integers(len(techniques))]
    if layouts and rng.random() < VARIED:
        layout = layouts[rng.integers(len(layouts))]
    return replace(recipe, technique=technique, layout=layout)
