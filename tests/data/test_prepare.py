"""A folder of meshes to a data set: reports, resuming, limits, and bytes that depend on nothing."""

import concurrent.futures
import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import trimesh

from otuken_jax import prepare as command
from otuken_jax.data import prepare, records
from otuken_jax.data.caption_files import Caption
from otuken_jax.data.mesh_records import FAILED, OK, REPAIRED, Outcome, Settings, Task, prepare_mesh
from otuken_jax.errors import UserError, run_command

SETTINGS = Settings(resolution=16, num_points=64, up=None)


def sphere(path, radius=1.0, keep=None):
    mesh = trimesh.creation.icosphere(2, radius)
    trimesh.Trimesh(mesh.vertices, mesh.faces[:keep], process=False).export(path)


def misbehave(task):
    """In place of `prepare_mesh`, run in a worker process."""
    if task.path == "slow.stl":
        time.sleep(600)
    if task.path == "dies.stl":
        os.abort()
    if task.path == "large.stl":
        np.ones(2**40)
    if task.path == "grows.stl":
        held = []
        while True:
            held.append(bytearray(2**26))
    if task.path == "fault.stl":
        raise KeyError("a fault")
    return prepare_mesh(task)


@pytest.fixture
def folder(tmp_path):
    """Meshes of every fate, and their captions."""
    root = tmp_path / "meshes"
    (root / "alt").mkdir(parents=True)
    trimesh.creation.cylinder(0.2, 1.0).export(root / "sütun.ply")
    trimesh.creation.box([1, 2, 3]).export(root / "alt" / "kutu.OBJ", file_type="obj")
    trimesh.creation.box([1, 2, 3]).export(root / "kopya.obj")
    sphere(root / "delik.off", keep=-5)
    (root / "kötü.obj").write_text("v 0 0 nan\nf 1 1 1\n")
    (root / "düz.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    sphere(tmp_path / "dışarıda.stl")
    (root / "bağ.stl").symlink_to(tmp_path / "dışarıda.stl")
    (root / "kopuk.obj").symlink_to("yitik.obj")
    (root / "metin.txt").write_text("v 0 0 0\n")
    (root / "metin.glb").symlink_to("metin.txt")
    (root / "takma.obj").symlink_to("kopya.obj")
    os.mkfifo(root / "boru.stl")
    captions = tmp_path / "captions.csv"
    captions.write_text(
        "path,text,style_text\nsütun.ply,ince sütun|sütun,sade taş\nalt/kutu.OBJ,kutu,\n"
        "kopya.obj,kutu,\n../dışarıda.stl,kaçak,\nyok.glb,yok,\nkötü.obj,kötü,\n"
        "kötü.obj,yamuk,\nkopya.obj,kare,\n"
    )
    return root, captions


def digests(directory):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in directory.iterdir()
        if p.name != prepare.LEDGER  # it holds times of change
    }


def report(directory):
    with (directory / "report.csv").open(encoding="utf-8-sig", newline="") as lines:
        return {row["path"]: row for row in csv.DictReader(lines)}


def run(folder, out, **more):
    usual = {"resolution": 16, "num_points": 64, "workers": 1, "progress": False}
    return prepare.prepare_meshes(*folder, out, **(usual | more))


def in_process(run, paths, *_):
    for path in paths:
        yield path, prepare_mesh(run.tasks[path]), True


def examples(directory):
    manifest = records.read_manifest(directory)
    names = [name for split in manifest["splits"].values() for name in split["files"]]
    sources = [records.RecordSource([directory / name]) for name in names]
    return [source[i] for source in sources for i in range(len(source))]


@pytest.fixture
def locked(monkeypatch):
    """A subfolder that cannot be listed, as it is to users who are not root."""

    def walk(top, onerror=None):
        if onerror is not None:
            onerror(PermissionError(13, "Permission denied", os.path.join(top, "kilitli")))
        return os_walk(top, onerror=onerror)

    os_walk = os.walk
    monkeypatch.setattr(os, "walk", walk)


