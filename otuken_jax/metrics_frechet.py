"""P-FID and P-IS: Frechet distance and inception score on PointNet++ features (Point-E, sec. 5).

Both compare distributions of shapes, so they need hundreds of clouds to mean anything. Where the
classifier's weights are missing, the same two formulas on histograms of point distances stand in,
under names of their own (FD-D2, IS-D2): their values compare with nothing but each other.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from scipy import linalg, special
from scipy.cluster.vq import kmeans2

from otuken_jax.models.pointnet2 import PointNet2, PointNet2Config
from otuken_jax.models.weights import load_weights, read_card

D2_PAIRS, D2_BINS, D2_CLUSTERS = 20_000, 32, 16
BATCH_SIZE = 64  # of the published evaluation; a cloud's place in its batch matters a little


class Statistics(NamedTuple):
    """Mean and covariance of features."""

    mean: Float[np.ndarray, " f"]
    cov: Float[np.ndarray, "f f"]


def load_pointnet(folder: str | Path) -> PointNet2:
    """A PointNet++ from a folder that `porting` wrote.

    Raises:
        UserError: the folder holds no such weights, or not intact.
    """
    config = PointNet2Config(**read_card(folder, "point-e/pointnet").config)
    model = nnx.eval_shape(lambda: PointNet2(config, rngs=nnx.Rngs(0)))
    load_weights(model, folder, network="point-e/pointnet")
    return model


def normalize_clouds(clouds: Float[np.ndarray, "b n 3"]) -> Float[np.ndarray, "b n 3"]:
    """Centres clouds on their mean and divides them by their largest radius.

    A cloud of one repeated point, as an empty field counts, ends at the origin.
    """
    clouds = clouds - clouds.mean(axis=1, keepdims=True)
    radius = np.sqrt((clouds**2).sum(axis=-1)).max(axis=1)[:, None, None]
    return clouds / np.where(radius > 0, radius, 1)


def features_and_probs(
    model: PointNet2, clouds: Float[np.ndarray, "b n 3"], *, batch_size: int = BATCH_SIZE
) -> tuple[Float[np.ndarray, "b f"], Float[np.ndarray, "b k"]]:
    """PointNet++ features and class probabilities of clouds in any units (published: 4,096 points).

    A smaller `batch_size` saves memory and changes the features slightly, see `PointNet2`.
    """
    graphdef, state = nnx.split(model)
    clouds = normalize_clouds(np.asarray(clouds)).astype(np.float32)
    batches = []
    for start in range(0, len(clouds), batch_size):
        batch = clouds[start : start + batch_size]
        # The last batch is filled up, so that one program serves all.
        filled = np.concatenate([batch, np.repeat(batch[:1], batch_size - len(batch), axis=0)])
        outputs = _apply(graphdef, state, jnp.asarray(filled))
        batches.append([np.asarray(x)[: len(batch)] for x in outputs])
    features, log_probs = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return features, np.exp(log_probs)


@partial(jax.jit, static_argnums=0)
def _apply(graphdef, state, points: Float[Array, "b n 3"]) -> tuple[Array, Array]:
    return nnx.merge(graphdef, state)(points)


def feature_statistics(features: Float[np.ndarray, "b f"]) -> Statistics:
    """Mean in the features' own precision and unbiased covariance in float64, as published."""
    return Statistics(features.mean(axis=0), np.cov(features, rowvar=False))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Dowson and Landau, 1982).

    The trace of the root is found from the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which are real
    also when there are fewer samples than features.
    """
    values, vectors = linalg.eigh(a.cov)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = linalg.eigvalsh(root @ b.cov @ root)
    trace = np.trace(a.cov) + np.trace(b.cov) - 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(((a.mean - b.mean) ** 2).sum() + trace)


def inception_score(probs: Float[np.ndarray, "b k"], split_size: int = 5000) -> float:
    """Mean over splits, taken in order, of exp(mean KL(p || mean p)) (arXiv:1606.03498)."""
    scores = []
    for start in range(0, len(probs), split_size):
        split = probs[start : start + split_size]
        divergence = special.rel_entr(split, split.mean(axis=0, keepdims=True)).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores))


def p_fid(a: Float[np.ndarray, "b f"], b: Float[np.ndarray, "c f"]) -> float:
    """Frechet distance between the PointNet++ features of two sets of clouds."""
    return frechet_distance(feature_statistics(a), feature_statistics(b))


def d2_histograms(clouds: Float[np.ndarray, "b n 3"]) -> Float[np.ndarray, "b k"]:
    """Shares, in per cent, of distances between random pairs of points of a normalized cloud.

    The D2 shape distribution (Osada et al., 2002) over [0, 2], the same pairs for every cloud.
    """
    first, second = np.random.default_rng(0).integers(clouds.shape[1], size=(2, D2_PAIRS))
    histograms = []
    for cloud in clouds:
        points = normalize_clouds(cloud[None])[0]
        distances = np.linalg.norm(points[first] - points[second], axis=1)
        counts, _ = np.histogram(distances, D2_BINS, (0.0, 2.0))
        histograms.append(100 * counts / D2_PAIRS)
    return np.stack(histograms)


def cluster_probs(
    features: Float[np.ndarray, "b f"],
    reference: Float[np.ndarray, "c f"],
    *,
    clusters: int = D2_CLUSTERS,
    seed: int = 0,
) -> Float[np.ndarray, "b k"]:
    """Soft membership in clusters of reference features, in place of a classifier's classes.

    softmax(-d^2 / (2 s^2)), d the distance to each of at most `clusters` k-means centres and s^2
    the mean squared distance of a reference to its own centre.
    """
    clusters = min(clusters, len(np.unique(reference, axis=0)))
    centres, labels = kmeans2(reference, clusters, minit="++", seed=seed)
    spread = ((reference - centres[labels]) ** 2).sum(-1).mean()
    squared = ((features[:, None] - centres) ** 2).sum(-1)
    return special.softmax(-squared / (2 * max(spread, 1e-12)), axis=1)
