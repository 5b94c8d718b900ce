"""What needs no network: retrieval by caption, mean shapes, a random motif, the truth itself."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import correlate1d
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from otuken_jax.conventions import grid_points, voxel_size
from otuken_jax.data.text import normalize
from otuken_jax.evaluation.examples import Example, Volume, Words, open_split
from otuken_jax.generation import Prompt

COLOR_REACH = 3.0  # voxels from the surface within which a true shape's colours are filled in


class CaptionIndex:
    """The most similar of many numbered texts, by the cosine of their tf-idf vectors over words.

    idf = log((1 + n) / (1 + texts with the word)) + 1; the first of equals wins.
    """

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._numbers = list(texts)
        counts = [_word_counts(text) for text in texts.values()]
        appears = Counter(word for count in counts for word in count)
        self._column = {word: i for i, word in enumerate(appears)}
        totals = np.array([appears[word] for word in self._column], float)
        self._idf = np.log((1 + len(texts)) / (1 + totals)) + 1
        self._vectors = csr_array(
            (
                np.concatenate([self._weights(count)[1] for count in counts]),
                np.concatenate([self._weights(count)[0] for count in counts]),
                np.cumsum([0] + [len(count) for count in counts]),
            ),
            shape=(len(texts), len(self._column)),
        )

    def nearest(self, text: str) -> int:
        """Number of the most similar text."""
        columns, weights = self._weights(_word_counts(text))
        query = np.zeros(len(self._column))
        query[columns] = weights
        return self._numbers[int(np.argmax(self._vectors @ query))]

    def _weights(self, counts: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
        """Columns and unit-length weights of the known words of a text."""
        known = [word for word in counts if word in self._column]
        columns = np.array([self._column[word] for word in known], int)
        weights = np.array([counts[word] for word in known], float) * self._idf[columns]
        length = np.linalg.norm(weights)
        return columns, weights / length if length else weights


def _word_counts(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", normalize(text).lower()))


class TrainingSet:
    """The training shapes as two baselines: nearest caption, and mean shape.

    The nearest caption is looked for among the same kind of words as it is given, each of `words`
    apart. The mean shape is that of the true host, which no prompt has to be understood for; where
    no record names a host it is the mean of all.
    """

    def __init__(self, directory: str | Path, resolution: int, words: Sequence[Words]) -> None:
        self.source = open_split(directory, "train")
        self.resolution = resolution
        texts: dict[Words, dict[int, str]] = {kind: {} for kind in words}
        sums: dict[str | None, np.ndarray] = {}
        colors: dict[str | None, np.ndarray] = {}
        counts: Counter[str | None] = Counter()
        for number in range(len(self.source)):
            example = self._example(number)
            for kind in words:
                if kind.fits(example):
                    texts[kind][number] = _told(kind.prompt(example))
            host = example.recipe.host if example.recipe else None
            sums[host] = sums.get(host, 0.0) + (example.field > 0).astype(np.float32)
            colors[host] = colors.get(host, 0.0) + example.colors.mean(axis=0)
            counts[host] += 1
        self.indexes = {kind: CaptionIndex(texts[kind]) for kind in words if texts[kind]}
        self.means = {
            host: Volume(
                sums[host] / counts[host] - 0.5,
                np.broadcast_to(colors[host] / counts[host], (*sums[host].shape, 3)),
            )
            for host in sums
        }

    def nearest_by_caption(self, example: Example, words: Words) -> Volume | None:
        """The training shape whose words are most similar; None where one has none of the kind."""
        if words not in self.indexes or not words.fits(example):
            return None
        number = self.indexes[words].nearest(_told(words.prompt(example)))
        return true_volume(self._example(number))

    def mean_shape(self, example: Example) -> Volume | None:
        """Where more than half of the host's training shapes are filled; None without any."""
        return self.means.get(example.recipe.host if example.recipe else None)

    def _example(self, number: int) -> Example:
        return Example.from_record(self.source[number], self.resolution)


def _told(prompt: Prompt) -> str:
    """All that a prompt tells the model, as one text."""
    return f"{prompt.text} {prompt.style or ''}"


def true_volume(example: Example) -> Volume:
    """A record's own shape on the grid: near the surface the colour of the nearest point."""
    return Volume(
        example.field, spread_colors(example.field, example.surface.points, example.colors)
    )


def ceiling(example: Example) -> Volume:
    """What a grid of this resolution holds of a record's own shape, wherever its cells lie."""
    true = true_volume(example)
    return Volume(resampled(true.field), true.colors)


def resampled(field: Float[np.ndarray, "r r r"]) -> Float[np.ndarray, "r r r"]:
    """A field interpolated onto the grid half a voxel off along each axis, and back again.

    On the same grid nothing can be lost, by way of a mesh neither: each cell stays on its side.
    """
    for axis in range(3):
        field = correlate1d(field, (0.25, 0.5, 0.25), axis, mode="nearest")
    return field


def spread_colors(
    field: Float[np.ndarray, "r r r"],
    points: Float[np.ndarray, "n 3"],
    colors: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, "r r r 3"]:
    """Colours of surface points on the cells near the surface; elsewhere their mean."""
    resolution = field.shape[0]
    volume = np.broadcast_to(colors.mean(axis=0), (*field.shape, 3)).astype(np.float32)
    near = np.abs(field) < COLOR_REACH * voxel_size(resolution)
    _, nearest = cKDTree(points).query(grid_points(resolution)[near])
    volume[near] = colors[nearest]
    return volume
