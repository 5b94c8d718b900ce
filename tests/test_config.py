"""Values with which no run can be trained are refused before anything is built."""

from pathlib import Path

import pytest

from configs import base
from otuken_jax.config import check_config, field_names, load_config
from otuken_jax.config_checks import RANGES, check_ranges, check_type, value_of
from otuken_jax.errors import UserError

TINY = str(Path(__file__).parent / "configs" / "tiny.py")
NAMES = ("data.hosts", "data.motifs", "data.styles", "data.heldout_styles", "log.prompts")


def refusal(override: str) -> str:
    """The one line with which a value is refused."""
    with pytest.raises(UserError) as error:
        check_config(load_config(TINY, [f"--config.{override}"]))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_number_has_a_range():
    config = base.get_config()
    values = {field: value_of(config, field) for field in field_names(config)}
    numbers = {f for f, v in values.items() if isinstance(v, int | float | tuple)}
    flags = {f for f, v in values.items() if isinstance(v, bool)}
    assert numbers - flags - set(NAMES) == set(RANGES)


def test_what_is_out_of_its_range_is_refused():
    for field, allowed in RANGES.items():
        for wrong in (allowed.low - 1, allowed.high + 1, float("nan")):
            config = base.get_config()
            group, _, name = field.rpartition(".")
            default = value_of(config, field)
            value = (*default, wrong) if isinstance(default, tuple) else wrong
            with value_of(config, group).ignore_type():
                value_of(config, group)[name] = value
            with pytest.raises(UserError) as error:
                check_ranges(config)
            assert str(error.value).endswith(f"; give {allowed.words}")


def test_none_is_no_value():
    config = base.get_config()
    for field in field_names(config):
        with pytest.raises(UserError, match=f"config.{field}=None does not fit its field, of type"):
            check_type(field, None, value_of(config, field))
    assert "batch_size=None does not fit its field, of type int" in refusal("data.batch_size=None")
    assert "learning_rate=None does not" in refusal("optim.learning_rate=None")


def test_none_in_a_file_is_refused(tmp_path):
    lines = ["from configs.base import *", "config = get_config()", "config.log.every = None"]
    (tmp_path / "mine.py").write_text("\n".join([*lines, "get_config = lambda: config"]))
    with pytest.raises(UserError, match=r"config\.log\.every=None does not fit its field"):
        load_config(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.batch_size=True", "config.data.batch_size=True does not fit its field, of type int"),
        ("optim.learning_rate=True", "does not fit its field, of type float"),
        ("optim.learning_rate=1e999", "config.optim.learning_rate=inf; give a number above 0"),
        (
            "data.hosts=(1, 2)",
            "config.data.hosts=(1, 2) does not fit its field, of type tuple of str",
        ),
        ("data.scale_range=(None, 1.0)", "of type tuple of float"),
        ("data.scale_range=(1.0,)", "give the smallest and the largest scale"),
        ("data.scale_range=(1.1, 0.9)", "give the smallest and the largest scale"),
        ("data.text_only=0.95", "give at most 1 together"),
        ("data.num_shapes=4", "fewer than one batch of config.data.batch_size=8"),
        ("model.num_heads=7", "config.model.num_heads=7 does not divide config.model.latent_dim"),
        ("model.style_dim=15", "config.model.num_heads=2 does not divide config.model.style_dim"),
        ("model.point_encoder.heads=3", "does not divide config.model.point_encoder.width=16"),
        ("model.decoder.norm_groups=7", "does not divide config.model.decoder.trunk_widths"),
        ("model.decoder.trunk_widths=(15, 8)", "config.model.num_heads=2 does not divide"),
        ("model.decoder.trunk_resolutions=(6, 4)", "give them in rising order"),
        ("model.decoder.stage_resolutions=(12, 8)", "give them in rising order"),
        ("model.decoder.stage_resolutions=(8, 12, 14)", "need a trunk resolution of half"),
        ("model.decoder.attention_resolutions=(5,)", "choose among 4, 6, those of the trunk"),
    ],
)
def test_what_does_not_fit_is_refused(override, words):
    assert words in refusal(override)


def test_a_trunk_ends_at_half_of_the_last_stage():
    trunk = ["trunk_resolutions=(4, 6, 8)", "trunk_widths=(16, 8, 8)"]
    config = load_config(TINY, [f"--config.model.decoder.{words}" for words in trunk])
    with pytest.raises(UserError, match="give two at least, the last one 6, half of the last"):
        check_config(config)


@pytest.mark.parametrize("name", ["quickstart", "v32", "v32_cpu", "v48", "v64", "v64_short", TINY])
def test_every_configuration_is_accepted(name):
    check_config(load_config(name))
