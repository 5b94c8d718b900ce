"""Procedural data sets: recipes of the motif library to records on disk."""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from otuken_jax.data.motifs.captions import captions, object_words, style_text, unfamiliar_words
from otuken_jax.data.motifs.phrases import CAPTIONS, STYLE_TEXT
from otuken_jax.data.motifs.recipes import (
    HOSTS,
    MOTIFS,
    STYLES,
    Holdout,
    Recipe,
    hold_out,
    sample_recipes,
)
from otuken_jax.data.motifs.shapes import build_fields, sample_surface, solid_mesh
from otuken_jax.data.records import (
    MANIFEST,
    SCHEMA_VERSION,
    describe_file,
    encode,
    quantize_distance,
    quantize_unit,
    read_manifest,
    write_manifest,
    write_records,
)
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import FORMATS, export, write_atomic

SHARD = 512  # shapes of a file: what an interrupted build loses at most
PLAN = ".building.json"  # the arguments of an unfinished build

PACKAGE = Path(__file__).parents[1]
# Where the bytes of records are decided, and those of meshes.
SOURCES = ("conventions.py", "data/build.py", "data/motifs/*.py", "data/records.py", "data/text.py")
MESH_SOURCES = tuple(
    f"geometry/{name}.py" for name in ("marching_cubes", "mesh_formats", "mesh_io", "surface_mesh")
)

logger = logging.getLogger(__name__)


class _Task(NamedTuple):
    recipe: Recipe | None
    resolution: int
    num_points: int
    coarsest: int
    seed: int
    mesh: str | None = None  # where its mesh goes
    other_words: bool = False  # those of `heldout_phrasing`
    hosts: tuple[str, ...] = ()  # of the data set


def make_record(task: _Task) -> bytes:
    """The encoded record of one recipe."""
    recipe = task.recipe
    fields = build_fields(recipe, task.resolution, coarsest=task.coarsest)
    surface = sample_surface(recipe, task.num_points, task.seed, coarsest=task.coarsest)
    if task.mesh:
        mesh = solid_mesh(recipe, task.resolution, task.coarsest)
        export(mesh, task.mesh, Path(task.mesh).suffix[1:])
    return encode(
        {
            "sdf": quantize_distance(fields.sdf),
            "host_sdf": quantize_distance(fields.host_sdf),
            "band": quantize_unit(fields.band),
            "u": quantize_unit(fields.u),
            "v": quantize_unit(fields.v),
            **surface,
            "captions": captions(recipe, heldout=task.other_words)
            | _by_noun(task)
            | unfamiliar_words(recipe, heldout=task.other_words),
            "style_text": style_text(recipe, heldout=task.other_words),
            "recipe": recipe.to_dict(),
            "has_chart": True,
        }
    )


def _by_noun(task: _Task) -> dict[str, str]:
    """A caption of kind "noun": the object with words for the form of another host's.

    Where training shows some of these, the noun alone tells the host; without them a small model
    takes it from the words for the form as well, and a new noun beside old ones changes nothing.
    """
    others = [host for host in task.hosts if host != task.recipe.host]
    if not others:
        return {}
    lender = others[task.seed % len(others)]
    return {"noun": object_words(task.recipe, form_of=lender, heldout=task.other_words)}


