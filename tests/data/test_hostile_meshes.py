"""Hostile mesh files are refused, by the reader and by the whole command."""

import contextlib
import csv
import json
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
import trimesh
from hostile_files import (
    EPS,
    HOSTILE,
    LITTLE,
    TRIANGLE,
    UNREAD,
    glb,
    naming,
    ply,
    png_bomb,
    textured_glb,
    triangle_header,
)

from otuken_jax.data import mesh_files
from otuken_jax.data.mesh_files import BadMesh, read_mesh


def write_unread(folder):
    (folder / "eps.mtl").write_text("newmtl a\nmap_Kd eps.png\n")
    (folder / "eps.png").write_bytes(EPS)
    for name, data in UNREAD.items():
        (folder / name).write_bytes(data)


def test_textures_that_cannot_be_read_are_a_note(tmp_path):
    write_unread(tmp_path)
    for name in UNREAD:
        raw, _ = read_mesh(tmp_path / name, tmp_path)
        assert (name, raw.notes) == (name, (mesh_files.UNREAD_IMAGE,))
        assert not raw.colored


PEAKS = """
import re, sys
from pathlib import Path
from otuken_jax.data.mesh_files import read_mesh
for name in sys.argv[1:]:
    read_mesh(Path(name), Path(name).parent)
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@on_linux
def test_no_texture_is_decoded_as_it_is_opened(tmp_path):
    """Pillow's memory is none of Python's, so it is the process's that is measured."""
    (tmp_path / "plain.glb").write_bytes(textured_glb(png_bomb(900)))
    write_unread(tmp_path)
    names = [str(tmp_path / name) for name in ("plain.glb", *UNREAD)]
    program = [sys.executable, "-c", PEAKS, *names]
    peaks = subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()
    assert len(peaks) == len(names)
    assert int(peaks[-1]) - int(peaks[0]) < 64 * 2**10  # KiB


def tree_peaks(root):
    """The highest memory so far, in bytes, of a process and of those that it started."""
    parents, peaks = {}, {}
    for file in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = dict(re.findall(r"^(Pid|PPid|VmHWM):\s+(\d+)", file.read_text(), re.M))
            pid = int(fields["Pid"])
            parents[pid], peaks[pid] = int(fields["PPid"]), int(fields.get("VmHWM", 0)) * 1024

    def ours(pid):
        return pid == root or (pid in parents and ours(parents[pid]))

    return {pid: peak for pid, peak in peaks.items() if ours(pid)}


@on_linux
@pytest.mark.slow
def test_the_command_reports_a_folder_of_hostile_files(tmp_path):
    root, out = tmp_path / "meshes", tmp_path / "out"
    root.mkdir()
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    (tmp_path / "secret.mtl").write_text("newmtl a\n")
    for name, (data, _) in HOSTILE.items():
        (root / name).write_bytes(data)
    write_unread(root)
    trimesh.creation.icosphere(2).export(root / "top.ply")
    captions = tmp_path / "captions.csv"
    captions.write_text("path,text\ntop.ply,top\n../x,kaçak\n/etc/hostname,kaçak\n")
    command = [sys.executable, "-m", "otuken_jax.prepare", "--meshes", root, "--out", out]
    command += ["--captions", captions, "--workers", 2, "--timeout", 30, "--resolution", 16]
    began, peaks = time.monotonic(), {}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
        try:
            while process.poll() is None and time.monotonic() - began < 180:
                for pid, peak in tree_peaks(process.pid).items():
                    peaks[pid] = max(peak, peaks.get(pid, 0))  # a process that ended has none
                time.sleep(0.1)
        finally:
            process.kill()
        log.seek(0)
        assert process.wait() == 0, log.read()
    with (out / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = {row["path"]: (row["status"], row["reason"]) for row in csv.DictReader(lines)}
    assert rows.pop("top.ply") == ("ok", "")
    outside = "outside the folder of the meshes; not opened"
    assert rows.pop("../x") == ("failed", f"line 3: {outside}")
    assert rows.pop("/etc/hostname") == ("failed", f"line 4: {outside}")
    reasons = {name: reason for name, (_, reason) in HOSTILE.items()}
    reasons |= dict.fromkeys(UNREAD, "has no inside")  # one triangle
    assert rows.keys() == reasons.keys()
    for name, (status, reason) in rows.items():
        assert (name, status) == (name, "failed")
        assert re.search(reasons[name], reason), (name, reason)
    manifest = json.loads((out / "dataset.json").read_text())
    assert {n: s["count"] for n, s in manifest["splits"].items()} == {"train": 1, "val": 1}
    assert len(peaks) >= 3  # the command and both of its processes
    assert max(peaks.values()) < 2**29  # measured: 0.25 GiB, which is what the programs take


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    data, reason = HOSTILE[name]
    folder = tmp_path / "meshes"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    (tmp_path / "secret.mtl").write_text("newmtl a\n")
    (folder / name).write_bytes(data)
    began = time.monotonic()
    tracemalloc.start()  # counts NumPy's arrays too
    with pytest.raises(BadMesh, match=reason):
        read_mesh(folder / name, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - began < 10
    assert peak < 64 * 2**20


def test_the_harmless_twins_of_hostile_files_are_read(tmp_path):
    """So that it is the hostile part that is refused."""
    (tmp_path / "t.glb").write_bytes(glb(triangle_header(), TRIANGLE))
    (tmp_path / "i.glb").write_bytes(textured_glb(png_bomb(900)))
    (tmp_path / "t.ply").write_bytes(ply(LITTLE, 3, 1, TRIANGLE + struct.pack("<Biii", 3, 0, 1, 2)))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/u.gltf").write_bytes(naming("../secret.bin"))
    (tmp_path / "secret.bin").write_bytes(TRIANGLE)
    for name in ("t.glb", "i.glb", "t.ply", "sub/u.gltf"):
        assert len(read_mesh(tmp_path / name, tmp_path)[0].faces) == 1
    assert read_mesh(tmp_path / "sub/u.gltf", tmp_path)[1] == [(tmp_path / "secret.bin").resolve()]


def test_large_files_are_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(mesh_files, "MAX_FACES", 11)
    trimesh.creation.box().export(tmp_path / "b.stl")
    with pytest.raises(BadMesh, match="684 bytes, more than 100"):
        read_mesh(tmp_path / "b.stl", tmp_path)
    monkeypatch.setattr(mesh_files, "MAX_FILE_BYTES", 10_000)
    for name in ("b.stl", "b.obj", "b.ply", "b.off", "b.glb"):
        trimesh.creation.box().export(tmp_path / name)
        with pytest.raises(BadMesh, match="12 faces"):
            read_mesh(tmp_path / name, tmp_path)