def test_the_report_tells_of_every_file(folder, locked, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_work", in_process)
    made = run(folder, tmp_path / "out")
    rows = report(tmp_path / "out")
    wordless = "no caption: learned from its points alone"
    assert {path: (row["status"], row["reason"]) for path, row in rows.items()} == {
        "sütun.ply": ("ok", ""),
        "alt/kutu.OBJ": ("ok", ""),
        "kopya.obj": (
            "ok",
            "the same shape as alt/kutu.OBJ; captioned twice, in lines 4 and 9: texts joined",
        ),
        "delik.off": ("repaired", "9 open edges; open: its size may be off; " + wordless),
        "kötü.obj": (
            "failed",
            "1 of 1 vertices are NaN or infinite; captioned twice, in lines 7 and 8: texts joined",
        ),
        "düz.obj": ("failed", "has no inside: it encloses 0 voxels of 16^3"),
        "bağ.stl": ("failed", "a link that leads outside the folder; not opened"),
        "kopuk.obj": ("failed", "cannot read yitik.obj: No such file or directory"),
        "metin.glb": (
            "failed",
            "a link to metin.txt, which is not one of .obj, .ply, .stl, .off, .glb, .gltf",
        ),
        "kilitli": ("failed", "a folder that cannot be read: Permission denied"),
        "boru.stl": ("failed", "not a regular file"),
        "yok.glb": ("failed", "captioned, but there is no such file"),
        "../dışarıda.stl": ("failed", "line 5: outside the folder of the meshes; not opened"),
    }
    assert made.counts == {"ok": 3, "repaired": 1, "failed": 9}
    assert rows["kopya.obj"]["split"] == rows["alt/kutu.OBJ"]["split"]  # no copy validates
    assert {row["split"] for row in rows.values()} == {"train", "val", ""}
    assert {k: v["count"] for k, v in made.manifest["splits"].items()} == {
        s: sum(row["split"] == s for row in rows.values()) for s in ("train", "val")
    }
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "report.csv",
        "sources.json",
        "train.arrayrecord",
        "val.arrayrecord",
    ]
    held = {e["captions"].get("full"): e for e in examples(tmp_path / "out")}
    assert held["ince sütun"]["captions"] == {"full": "ince sütun", "text_2": "sütun"}
    assert held["ince sütun"]["style_text"] == "sade taş"
    assert not held["ince sütun"]["has_colors"]


def test_a_record_is_the_mesh_normalised(tmp_path):
    mesh = trimesh.creation.box([2.0, 4.0, 1.0])
    mesh.apply_translation([100, -50, 7])
    mesh.vertices = np.concatenate([mesh.vertices, [[9e9, 0, 0]]])  # no face uses it
    mesh.visual.vertex_colors = [[40, 80, 120, 255]] * 9
    for name, up, sides in (
        ("a.ply", None, [0.9, 1.8, 0.45]),
        ("a.ply", "y", [0.9, 0.45, 1.8]),
        ("a.glb", None, [0.9, 0.45, 1.8]),
        ("a.glb", "z", [0.9, 1.8, 0.45]),
    ):
        mesh.export(tmp_path / name)
        settings = Settings(64, 500, up)
        outcome = prepare_mesh(Task(str(tmp_path), name, Caption(("kutu",)), settings))
        assert (outcome.status, outcome.faces) == (OK, 12)
        example = records.decode(outcome.record)
        inside = np.argwhere(example["sdf"] < 0)
        np.testing.assert_allclose(np.ptp(inside, axis=0) + 1, np.array(sides) * 32, atol=1)
        np.testing.assert_allclose(inside.mean(axis=0), 31.5, atol=0.5)
        surface = np.abs(example["points"]) / (np.array(sides) / 2)
        np.testing.assert_allclose(surface.max(axis=1), 1, atol=1e-3)
        outward = np.einsum("ni,ni->n", example["points"], example["normals"])
        assert (outward > 0).all()
        assert example["has_colors"]
        if name == "a.ply":  # glTF's colours are linear: see test_mesh_files
            np.testing.assert_allclose(example["colors"] * 255, [[40, 80, 120]] * 500, atol=0.51)
        assert not example["has_chart"]


def test_processes_write_the_same_bytes_and_a_finished_set_is_found(folder, tmp_path, monkeypatch):
    run(folder, tmp_path / "two", workers=2)
    monkeypatch.setattr(prepare, "_work", in_process)
    first = run(folder, tmp_path / "one")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    monkeypatch.setattr(prepare, "_work", None)
    assert run(folder, tmp_path / "one") == first


