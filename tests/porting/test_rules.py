import numpy as np
import pytest
from flax import nnx

from porting.rules import CONV2D, LINEAR, PortError, Rule, permute, plan, port, target_shapes

TARGET = {"a/kernel": (3, 2), "a/bias": (2,), "blocks/0/kernel": (4, 4), "blocks/1/kernel": (4, 4)}
RULES = [
    Rule(r"a\.weight", "a/kernel", LINEAR),
    Rule(r"a\.bias", "a/bias"),
    Rule(r"blocks\.(\d+)\.weight", r"blocks/\1/kernel", LINEAR),
]


def make_state_dict():
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (2, 3), "a.bias": (2,), "blocks.0.weight": (4, 4)}
    shapes["blocks.1.weight"] = (4, 4)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def problems(state_dict, rules=RULES, target=TARGET):
    with pytest.raises(PortError) as error:
        port(state_dict, rules, target)
    return str(error.value)


def test_every_tensor_lands_transposed():
    state_dict = make_state_dict()
    arrays = port(state_dict, RULES, TARGET)
    assert list(arrays) == list(TARGET)
    np.testing.assert_array_equal(arrays["a/kernel"], state_dict["a.weight"].T)
    np.testing.assert_array_equal(arrays["blocks/1/kernel"], state_dict["blocks.1.weight"].T)
    np.testing.assert_array_equal(arrays["a/bias"], state_dict["a.bias"])


def test_one_error_lists_every_problem():
    state_dict = make_state_dict()
    state_dict["extra.weight"] = np.zeros(3)
    state_dict["blocks.7.weight"] = np.zeros((4, 4))
    state_dict["a.weight"] = np.zeros((5, 3))
    del state_dict["blocks.1.weight"]
    message = problems(state_dict, [*RULES, Rule(r"never\.weight", "a/bias")])
    for part in (
        "6 problems",
        "extra.weight [3]: no rule takes it",
        "no parameter blocks/7/kernel",
        "a/kernel is [3, 2] but this gives [3, 5]",
        "parameter blocks/1/kernel: nothing writes it",
        "parameter a/kernel: nothing writes it",
        r"rule 'never\\.weight': matches nothing",
    ):
        assert part in message


def test_two_rules_for_one_tensor_and_two_tensors_for_one_parameter():
    assert "2 rules take it" in problems(make_state_dict(), [*RULES, Rule(r"a\.b.*", "a/bias")])
    rules = [*RULES, Rule(r"copy\.bias", "a/bias")]
    state_dict = make_state_dict() | {"copy.bias": np.zeros(2)}
    assert "a/bias is already written by a.bias" in problems(state_dict, rules)


def test_a_transform_that_cannot_apply_is_a_problem_not_a_crash():
    assert "fails on [2]" in problems(
        make_state_dict(), [RULES[0], Rule(r"a\.bias", "a/bias", LINEAR)]
    )


def test_optional_and_unused():
    unused = Rule(r"decoder\..*", None, optional=True)
    state_dict = make_state_dict()
    assert port(state_dict, [*RULES, unused], TARGET).keys() == TARGET.keys()
    shapes = {name: w.shape for name, w in state_dict.items()} | {"decoder.x": (1,)}
    assert plan(shapes, [*RULES, unused], TARGET).unused == ("decoder.x",)
    assert "matches nothing" in problems(state_dict, [*RULES, Rule(r"decoder\..*", None)])


def test_tied_copies_must_be_equal():
    rules = [*RULES[:1], Rule(r"(a|copy)\.bias", "a/bias", tied=True), *RULES[2:]]
    state_dict = make_state_dict()
    state_dict["a.bias"][1] = np.nan  # equal to itself, as bits
    state_dict["copy.bias"] = state_dict["a.bias"].copy()
    arrays = port(state_dict, rules, TARGET)
    np.testing.assert_array_equal(arrays["a/bias"], state_dict["a.bias"])
    state_dict["copy.bias"][0] += 1e-3
    assert "copy.bias should be a copy of a.bias" in problems(state_dict, rules)


@pytest.mark.parametrize("transform", [LINEAR, CONV2D, permute(2, 0, 1)])
def test_transforms_invert(transform):
    shape = {LINEAR: (2, 3), CONV2D: (2, 3, 4, 5)}.get(transform, (2, 3, 4))
    w = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(transform.invert(transform.apply(w)), w)
    assert transform.apply(w).shape != w.shape


def test_target_shapes_of_an_abstract_module():
    model = nnx.eval_shape(lambda: nnx.List([nnx.Linear(2, 3, rngs=nnx.Rngs(0))]))
    assert target_shapes(model) == {"0/kernel": (2, 3), "0/bias": (3,)}
