import jax
import pytest


@pytest.fixture(autouse=True)
def highest_precision():
    """Equality is shown in full float32; accelerators default to less."""
    with jax.default_matmul_precision("highest"):
        yield
