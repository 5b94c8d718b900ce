"""What changing words changes: one word, the style text, a blend of two styles, no ornament."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from otuken_jax import metrics
from otuken_jax.conventions import grid_points
from otuken_jax.data.motifs.captions import captions, described, object_words, style_text
from otuken_jax.data.motifs.recipes import HOSTS, PLAIN_COLORS, STYLES, Recipe
from otuken_jax.evaluation.examples import ALL_WORDS, Volume, Words, predict_prompts
from otuken_jax.evaluation.library import Band, EveryHost, Library, StyleCandidates, on_host
from otuken_jax.generation import Generator, Prompt
from otuken_jax.metrics import Estimate

BLEND = (0.0, 0.25, 0.5, 0.75, 1.0)
TOLD = ALL_WORDS[0]  # text and style text: the ornament is named in one place
RESPONSES = (
    "follows",
    "keeps_host",
    "keeps_motif",
    "inside",
    "outside",
    "inside_true",
    "outside_true",
    "color_change",
)

EXCHANGES = (
    "palette_before",
    "palette_after",
    "palette_old",
    "style_before",
    "style_after",
    "palette_true",
    "style_true",
    "host_before",
    "host_after",
    "motif_before",
    "motif_after",
)

DEFINITIONS = {
    "follows": "share of shapes in which the changed thing is then nearest to the new words: host "
    "(its noun alone, the words for the form kept) and object (all that names it) by IoU, motif by "
    "band IoU, colour by palette, style by palette and relief together",
    "keeps_host": "share in which the nearest host is still the one of the unchanged words",
    "keeps_motif": "share in which the nearest motif is still the one of the unchanged words",
    "inside": "share of the voxels of the first shape's ornament band (where the style changes: of "
    "its bands in all styles) whose occupancy changes",
    "outside": "voxels that change outside that band over voxels filled there before or after",
    "inside_true": "inside, between the true shapes of the two texts",
    "outside_true": "outside, between the true shapes of the two texts; another host's has the "
    "same levels of its own form",
    "color_change": "mean absolute sRGB change at 512 points of the first true surface",
    "palette_before": "share in which no palette of any style is nearer to the colours at the true "
    "surface (mean absolute sRGB error) than the right one, before the exchange",
    "palette_after": "the same after it, against the new palette",
    "palette_old": "share in which the old palette is still nearest after it, at the old surface",
    "style_before": "share in which the right style is nearest, before: least sum of its best "
    "palette's colour error and of the share of voxels in the bands of all styles whose occupancy "
    "differs from that style's",
    "style_after": "the same after it, against the new style",
    "palette_true": "palette_after of the true shape of the new words: what can be reached",
    "style_true": "style_after of the same",
    "host_before": "host accuracy before the exchange",
    "host_after": "host accuracy after it",
    "motif_before": "motif accuracy before the exchange",
    "motif_after": "motif accuracy after it, among the motifs in the new style",
    "color_monotone": "share of shapes whose colour goes one way: e(A) - e(B) never falls from one "
    "weight to the next of 0, 0.25, 0.5, 0.75, 1 and is higher at 1 than at 0; e(S) the mean "
    "absolute sRGB error at the true surface of A against the colours of style S",
    "relief_monotone": "the same of e(S), the mean absolute difference of soft occupancy from that "
    "of style S over the bands of both; shapes whose two styles differ in relief alone",
    "plain_iou": "IoU with the true plain shape of what is made for the same recipe without motif "
    "and style, in the words of plain training shapes (caption of kind host, style text)",
    "plain_band": "share of the voxels of the ornament band whose occupancy is the true plain "
    "shape's: empty where the ornament would be raised, filled where it would be cut; errors of "
    "the object's surface count too, and an empty field is as bare as can be",
    "ornamented_iou": "plain_iou of the true shape with its ornament, which a perfect model would "
    "reach if it made that all the same",
    "ornamented_band": "plain_band of the same",
}


@dataclass(frozen=True)
class Change:
    """A recipe, the one that the changed words describe, and the changed words."""

    before: Recipe
    after: Recipe
    prompt: Prompt


def _next(library: Library, recipe: Recipe, name: str, variants: dict[str, Recipe]) -> Recipe:
    """The first variant after the one of `name` that the library may show; itself if none is."""
    names = list(variants)
    start = names.index(name)
    after = (variants[other] for other in names[start + 1 :] + names[:start])
    return next((variant for variant in after if library.shows(variant)), recipe)


def other_motif(library: Library, recipe: Recipe) -> Recipe:
    """Another motif."""
    variants = {motif: dataclasses.replace(recipe, motif=motif) for motif in library.motifs}
    return _next(library, recipe, recipe.motif, variants)


def other_host(library: Library, recipe: Recipe) -> Recipe:
    """Another host of the same form levels, one that takes the ornament as it is."""
    variants = {host: on_host(recipe, host) for host in library.hosts}
    technique = described(recipe)["technique"]
    usable = {host: v for host, v in variants.items() if described(v)["technique"] == technique}
    return _next(library, recipe, recipe.host, usable)


def other_color(library: Library, recipe: Recipe) -> Recipe:
    """The colours of the style's next palette."""
    palette = (recipe.palette + 1) % len(STYLES[recipe.style].palettes)
    return dataclasses.replace(recipe, palette=palette)


