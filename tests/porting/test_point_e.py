"""Point-E's files: whole ones and back, and those of another network."""

import pytest
import torch
from converter import run
from flax import nnx
from golden_files import manifest
from safetensors import safe_open

from otuken_jax.models.weights import read_card
from porting.registry import NETWORKS
from porting.rules import PortError, plan, target_shapes


@pytest.mark.parametrize(
    ("source", "network", "message", "parts"),
    [
        (
            "base300M",
            "base40M",
            "source {}",
            [
                "input_proj.weight: input_proj/kernel is [6, 512] but this gives [6, 1024]",
                "ln_post.bias: norm_post/bias is [512] but this gives [1024]",
                "backbone.resblocks.23.ln_2.bias: the model has no parameter",
            ],
        ),
        (
            "base40M",
            "base40M-uncond",
            "source clip_embed.{}: no rule takes it",
            ["0.weight [1024]", "0.bias [1024]", "1.weight [512, 1024]", "1.bias [512]"],
        ),
        (
            "base40M-uncond",
            "base40M",
            "parameter {}: nothing writes it",
            [f"norm_condition/{p}" for p in ("scale", "bias")]
            + [f"condition_proj/{p}" for p in ("kernel", "bias")],
        ),
        ("base40M-imagevec", "base40M-textvec", None, []),
    ],
)
def test_the_file_of_another_point_e_network(source, network, message, parts):
    """By published names and shapes; networks of a picture's and a text's vector look alike."""
    entry = manifest("pointe_models/manifest-full.json")[source]
    shapes = {e["name"]: tuple(e["shape"]) for e in entry["state_dict"]}
    network = NETWORKS[f"point-e/{network}"]

    def fit():
        config = network.config_from_source(None, shapes)
        model = nnx.eval_shape(lambda: network.make_model(config))
        return plan(shapes, network.rules(config), target_shapes(model))

    if message is None:
        assert not fit().unused
        return
    with pytest.raises(PortError) as error:
        fit()
    for part in parts:
        assert message.format(part) in str(error.value)


def test_a_file_that_bears_another_networks_name(tmp_path, capsys):
    """Names and shapes are those of the network that is asked for; only the file's name tells."""
    file = tmp_path / "base_40m_imagevec.pt"
    torch.save({}, file)
    for source in (file, tmp_path):
        assert run("point-e/base40M-textvec", source, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert f"{file} bears the published name of point-e/base40M-imagevec" in error
        assert error.count("\n") == 1
    assert run("point-e/base40M-imagevec", file, "--out", tmp_path / "out") == 2
    assert "not a diffusion model of Point-E" in capsys.readouterr().err  # its name is fine


def test_point_e_from_its_published_format_and_back(tmp_path):
    """The whole SDF model, and PointNet++ inside a training checkpoint with its counters."""
    for name, key in (("point-e/sdf", None), ("point-e/pointnet", "model_state_dict")):
        network = NETWORKS[name]
        module = network.make_torch(next(iter(network.configs.values())))
        state_dict = module.state_dict()
        content = state_dict if key is None else {"epoch": 3, key: state_dict}
        folder = tmp_path / name
        folder.mkdir(parents=True)
        torch.save(content, folder / "w.pt")
        assert run(name, folder / "w.pt", "--out", folder / "a") == 0
        assert run("export", folder / "a", "--out", folder / "torch") == 0
        with safe_open(folder / "torch" / "model.safetensors", framework="pt") as file:
            tensors = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
        module.load_state_dict(tensors, strict=True)
        assert all(torch.equal(tensors[n], w) for n, w in state_dict.items())
        assert run(name, folder / "torch", "--out", folder / "b") == 0
        assert read_card(folder / "a").sha256 == read_card(folder / "b").sha256