def test_a_stopped_run_goes_on_and_changes_are_done_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_work", in_process)
    root, captions = folder
    run(folder, tmp_path / "whole")
    asked = []

    def stopped(run, paths, *rest):
        asked.append(list(paths))
        for number, result in enumerate(in_process(run, paths)):
            if len(asked) == 1 and number == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(prepare, "_work", stopped)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(folder, out)
    with pytest.raises(UserError, match="no data set"):
        records.read_manifest(out)
    run(folder, out)
    assert asked[1] == asked[0][2:]
    assert digests(out) == digests(tmp_path / "whole")

    (root / "kötü.obj").write_bytes((root / "kopya.obj").read_bytes())
    os.utime(root / "sütun.ply")
    captions.write_text(captions.read_text() + "delik.off,delik top,\n")
    run(folder, out)
    assert asked[2] == ["delik.off", "kötü.obj", "sütun.ply"]
    monkeypatch.setattr(prepare, "_work", in_process)
    run(folder, tmp_path / "fresh")
    assert digests(out) == digests(tmp_path / "fresh")
    (root / "kopya.obj").unlink()
    run(folder, out)
    assert report(out)["kopya.obj"]["reason"].startswith("captioned, but there is no such file")
    with pytest.raises(UserError, match="holds another data set"):
        run(folder, out, resolution=20)


def test_the_report_is_never_read_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_work", in_process)
    captions, out = folder[1], tmp_path / "out"
    first = run(folder, out)
    written = (out / "report.csv").read_bytes()
    saved = written.decode("utf-8-sig").replace(",", ";").encode("cp1254")  # by a spreadsheet
    (out / "report.csv").write_bytes(saved)
    monkeypatch.setattr(prepare, "_work", None)
    assert run(folder, out) == first
    assert (out / "report.csv").read_bytes() == saved
    # Other lines to report of, though no mesh has changed.
    monkeypatch.setattr(prepare, "_work", lambda run, paths, *_: iter(paths and 1 / 0))
    captions.write_text(captions.read_text().replace("yok.glb", "hiç.glb"))
    run(folder, out)
    assert report(out).keys() >= {"hiç.glb", "delik.off"}
    assert "yok.glb" not in report(out)


@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_damaged_ledger_counts_as_none(folder, tmp_path, monkeypatch, left):
    monkeypatch.setattr(prepare, "_work", in_process)
    run(folder, tmp_path / "out")
    whole = digests(tmp_path / "out")
    ledger = tmp_path / "out" / prepare.LEDGER
    data = ledger.read_bytes()
    ledger.write_bytes(data[: int(left * len(data))])
    run(folder, tmp_path / "out")
    assert digests(tmp_path / "out") == whole
    assert ledger.read_bytes() == data


class Pool:
    """In place of pebble's: does some files at once, then breaks."""

    plan: tuple  # for each of the pools: files that it does, and how one learns that it broke
    made = 0

    def __init__(self, *_, **__):
        self.left, self.end = self.plan[Pool.made]
        Pool.made += 1
        self.active = True
        self.stop = self.join = self.close = lambda: None

    def schedule(self, function, args, timeout):
        future = concurrent.futures.Future()
        if self.left:
            self.left -= 1
            future.set_result(function(*args))
            return future
        self.active = False
        if self.end == "refused":
            raise RuntimeError("Unexpected error within the Pool")
        if self.end == "told":
            future.set_exception(BrokenProcessPool())
        return future