def other_style(library: Library, recipe: Recipe) -> Recipe:
    """Another style that training showed, with its first colours."""
    variants = {
        style: dataclasses.replace(recipe, style=style, palette=0)
        for style in library.styles
        if style == recipe.style or style not in library.unseen_styles
    }
    return _next(library, recipe, recipe.style, variants)


def without_ornament(recipe: Recipe) -> Recipe:
    """The plain object, in a colour of its material."""
    colors = PLAIN_COLORS[HOSTS[recipe.host].material]
    return Recipe(
        recipe.host, None, None, recipe.palette % len(colors), recipe.form, recipe.jitter_seed
    )


OTHERS: dict[str, Callable[[Library, Recipe], Recipe]] = {
    "motif": other_motif,
    "host": other_host,
    "object": other_host,
    "color": other_color,
    "style": other_style,
}


def prompt_of(
    recipe: Recipe, words: Words = TOLD, *, form_of: str | None = None, heldout: bool = False
) -> Prompt:
    """A recipe in words; `form_of`: whose words for the form its caption of kind "host" has."""
    if words.kind == "host":
        text = object_words(recipe, form_of=form_of, heldout=heldout)
    else:
        text = captions(recipe, heldout=heldout)[words.kind]
    return Prompt(text, style_text(recipe, heldout=heldout) if words.with_style else None)


def change(
    name: str, library: Library, recipe: Recipe, words: Words = TOLD, *, heldout: bool = False
) -> Change:
    """Other words for one of `OTHERS`.

    "host" is the noun alone: the words for the form stay those of the first host, whatever they
    mean of the new one. "object" is all that names it.
    """
    after = OTHERS[name](library, recipe)
    form_of = recipe.host if name == "host" else None
    return Change(recipe, after, prompt_of(after, words, form_of=form_of, heldout=heldout))


def respond(
    generator: Generator,
    library: Library,
    recipes: Sequence[Recipe],
    resolution: int,
    seed: int,
    *,
    full: bool = True,
    heldout: bool = False,
) -> dict[str, dict[str, Estimate]]:
    """Figures of every change, of the style exchange, the blend and the plain object.

    See `DEFINITIONS`.

    `full`: changes in every kind of words, and the blend; otherwise of text and style text alone.
    `heldout` takes the phrasings of the split `heldout_phrasing`.
    """
    judges = [Judge.of(library, recipe, resolution) for recipe in recipes]
    judges = [judge for judge in judges if judge.band.region.any()]  # not in colour alone
    rows: dict[str, list[dict[str, float]]] = {}
    for words in ALL_WORDS if full else [TOLD]:
        rows |= _swaps(generator, judges, words, heldout)
    rows |= _exchanges(generator, judges, full, heldout)
    rows["plain"] = _plain(generator, judges, heldout)
    return {
        name: {
            key: metrics.bootstrap_mean([row[key] for row in figures], seed) for key in figures[0]
        }
        for name, figures in rows.items()
        if figures
    }


