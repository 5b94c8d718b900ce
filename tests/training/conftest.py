"""Fixtures that several of the training tests share."""

from pathlib import Path

import pytest
from tiny_training import make_quick_step, run_config

from otuken_jax.training import learner as learner_module
from otuken_jax.training import run


@pytest.fixture
def quick_step(monkeypatch) -> None:
    """Trainers make steps without a network, as `make_quick_step` says."""
    monkeypatch.setattr(learner_module, "make_train_step", make_quick_step)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """The tiny configuration's data set, built once."""
    directory = tmp_path_factory.mktemp("tiny_data")
    run.build_data(run_config(directory), directory)
    return directory