def build_motif_dataset(
    directory: str | Path,
    *,
    num_shapes: int,
    resolution: int,
    num_points: int,
    seed: int,
    coarsest: int,
    hosts: Sequence[str] = (),
    motifs: Sequence[str] = (),
    styles: Sequence[str] = (),
    num_val: int,
    num_heldout: int,
    num_heldout_styles: int = 0,
    num_heldout_phrasing: int = 0,
    heldout_styles: Sequence[str] = (),
    free: bool = False,
    num_workers: int | None = None,
    progress: bool = True,
    meshes: str | None = None,
    verify: bool = False,
) -> dict[str, Any]:
    """Writes train, val and the held-out splits to `directory`, or finds them there.

    The files depend on the arguments alone, not on the number of workers. `dataset.json`, written
    last, makes the data set complete; it holds the arguments, what training does not show, the
    counts and the files' sha256. An interrupted build goes on with the files of `SHARD` shapes that
    it had not finished; of a data set found there, files that are lost or damaged are made again.

    Args:
        coarsest: the coarsest grid trained on; nothing is thinner than 2.5 of its voxels.
        hosts, motifs, styles: names of the motif library; none stands for all of them.
        num_heldout: shapes in `heldout_pairs`.
        heldout_styles: those that only `heldout_styles` shows; none given, the seed draws some if
            that split has shapes.
        free: any motif may go on any host in any style, not only where the library's table has it.
        num_workers: processes; None takes one per CPU, 0 works in this one.
        meshes: a format; every shape's mesh is written to `meshes/` too.
        verify: compare the sha256 of all files of a data set found there, not only of those newer
            than its `dataset.json`. 1.6 GB take 1.3 s of a core, and as long as the disk.

    Returns:
        The content of `dataset.json`.

    Raises:
        UserError: a name that the library lacks, or a folder that holds another data set or cannot
            be written.
    """
    directory = Path(directory)
    arguments = {
        "num_shapes": num_shapes,
        "resolution": resolution,
        "num_points": num_points,
        "seed": seed,
        "coarsest": coarsest,
        "hosts": list(hosts or HOSTS),
        "motifs": list(motifs or MOTIFS),
        "styles": list(styles or STYLES),
        "num_val": num_val,
        "num_heldout": num_heldout,
        "num_heldout_styles": num_heldout_styles,
        "num_heldout_phrasing": num_heldout_phrasing,
        "heldout_styles": list(heldout_styles),
        "free": free,
        "library": library_version(meshes=bool(meshes)),
    }
    if meshes:
        arguments["meshes"] = meshes
        if meshes not in FORMATS:
            raise UserError(f"unknown mesh format {meshes!r}; choose from {', '.join(FORMATS)}")
    present = _find(directory, arguments, verify)
    if present is not None:
        return present
    holdout = hold_out(
        seed,
        hosts=hosts or None,
        motifs=motifs or None,
        styles=styles or None,
        unseen_styles=heldout_styles or (None if num_heldout_styles else ()),
        free=free,
    )
    recipes = sample_recipes(
        num_shapes,
        seed,
        holdout,
        resolution=resolution,
        num_val=num_val,
        num_heldout_pairs=num_heldout,
        num_heldout_styles=num_heldout_styles,
        num_heldout_phrasing=num_heldout_phrasing,
    )
    kept = _begin(directory, arguments)
    names = tuple(arguments["hosts"])
    job = _Task(None, resolution, num_points, coarsest, seed, meshes, hosts=names)
    shards = {
        name: list(_shards(directory, split, name, recipes[name], job))
        for split, name in enumerate(recipes)
    }
    missing = [s for parts in shards.values() for s in parts if s[0].name not in kept]
    workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    todo = [task for _, tasks in missing for task in tasks]
    bar = tqdm(total=len(todo), desc="shapes", unit="shape", mininterval=1.0, disable=not progress)
    with bar, contextlib.closing(_make_records(todo, workers)) as records:
        for path, tasks in missing:
            write_records(path, _counted(records, len(tasks), bar))
    splits = {
        name: {
            "count": sum(len(tasks) for _, tasks in parts),
            "files": {path.name: describe_file(path) for path, _ in parts},
        }
        for name, parts in shards.items()
    }
    manifest = {
        "schema": SCHEMA_VERSION,
        "arguments": arguments,
        "heldout": _heldout(holdout),
        "splits": splits,
    }
    write_manifest(directory, manifest)
    (directory / PLAN).unlink(missing_ok=True)
    return manifest


def _heldout(holdout: Holdout) -> dict[str, Any]:
    """What training does not show, by the split that does: pairs, styles, caption templates."""
    phrasings = {**CAPTIONS, "style_text": STYLE_TEXT}
    return {
        "heldout_pairs": [list(pair) for pair in holdout.pairs],
        "heldout_styles": holdout.unseen_styles,
        "heldout_phrasing": {kind: list(p.heldout) for kind, p in phrasings.items()},
    }


def _shards(
    directory: Path, split: int, name: str, recipes: Sequence[Recipe], job: _Task
) -> Iterator[tuple[Path, list[_Task]]]:
    """The files of a split with what goes into each; `job` has the seed of all and a format."""
    for start in range(0, len(recipes), SHARD):
        part = "" if len(recipes) <= SHARD else f"-{start // SHARD:05d}"
        tasks = []
        for i, recipe in enumerate(recipes[start : start + SHARD], start):
            mesh = str(_mesh_path(directory, name, i, job.mesh)) if job.mesh else None
            seed = _point_seed(job.seed, split, i)
            other = name == "heldout_phrasing"
            tasks.append(job._replace(recipe=recipe, seed=seed, mesh=mesh, other_words=other))
        yield directory / f"{name}{part}.arrayrecord", tasks


def _mesh_path(directory: Path, split: str, index: int, suffix: str) -> Path:
    return directory / "meshes" / f"{split}-{index:05d}.{suffix}"


