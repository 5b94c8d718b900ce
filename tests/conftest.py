"""Eight simulated devices for every test, and fixtures that many of them share."""

import logging
import os
import signal

import jax

jax.config.update("jax_num_cpu_devices", 8)

import numpy as np
import pytest
from tiny_models import TINY, drawn

from otuken_jax.errors import UserError
from otuken_jax.models.otuken3d import ModelConfig, Otuken3DModel


def pytest_configure(config):
    """Programs are compiled once for all tests, workers and processes that tests start.

    They stay in pytest's cache: `pytest --cache-clear` compiles anew.
    """
    if not config.pluginmanager.has_plugin("cacheprovider"):
        return
    directory = str(config.cache.mkdir("xla"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = directory  # of processes that tests start
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def pytest_collection_modifyitems(items):
    """Training first: one worker would wait for another that starts these files last."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.fixture(autouse=True, scope="module")
def quick_compile(request):
    """Compiles the tiny models' programs with few optimisations.

    They take longer to compile than to run; this halves it.
    """
    quick = request.path.parent.name in ("models", "training", "losses")
    jax.config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(autouse=True)
def usual_log():
    """A command that a test runs lets the package say more, also in the tests after it."""
    yield
    logging.getLogger("otuken_jax").setLevel(logging.NOTSET)


@pytest.fixture
def ctrl_c():
    """Ctrl-C is heard as in a terminal; what a script starts in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skips what draws on a machine that cannot; any other error of the plotter stays one."""
    from otuken_jax.geometry import render

    try:
        render._new_plotter(8).close()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return TINY


@pytest.fixture(scope="session")
def tiny_model() -> Otuken3DModel:
    """A tiny model with random weights everywhere; do not change it."""
    return drawn(TINY, 16)


@pytest.fixture
def tiny_inputs() -> dict[str, np.ndarray]:
    """Three samples: words only, points only, both."""
    rng = np.random.default_rng(1)
    return {
        "text_ids": rng.integers(3, 259, (3, 12)).astype(np.int32),
        "text_mask": np.arange(12) < np.array([[12], [7], [9]]),
        "style_ids": rng.integers(3, 259, (3, 8)).astype(np.int32),
        "style_mask": np.arange(8) < np.array([[8], [5], [3]]),
        "points": rng.uniform(-0.9, 0.9, (3, 20, 3)).astype(np.float32),
        "has_text": np.array([True, False, True]),
        "has_points": np.array([False, True, True]),
        "has_style": np.array([True, True, False]),
    }
