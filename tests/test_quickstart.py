"""What the quickstart's prompts say of themselves."""

import pytest

from configs.quickstart import HOSTS, MOTIFS, STYLES, get_config
from otuken_jax import quickstart
from otuken_jax.data.motifs.recipes import hold_out


@pytest.mark.parametrize(
    ("number", "pair", "words"),
    [
        (0, ("vazo", "lale"), ("vazo", "lale")),
        (1, ("kumbet", "yildiz8"), ("kümbet", "sekiz köşeli yıldız")),
    ],
)
def test_training_does_not_show_the_pairs_of_the_first_prompts(number, pair, words):
    prompt = " ".join(filter(None, quickstart.PROMPTS[number]))
    assert all(word in prompt for word in words)
    selection = {"hosts": HOSTS, "motifs": MOTIFS, "styles": STYLES}
    unseen = get_config().data.heldout_styles
    assert pair in hold_out(0, **selection, unseen_styles=unseen).pairs