def _begin(directory: Path, arguments: Mapping[str, Any]) -> set[str]:
    """Notes what is being built; returns the names of files that an earlier start finished.

    Raises:
        UserError: an unfinished data set with other arguments is there, or the folder cannot be
            written.
    """
    plan, manifest = directory / PLAN, directory / MANIFEST
    text = json.dumps(arguments, ensure_ascii=False)
    kept: set[str] = set()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if plan.is_file() and plan.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{directory} holds an unfinished other data set; remove that folder or "
                "choose another"
            )
        if plan.is_file() or manifest.is_file():
            kept = {path.name for path in directory.glob("*.arrayrecord")}
        write_atomic(plan, text.encode())
        manifest.unlink(missing_ok=True)  # that of a data set to be mended
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot make the folder {directory}: {reason}; choose another") from error
    return kept


def library_version(*, meshes: bool) -> str:
    """A hash of the source that decides the bytes of a data set, with those of its meshes if asked.

    It does not see the versions of NumPy, SciPy, scikit-image and zstandard, which decide too.
    """
    digest = hashlib.sha256()
    for path in sources(meshes=meshes):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources(*, meshes: bool) -> list[Path]:
    """The files whose source decides the bytes of a data set."""
    patterns = SOURCES + (MESH_SOURCES if meshes else ())
    paths = (path for pattern in patterns for path in sorted(PACKAGE.glob(pattern)))
    return [path for path in paths if path.name != "sheets.py"]  # pictures of the library


def _find(directory: Path, arguments: Mapping[str, Any], verify: bool) -> dict[str, Any] | None:
    """The manifest of a complete data set with these arguments, or None if there is none.

    One that is not whole loses its damaged files: `_begin` keeps the others.
    """
    if not os.path.isfile(directory / MANIFEST):  # False too for a name that no folder can have
        return None
    manifest = read_manifest(directory)
    held = manifest["arguments"]
    differing = [
        f"{name} is {held.get(name)!r} there and {arguments.get(name)!r} here"
        for name in sorted(held.keys() | arguments.keys())
        if held.get(name) != arguments.get(name)
    ]
    if differing:
        raise UserError(
            f"{directory} holds another data set: {'; '.join(differing)}; "
            "remove that folder or choose another"
        )
    faults = _faults(directory, manifest, verify)
    if not faults:
        return manifest
    logger.warning("%s: %s; making that again", directory, ", ".join(faults.values()))
    for path in faults:
        path.unlink(missing_ok=True)
    return None


def _faults(directory: Path, manifest: Mapping[str, Any], verify: bool) -> dict[Path, str]:
    """What is wrong with record files and the meshes of their shapes, by record file."""
    written = (directory / MANIFEST).stat().st_mtime_ns
    suffix = manifest["arguments"].get("meshes")

    def is_damaged(path: Path, described: Mapping[str, Any]) -> bool:
        status = path.stat()
        if status.st_size != described["bytes"]:
            return True
        return (verify or status.st_mtime_ns > written) and describe_file(path) != described

    faults = {}
    for name, split in manifest["splits"].items():
        for part, (file, described) in enumerate(split["files"].items()):
            path = directory / file
            shapes = range(part * SHARD, min((part + 1) * SHARD, split["count"]))
            meshes = [_mesh_path(directory, name, i, suffix) for i in shapes] if suffix else []
            lost = [p.relative_to(directory) for p in (path, *meshes) if not p.is_file()]
            if lost:
                faults[path] = f"{lost[0]} is lost"
            elif is_damaged(path, described):
                faults[path] = f"{file} is damaged"
    return faults


def _point_seed(seed: int, split: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, split, index)).generate_state(1)[0])


def _counted(records: Iterator[bytes], count: int, bar: tqdm) -> Iterator[bytes]:
    """The next `count` records, each told to the progress bar."""
    for record in itertools.islice(records, count):
        yield record
        bar.update()


def _make_records(tasks: Sequence[_Task], workers: int) -> Iterator[bytes]:
    """Records in the order of `tasks`, made in `workers` processes (0: in this one)."""
    if not workers:
        for task in tasks:
            yield make_record(task)
        return
    # Spawned, not forked: this process may run JAX's threads.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield from executor.map(make_record, tasks, chunksize=8)
    except BrokenProcessPool as error:
        raise UserError(
            "a process that made shapes died; if a script called this, put the call under "
            "`if __name__ == '__main__':`, else use fewer workers (memory) or num_workers=0"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