@pytest.mark.parametrize(
    ("plan", "done"),
    [
        ([(2, "told"), (0, "silent"), (1, "refused"), (0, "told"), (0, "told"), (3, "")], 6),
        ([(0, "told"), (1, "silent"), (0, "refused"), (0, "silent"), (0, "told")], 1),
    ],
)
def test_a_broken_pool_is_replaced(tmp_path, monkeypatch, plan, done):
    echo = lambda task: Outcome(OK, record=task.path.encode())  # noqa: E731
    monkeypatch.setattr(prepare, "prepare_mesh", echo)
    monkeypatch.setattr(prepare, "ProcessPool", Pool)
    monkeypatch.setattr(prepare, "PATIENCE", 0.01)
    monkeypatch.setattr(Pool, "made", 0)
    monkeypatch.setattr(Pool, "plan", plan, raising=False)
    made = prepare._Run(tmp_path, tmp_path, SETTINGS)
    made.tasks = {name: Task("", name, Caption(), SETTINGS) for name in "abcdef"}
    came = {path: (o, final) for path, o, final in prepare._work(made, [*"abcdef"], 1, 1.0, 2**30)}
    assert came.keys() == made.tasks.keys()
    assert sum(final for _, final in came.values()) == done
    lost = Outcome(FAILED, "no process lived to read it; start again")
    assert all(o == (echo(made.tasks[p]) if final else lost) for p, (o, final) in came.items())
    assert Pool.made == len(plan)


def die_at_first(memory_bytes):
    """In place of `limit_worker`: the first two processes do not start."""
    with open(os.environ["STARTS"], "a") as file:
        file.write("x")
    if os.path.getsize(os.environ["STARTS"]) <= 2:
        os._exit(3)


@pytest.mark.slow
def test_processes_that_do_not_start_are_started_again(tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    for number in range(6):
        sphere(tmp_path / "m" / f"{number}.ply", keep=-1 - number)
    (tmp_path / "c.csv").write_text("path,text\n")
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    monkeypatch.setattr(prepare, "limit_worker", die_at_first)
    made = run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out")
    assert made.counts == {REPAIRED: 6}


@pytest.mark.slow
def test_one_bad_process_stops_nothing(tmp_path, monkeypatch):
    root = tmp_path / "meshes"
    root.mkdir()
    for name in ("dies", "fault", "good", "grows", "large", "slow"):
        sphere(root / f"{name}.stl")
    (tmp_path / "c.jsonl").write_text('{"path": "good.stl", "text": "küre"}')
    monkeypatch.setattr(prepare, "prepare_mesh", misbehave)
    began = time.monotonic()
    # A process that starts beside others may take ten seconds before it does anything.
    limits = {"workers": 2, "timeout": 30.0, "memory": 2**30}
    made = run((root, tmp_path / "c.jsonl"), tmp_path / "out", **limits)
    assert time.monotonic() - began < 120
    reasons = {path: row["reason"] for path, row in report(tmp_path / "out").items()}
    assert reasons.pop("good.stl") == ""
    assert reasons.pop("dies.stl").startswith("its process died")
    assert reasons == {
        "fault.stl": "KeyError: 'a fault'",
        "grows.stl": "needs more than 1 GiB of memory",
        "large.stl": "needs more than 1 GiB of memory",
        "slow.stl": "took longer than 30 s",
    }
    assert {k: v["count"] for k, v in made.manifest["splits"].items()} == {"train": 1, "val": 1}
    # What hit a limit is tried again, and only that.
    tried = []
    monkeypatch.setattr(
        prepare,
        "_work",
        lambda run, paths, *_: tried.extend(paths) or in_process(run, paths),
    )
    run((root, tmp_path / "c.jsonl"), tmp_path / "out")
    assert sorted(tried) == sorted(f"{n}.stl" for n in ("dies", "fault", "grows", "large", "slow"))
    assert {row["status"] for row in report(tmp_path / "out").values()} == {OK}


@pytest.mark.slow
def test_a_killed_process_resumes(tmp_path):
    root = tmp_path / "meshes"
    root.mkdir()
    for number in range(12):
        sphere(root / f"{number}.ply", keep=-1 - number)
    (tmp_path / "c.csv").write_text(
        "path,text\n" + "".join(f"{i}.ply,top {i}\n" for i in range(12))
    )

    def start(out):
        arguments = ["--meshes", root, "--captions", tmp_path / "c.csv", "--out", out]
        program = [sys.executable, "-m", "otuken_jax.prepare", *arguments, "--workers", "1"]
        return subprocess.Popen([*map(str, program), "--resolution", "32"])

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    while len(list((tmp_path / "killed").glob(".parts/*.msgpack"))) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed/.parts").glob("*.msgpack")}
    assert 4 <= len(done) < 12
    assert start(tmp_path / "killed").wait() == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_splits_are_stable_and_keep_copies_together():
    shapes = {f"{i}": hashlib.sha256(b"%d" % i).hexdigest() for i in range(1000)}
    shapes["copy"] = shapes["7"]
    everyone = set(shapes.values())
    splits = prepare.split_names(shapes, everyone)
    held = {path for path, names in splits.items() if names == ("val",)}
    assert 70 < len(held) < 130
    assert splits["copy"] == splits["7"]
    fewer = prepare.split_names({k: v for k, v in shapes.items() if int(v, 16) % 2}, everyone)
    assert all(splits[path] == names for path, names in fewer.items())
    assert set(prepare.split_names({"a": "0" * 64}, set()).values()) == {("train", "val")}
    two = prepare.split_names({"a": "0" * 64, "b": "1" * 64}, {"0" * 64, "1" * 64})
    assert sorted(two.values()) == [("train",), ("val",)]
    wordless = prepare.split_names({"a": "0" * 64, "b": "f" * 64}, {"f" * 64})
    assert wordless == {"a": ("train",), "b": ("val",)}


def test_nothing_usable_is_one_line_and_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_work", in_process)
    (tmp_path / "m").mkdir()
    (tmp_path / "c.csv").write_text("path,text\n")
    with pytest.raises(UserError, match="no mesh in"):
        run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "m" / "b.obj").symlink_to("c.obj")
    with pytest.raises(UserError, match=r"b\.obj: cannot read c\.obj: No such file"):
        run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out")
    (tmp_path / "m" / "a.obj").write_text("nothing")
    with pytest.raises(UserError, match="none of 1 meshes"):
        run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out")
    assert report(tmp_path / "out")["a.obj"]["status"] == FAILED
    missing = PermissionError(13, "Permission denied", str(tmp_path / "m"))
    monkeypatch.setattr(os, "walk", lambda top, onerror: onerror(missing))
    with pytest.raises(UserError, match="cannot read the folder"):
        run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out")
    with pytest.raises(UserError, match="is no folder"):
        run((tmp_path / "c.csv", tmp_path / "c.csv"), tmp_path / "out")
    with pytest.raises(UserError, match="multiple of 4"):
        run((tmp_path / "m", tmp_path / "c.csv"), tmp_path / "out", resolution=30)


