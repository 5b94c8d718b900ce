import json
import subprocess
import sys

import pytest
import torch

CONVERT = r"""
import json, re, sys
from pathlib import Path
from porting.__main__ import main
status = main(sys.argv[1:])
# Not getrusage: its maximum is inherited from the process that started this one.
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({"status": status, "peak": int(peak[1]) * 1024}))
"""


@pytest.mark.slow
def test_base1b_converts_in_less_than_twice_its_size(tmp_path):
    """The published file's size and format; measured 1.1 times the file's size."""
    from porting.point_e import NETWORKS

    network = NETWORKS["point-e/base1B"]
    known = {"input_proj.weight": (2048, 6), "backbone.resblocks.0.ln_1.weight": (2048,)}
    config = network.config_from_source(None, known)
    with torch.device("meta"):
        shapes = {n: w.shape for n, w in network.make_torch(config).state_dict().items()}
    source = tmp_path / "base_1b.pt"
    # Zeros take no memory until they are written to, so making the file is cheap.
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, source)
    size = source.stat().st_size
    assert size == pytest.approx(4 * 1.2443e9, rel=0.001)
    argv = [
        sys.executable,
        "-c",
        CONVERT,
        network.name,
        str(source),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    print(f"peak {report['peak'] / 1e9:.2f} GB for a file of {size / 1e9:.2f} GB")
    assert report["status"] == 0
    assert report["peak"] < 2.2 * size
    (tmp_path / "out" / "model.safetensors").unlink()  # pytest would keep 10 GB
    source.unlink()