def _swaps(
    generator: Generator, judges: Sequence["Judge"], words: Words, heldout: bool
) -> dict[str, list[dict[str, float]]]:
    """Every change in one kind of words; NaN where these words do not name what changes."""
    first = [prompt_of(judge.recipe, words, heldout=heldout) for judge in judges]
    before = predict_prompts(generator, first)
    rows = {}
    for name in OTHERS:
        if name == "host" and words != TOLD:
            continue  # the object's word is its noun there, or has words for the form all over
        changes = [change(name, j.library, j.recipe, words, heldout=heldout) for j in judges]
        after = predict_prompts(generator, [c.prompt for c in changes])
        rows[f"{name} word" if words == TOLD else f"{name} word, {words.name}"] = [
            judge.response(name, c, made, now)
            if c.prompt != prompt
            else dict.fromkeys(RESPONSES, float("nan"))
            for judge, c, prompt, made, now in zip(
                judges, changes, first, before, after, strict=True
            )
        ]
    return rows


def _exchanges(
    generator: Generator, judges: Sequence["Judge"], blend: bool, heldout: bool
) -> dict[str, list[dict[str, float]]]:
    """What another style text moves, and whether a blend of both goes one way."""
    first = [prompt_of(judge.recipe, heldout=heldout) for judge in judges]
    changes = [change("style", j.library, j.recipe, heldout=heldout) for j in judges]
    before = predict_prompts(generator, first)
    after = predict_prompts(generator, [c.prompt for c in changes])
    rows = {
        "style text": [
            judge.exchange(*parts)
            for judge, *parts in zip(judges, changes, before, after, strict=True)
        ]
    }
    if blend:
        both = [
            dataclasses.replace(prompt, style2=c.prompt.style)
            for prompt, c in zip(first, changes, strict=True)
        ]
        steps = [predict_prompts(generator, both, mix=weight) for weight in BLEND]
        rows["blend"] = [
            judge.blend(c, made)
            for judge, c, made in zip(judges, changes, zip(*steps, strict=True), strict=True)
        ]
    return rows


def _plain(
    generator: Generator, judges: Sequence["Judge"], heldout: bool
) -> list[dict[str, float]]:
    """Whether the object is left bare where no ornament is asked for."""
    recipes = [without_ornament(judge.recipe) for judge in judges]
    made = predict_prompts(generator, [prompt_of(r, heldout=heldout) for r in recipes])
    return [judge.plain(*parts) for judge, *parts in zip(judges, recipes, made, strict=True)]


