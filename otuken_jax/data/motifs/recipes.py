"""Recipes: which motif in which style on which host, in which form; and the splits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from otuken_jax.data.motifs.fields import MOTIFS
from otuken_jax.data.motifs.hosts import HOSTS
from otuken_jax.data.motifs.styles import PLAIN_COLORS, STYLES
from otuken_jax.errors import UserError

PLAIN_FRACTION = 0.1  # of the training shapes
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

    def to_dict(self) -> dict:
        """Plain types for a record."""
        return {**asdict(self), "form": list(self.form)}

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

    Raises:
        UserError: a host, motif or style that the library does not have.
    """
    hosts = _check("host", hosts, HOSTS)
    motifs = _check("motif", motifs, MOTIFS)
    styles = _check("style", styles, STYLES)
    pairs = list(product(hosts, motifs))
    held = [pair for pair in pairs if is_heldout_pair(*pair)]
    known = [pair for pair in pairs if not is_heldout_pair(*pair)]
    rng = np.random.default_rng(seed)
    num_plain = round(PLAIN_FRACTION * num_shapes)
    plain = [(host, None) for host in hosts]
    train = _draw(rng, known, styles, num_shapes - num_plain, val_forms=False)
    train += _draw(rng, plain, styles, num_plain, val_forms=False)
    return {
        "train": [train[i] for i in rng.permutation(len(train))],
        "val": _draw(rng, known, styles, num_val, val_forms=True),
        "heldout_pairs": _draw(rng, held, styles, num_heldout, val_forms=False),
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


def _draw(rng, pairs, styles, count: int, *, val_forms: bool) -> list[Recipe]:
    """`count` recipes that go round the pairs, and round the styles, in shuffled order."""
    if count and not pairs:
        raise UserError("no (host, motif) pair is left for a split: choose more hosts or motifs")
    forms_of = {
        host: [f for f in product(range(3), repeat=3) if is_val_form(host, f) == val_forms]
        for host in {host for host, _ in pairs}
    }
    recipes = []
    styles_in_turn: list[str] = []
    while len(recipes) < count:
        for i in rng.permutation(len(pairs))[: count - len(recipes)]:
            host, motif = pairs[i]
            if not styles_in_turn:
                styles_in_turn = [styles[j] for j in rng.permutation(len(styles))]
            style = styles_in_turn.pop() if motif else None
            forms = forms_of[host]
            recipes.append(
                Recipe(
                    host,
                    motif,
                    style,
                    int(rng.integers(len(STYLES[style].palettes if style else PLAIN_COLORS))),
                    forms[rng.integers(len(forms))],
                    int(rng.integers(2**31)),
                )
            )
    return recipes