def test_the_command_tells_what_it_made(folder, tmp_path, monkeypatch, capsys):
    def made(meshes, captions, out, **options):
        assert (meshes, captions, out) == (Path("m"), Path("c.csv"), Path("o"))
        assert options == {"resolution": 32, "up": "y", "workers": 3, "timeout": 120.0}
        manifest = {"splits": {"train": {"count": 4}, "val": {"count": 1}}}
        return prepare.Prepared(manifest, {OK: 3, REPAIRED: 2}, Path("o/report.csv"))

    monkeypatch.setattr(prepare, "prepare_meshes", made)
    arguments = "--meshes m --captions c.csv --out o --resolution 32 --up y --workers 3"
    assert run_command(lambda: command.main(arguments.split())) == 0
    said = "3 ok, 2 repaired, 0 failed (o/report.csv); records: train 4, val 1\n"
    assert capsys.readouterr().out == said
    with pytest.raises(UserError, match="--workers must be at least 1"):
        command.main([*arguments.split(), "--workers", "0"])


def test_outcomes_survive_the_disk(tmp_path):
    run = prepare._Run(tmp_path, tmp_path, SETTINGS)
    name = os.fsdecode(b"b\xffd.obj")  # a file name that is not UTF-8
    run.tasks[name] = Task(str(tmp_path), name, Caption(("x",)), SETTINGS)
    (tmp_path / name).write_text("x")
    state = prepare.file_state(tmp_path, tmp_path / name)
    outcome = Outcome(OK, "", b"abc", 3, "d" * 64, (state,))
    run.keep(name, outcome)
    entry = run.kept(name)
    assert prepare._outcome(entry) == outcome
    assert run.is_current(name, entry)
    run.tasks[name] = run.tasks[name]._replace(caption=Caption(("y",)))
    assert not run.is_current(name, entry)
    whole = run.part(name).read_bytes()
    for damaged in (b"", whole[:1], whole[:-1], whole + b"x", b"\x05"):
        run.part(name).write_bytes(damaged)
        assert run.kept(name) is None