@dataclass(frozen=True)
class Judge:
    """What the shapes made for one recipe and for its changes are compared with."""

    library: Library
    resolution: int
    recipe: Recipe
    band: Band
    hosts: EveryHost
    styles: StyleCandidates

    @classmethod
    def of(cls, library: Library, recipe: Recipe, resolution: int) -> "Judge":
        return cls(
            library,
            resolution,
            recipe,
            library.band(recipe, resolution),
            library.on_every_host(recipe, resolution),
            StyleCandidates.of(library, recipe, resolution),
        )

    def host_of(self, made: Volume) -> str:
        return self.library.hosts[self.hosts.nearest(made.occupancy)]

    def motif_of(self, made: Volume, recipe: Recipe) -> str:
        """The nearest motif in the band of a recipe, that has the host and style of the words."""
        same = (recipe.host, recipe.style) == (self.recipe.host, self.recipe.style)
        band = self.band if same else self.library.band(recipe, self.resolution)
        return self.library.motifs[band.nearest_motif(made.occupancy)]

    def truth(self, recipe: Recipe) -> Bool[np.ndarray, "r r r"]:
        """Occupancy of a recipe's true shape."""
        points = grid_points(self.resolution)
        occupancy = self.library.occupancy_at(recipe, points.reshape(-1, 3))
        return occupancy.reshape(points.shape[:-1])

    def response(self, name: str, change: Change, made: Volume, now: Volume) -> dict[str, float]:
        """How a change of one word shows; NaN where the library has nothing to change to."""
        after = change.after
        if after == change.before:
            return dict.fromkeys(RESPONSES, float("nan"))
        host, motif = self.host_of(now), self.motif_of(now, after)
        if name in ("host", "object"):
            follows = host == after.host
        elif name == "motif":
            follows = motif == after.motif
        else:
            styles = StyleCandidates.of(self.library, after, self.resolution)
            follows = (
                styles.is_palette_right(now) if name == "color" else styles.is_style_right(now)
            )
        region = self.styles.region if name == "style" else self.band.region
        inside, outside = changes_in(made.occupancy, now.occupancy, region)
        true = changes_in(self.truth(change.before), self.truth(after), region)
        points = self.styles.points
        colors = np.abs(made.colors_at(points) - now.colors_at(points)).mean()
        keeps = (host == change.before.host, motif == change.before.motif)
        figures = (follows, *keeps, inside, outside, *true, colors)
        return dict(zip(RESPONSES, map(float, figures), strict=True))

    def exchange(self, change: Change, made: Volume, now: Volume) -> dict[str, float]:
        """What exchanging only the style text moves, and what it leaves."""
        if change.after == change.before:
            return dict.fromkeys(EXCHANGES, float("nan"))
        styles = StyleCandidates.of(self.library, change.after, self.resolution)
        true = self.library.volume(change.after, self.resolution)
        figures = (
            self.styles.is_palette_right(made),
            styles.is_palette_right(now),
            self.styles.is_palette_right(now),
            self.styles.is_style_right(made),
            styles.is_style_right(now),
            styles.is_palette_right(true),
            styles.is_style_right(true),
            self.host_of(made) == self.recipe.host,
            self.host_of(now) == self.recipe.host,
            self.motif_of(made, self.recipe) == self.recipe.motif,
            self.motif_of(now, change.after) == self.recipe.motif,
        )
        return dict(zip(EXCHANGES, map(float, figures), strict=True))

    def blend(self, change: Change, steps: Sequence[Volume]) -> dict[str, float]:
        """Whether a blend goes one way from the recipe's style to the other."""
        if change.after == change.before:
            return dict.fromkeys(("color_monotone", "relief_monotone"), float("nan"))
        a, b = (self.styles.names.index((r.style, r.palette)) for r in (self.recipe, change.after))
        colors = self.styles.colors
        color = [
            np.abs(step.colors_at(self.styles.points) - colors[a]).mean()
            - np.abs(step.colors_at(self.styles.points) - colors[b]).mean()
            for step in steps
        ]
        reliefs = self.styles.reliefs
        old, new = reliefs[self.recipe.style], reliefs[change.after.style]
        soft = [expit(step.field[self.styles.region]) for step in steps]
        relief = [np.abs(s - old).mean() - np.abs(s - new).mean() for s in soft]
        same = bool((old == new).all())
        return {
            "color_monotone": float(is_monotone(np.array(color))),
            "relief_monotone": float("nan") if same else float(is_monotone(np.array(relief))),
        }

    def plain(self, recipe: Recipe, made: Volume) -> dict[str, float]:
        """How near a shape made for the plain recipe is to it, beside the ornamented truth."""
        plain, region = self.truth(recipe), self.band.region
        figures = {}
        for name, shape in (("plain", made.occupancy), ("ornamented", self.truth(self.recipe))):
            figures[f"{name}_iou"] = metrics.iou(shape, plain)
            figures[f"{name}_band"] = float((shape[region] == plain[region]).mean())
        return figures


def changes_in(
    a: Bool[np.ndarray, "r r r"], b: Bool[np.ndarray, "r r r"], region: Bool[np.ndarray, "r r r"]
) -> tuple[float, float]:
    """Change inside a region (share of its voxels) and outside (1 - IoU there)."""
    inside = float((a[region] != b[region]).mean()) if region.any() else float("nan")
    return inside, 1.0 - metrics.iou(a[~region], b[~region])


def is_monotone(values: Float[np.ndarray, " n"]) -> bool:
    """Whether values never fall and end higher than they begin."""
    return bool((np.diff(values) >= 0).all() and values[-1] > values[0])
