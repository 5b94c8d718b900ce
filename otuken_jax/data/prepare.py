"""A folder of meshes and their captions to a data set like that of the procedural shapes.

Every finished mesh is kept at once, so a run that was stopped goes on where it was, and a run over
changed files does only those again. The data set's bytes depend on meshes and captions alone.
"""

import concurrent.futures
import csv
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import stat
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from otuken_jax.data.caption_files import Caption, OutsideFolder, path_inside, read_captions
from otuken_jax.data.mesh_files import MESH_SUFFIXES
from otuken_jax.data.mesh_records import (
    FAILED,
    Outcome,
    Settings,
    Task,
    file_state,
    limit_worker,
    prepare_mesh,
)
from otuken_jax.data.records import (
    MANIFEST,
    SCHEMA_VERSION,
    RecordSource,
    describe_file,
    read_manifest,
    write_manifest,
    write_records,
)
from otuken_jax.errors import UserError
from otuken_jax.geometry.mesh_io import write_atomic

VERSION = 3  # of what a mesh becomes; a higher one prepares every mesh again
NUM_POINTS = 4096
VAL_SHARE = 0.1
TIMEOUT = 120.0  # seconds for one file
MEMORY = 3 * 2**30  # bytes for one file
PATIENCE = 1.0  # seconds between looks at whether the processes still live
MAX_BROKEN = 3  # pools of processes in a row that break before one file is done
REPORT, LEDGER, PARTS = "report.csv", "sources.json", ".parts"


@dataclass(frozen=True)
class Prepared:
    """What a run made."""

    manifest: dict[str, Any]
    counts: dict[str, int]  # lines of the report by status
    report: Path


@dataclass
class _Run:
    """The work of one call: meshes to do, and lines of the report that are known already."""

    out: Path
    root: Path
    settings: Settings
    tasks: dict[str, Task] = field(default_factory=dict)
    rejected: list[tuple[str, str]] = field(default_factory=list)

    @property
    def arguments(self) -> dict[str, Any]:
        return {"source": "meshes", "version": VERSION, **self.settings._asdict()}

    def token(self, path: str) -> str:
        """Changes with everything but the mesh's files that its record depends on."""
        text = json.dumps([self.arguments, self.tasks[path].caption])
        return hashlib.sha256(text.encode()).hexdigest()

    def is_current(self, path: str, entry: dict[str, Any]) -> bool:
        """Whether an outcome kept for this mesh still holds."""
        if path not in self.tasks or entry["token"] != self.token(path):
            return False
        try:
            return all(
                list(file_state(self.root, self.root / name)) == [name, size, time]
                for name, size, time in entry["inputs"]
            )
        except OSError:
            return False

    def part(self, path: str) -> Path:
        return self.out / PARTS / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.msgpack"

    def keep(self, path: str, outcome: Outcome) -> None:
        """Stores an outcome until the data set is complete."""
        entry = {"token": self.token(path), **outcome._asdict()}
        # File names need not be UTF-8.
        write_atomic(self.part(path), msgpack.packb(entry, unicode_errors="surrogateescape"))

    def kept(self, path: str) -> dict[str, Any] | None:
        """What was stored; None too if it is damaged."""
        try:
            data = self.part(path).read_bytes()
            entry = msgpack.unpackb(data, unicode_errors="surrogateescape")
        except (OSError, ValueError, msgpack.UnpackException):
            return None
        return entry if isinstance(entry, dict) else None


def _outcome(entry: dict[str, Any]) -> Outcome:
    known = {name: entry[name] for name in Outcome._fields if name in entry}
    return Outcome(**known | {"inputs": tuple(tuple(state) for state in entry["inputs"])})


def prepare_meshes(
    meshes: str | Path,
    captions: str | Path,
    out: str | Path,
    *,
    resolution: int = 64,
    up: str | None = None,
    workers: int | None = None,
    num_points: int = NUM_POINTS,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
    progress: bool = True,
) -> Prepared:
    """Prepares the meshes under a folder as a data set in `out`; `report.csv` there tells of each.

    Args:
        up: "y" or "z", the axis that points up in all the files; None: y in glTF, z elsewhere.
        workers: processes; None takes one per CPU.
        timeout, memory: seconds and bytes for one file; one that needs more is refused.

    Raises:
        UserError: there are no meshes or captions, `out` holds something else or cannot be
            written, or not one mesh could be prepared.
    """
    if resolution < 8 or resolution % 4:
        raise UserError(f"--resolution {resolution} must be a multiple of 4, at least 8")
    run = _Run(Path(out), Path(meshes), Settings(resolution, num_points, up))
    _collect(run, Path(captions))
    complete = _reuse(run)
    if complete is not None:
        return complete
    try:
        (run.out / PARTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {run.out}: {error.strerror}") from error
    outcomes = _prepare_all(run, workers or os.cpu_count() or 1, timeout, memory, progress)
    return _assemble(run, outcomes)


def _collect(run: _Run, captions: Path) -> None:
    """Finds the meshes and their captions; what cannot be one goes to the report."""
    if not run.root.is_dir():
        raise UserError(f"{run.root} is no folder; --meshes names the folder of mesh files")
    held = read_captions(captions, run.root)
    run.rejected += held.problems
    found = _find_meshes(run)
    for path in sorted(held.by_path.keys() - found):
        try:
            (run.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            notes = held.by_path[path].notes
            reason = "; ".join(["captioned, but there is no such file", *notes])
            run.rejected.append((path, reason))
        except OSError as error:
            run.rejected.append((path, f"captioned, but cannot be read: {error.strerror}"))
        else:
            if Path(path).suffix.lower() not in MESH_SUFFIXES:
                run.rejected.append((path, f"not one of {', '.join(MESH_SUFFIXES)}"))
    for path in sorted(found):
        caption = held.by_path.get(path, Caption())
        run.tasks[path] = Task(str(run.root), path, caption, run.settings)
    if not run.tasks:
        reasons = [f"{path}: {reason}" for path, reason in run.rejected[:3]]
        reasons = reasons or [f"there is no {', '.join(MESH_SUFFIXES)} file"]
        raise UserError(f"no mesh in {run.root}: {'; '.join(reasons)}")


def _find_meshes(run: _Run) -> set[str]:
    """Paths of the mesh files under the folder, by their own names where links lead to them."""

    def unreadable(error: OSError) -> None:
        folder = os.path.relpath(error.filename, run.root)
        if folder == os.curdir:
            raise UserError(f"cannot read the folder {run.root}: {error.strerror}") from error
        run.rejected.append((folder, f"a folder that cannot be read: {error.strerror}"))

    found: set[str] = set()
    for folder, _, names in os.walk(run.root, onerror=unreadable):
        for name in names:
            if Path(name).suffix.lower() not in MESH_SUFFIXES:
                continue
            given = os.path.relpath(os.path.join(folder, name), run.root)
            try:
                path = path_inside(run.root, given)
                mode = (run.root / path).stat().st_mode
            except OutsideFolder:
                run.rejected.append((given, "a link that leads outside the folder; not opened"))
            except OSError as error:
                run.rejected.append((given, f"cannot read {path}: {error.strerror}"))
            else:
                if Path(path).suffix.lower() not in MESH_SUFFIXES:
                    reason = f"a link to {path}, which is not one of {', '.join(MESH_SUFFIXES)}"
                    run.rejected.append((given, reason))
                elif not stat.S_ISREG(mode):
                    run.rejected.append((given, "not a regular file"))
                else:
                    found.add(path)
    return found


def _reuse(run: _Run) -> Prepared | None:
    """The data set in `out` if it is complete and current; else its records become parts again."""
    if not (run.out / MANIFEST).is_file():
        return None
    manifest = read_manifest(run.out)
    if manifest.get("arguments") != run.arguments:
        raise UserError(
            f"{run.out} holds another data set ({manifest.get('arguments')}); choose another --out "
            "or remove that folder"
        )
    ledger, rejected = _read_ledger(run.out / LEDGER)
    files = [(run.out / n, d) for s in manifest["splits"].values() for n, d in s["files"].items()]
    whole = all(p.is_file() and p.stat().st_size == d["bytes"] for p, d in files)
    current = {path: entry for path, entry in ledger.items() if run.is_current(path, entry)}
    same = ledger.keys() == run.tasks.keys() == current.keys()
    report = run.out / REPORT
    if whole and same and report.is_file() and rejected == sorted(run.rejected):
        statuses = [entry["status"] for entry in ledger.values()] + [FAILED] * len(rejected)
        return Prepared(manifest, dict(Counter(statuses)), report)
    if whole:
        sources = {
            name: RecordSource([run.out / n for n in split["files"]])
            for name, split in manifest["splits"].items()
        }
        for path, entry in current.items():
            record = sources[entry["split"]].raw(entry["index"]) if entry["split"] else b""
            run.part(path).parent.mkdir(exist_ok=True)
            run.keep(path, _outcome(entry | {"record": record}))
    (run.out / MANIFEST).unlink()
    return None


def _read_ledger(file: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Outcomes by path, and what was rejected; both empty if the file is absent or damaged."""
    try:
        held = json.loads(file.read_text(encoding="ascii"))
        return held["meshes"], [(path, reason) for path, reason in held["rejected"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, []


def _prepare_all(
    run: _Run, workers: int, timeout: float, memory: int, progress: bool
) -> dict[str, Outcome]:
    """Outcomes by path, without records: those are in the parts."""
    outcomes = {}
    for path in run.tasks:
        entry = run.kept(path)
        if entry is not None and run.is_current(path, entry):
            outcomes[path] = _outcome(entry | {"record": b""})
    waiting = [path for path in run.tasks if path not in outcomes]
    bar = tqdm(
        total=len(run.tasks),
        initial=len(outcomes),
        desc="meshes",
        unit="mesh",
        disable=not progress,
    )
    failed = 0
    with bar:
        for path, outcome, final in _work(run, waiting, workers, timeout, memory):
            if final:
                run.keep(path, outcome)
            outcomes[path] = outcome._replace(record=b"") if final else outcome
            failed += outcome.status == FAILED
            bar.set_postfix(failed=failed, refresh=False)
            bar.update()
    return outcomes


def _work(
    run: _Run, paths: list[str], workers: int, timeout: float, memory: int
) -> Iterator[tuple[str, Outcome, bool]]:
    """Outcomes as they come; the last entry: whether trying again would give the same.

    A pool breaks when a process dies between two files; another one then does what is left.
    """
    left, broken = list(paths), 0
    while left and broken < MAX_BROKEN:
        done = set()
        for path, outcome, final in _work_in_pool(run, left, workers, timeout, memory):
            done.add(path)
            yield path, outcome, final
        broken = 0 if done else broken + 1
        left = [path for path in left if path not in done]
    for path in left:
        yield path, Outcome(FAILED, "no process lived to read it; start again"), False


def _work_in_pool(
    run: _Run, paths: list[str], workers: int, timeout: float, memory: int
) -> Iterator[tuple[str, Outcome, bool]]:
    """As `_work`, but ends early when the pool breaks."""
    # Spawned, not forked: this process may run JAX's threads.
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(paths))
    pool = ProcessPool(workers, initializer=limit_worker, initargs=[memory], context=context)
    waiting, running = deque(paths), {}
    try:
        while waiting or running:
            # Few at a time: of those that a broken pool has not begun nothing is heard again.
            while waiting and len(running) < 2 * workers:
                path = waiting.popleft()
                try:
                    future = pool.schedule(prepare_mesh, args=[run.tasks[path]], timeout=timeout)
                except RuntimeError:  # the pool is broken
                    waiting.clear()
                else:
                    running[future] = path
            done, _ = concurrent.futures.wait(running, PATIENCE, concurrent.futures.FIRST_COMPLETED)
            if not done and not pool.active:
                return
            for future in done:
                path = running.pop(future)  # a record is kept no longer than needed
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield path, *_result(future, timeout, memory)
        pool.close()
    finally:
        pool.stop()
        pool.join()


def _result(future: concurrent.futures.Future, timeout: float, memory: int) -> tuple[Outcome, bool]:
    """What a process made, and whether trying again would give the same."""
    try:
        return future.result(), True
    except concurrent.futures.TimeoutError:
        reason = f"took longer than {timeout:g} s"
    except MemoryError:
        reason = f"needs more than {memory / 2**30:g} GiB of memory"
    except ProcessExpired as error:
        reason = f"its process died (exit code {error.exitcode}): too large or malicious"
    except Exception as error:  # a fault of this program must not stop the others
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return Outcome(FAILED, reason), False


def _assemble(run: _Run, outcomes: dict[str, Outcome]) -> Prepared:
    """Writes records, report, ledger and, last, the manifest."""
    usable = {p: o for p, o in sorted(outcomes.items()) if o.status != FAILED}
    first: dict[str, str] = {}
    for path, outcome in usable.items():
        original = first.setdefault(outcome.digest, path)
        if original != path:
            reason = "; ".join(filter(None, [outcome.reason, f"the same shape as {original}"]))
            outcomes[path] = outcome._replace(reason=reason)
    captioned = {o.digest for p, o in usable.items() if run.tasks[p].caption.texts}
    splits = split_names({p: o.digest for p, o in usable.items()}, captioned)
    report = run.out / REPORT
    counts = _write_report(run, report, outcomes, splits)
    if not usable:
        raise UserError(f"none of {len(outcomes)} meshes could be prepared; {report} says why")
    ledger = {}
    for path, outcome in outcomes.items():
        # What was not stored (a limit was hit) is tried again by the next run.
        entry = run.kept(path) or outcome._asdict() | {"token": ""}
        ledger[path] = entry | {"record": None, "split": None, "index": 0}
    described = {}
    for name in ("train", "val"):
        paths = [p for p in usable if name in splits[p]]
        file = run.out / f"{name}.arrayrecord"
        count = write_records(file, (run.kept(p)["record"] for p in paths))
        described[name] = {"count": count, "files": {file.name: describe_file(file)}}
        for index, path in enumerate(paths):
            ledger[path] |= {"split": name, "index": index}
    held = {"meshes": ledger, "rejected": sorted(run.rejected)}
    write_atomic(run.out / LEDGER, json.dumps(held, indent=1).encode("ascii"))
    manifest = {"schema": SCHEMA_VERSION, "arguments": run.arguments, "splits": described}
    write_manifest(run.out, manifest)
    shutil.rmtree(run.out / PARTS)
    return Prepared(manifest, counts, report)


def split_names(digests: dict[str, str], captioned: set[str]) -> dict[str, tuple[str, ...]]:
    """The splits of each mesh: about a tenth of the captioned shapes validate.

    Chosen by shape, so copies stay together, and a shape stays where it is as others are added.
    One shape alone serves for both.

    Args:
        digests: of each mesh's shape.
        captioned: digests of the shapes that have a caption.
    """
    shapes = set(digests.values())
    if len(shapes) < 2:
        return dict.fromkeys(digests, ("train", "val"))
    candidates = sorted(captioned or shapes, key=lambda digest: digest[-8:])
    limit = f"{int(VAL_SHARE * 16**8):08x}"
    chosen = {d for d in candidates[: len(shapes) - 1] if d[-8:] < limit} or {candidates[0]}
    return {path: ("val",) if d in chosen else ("train",) for path, d in digests.items()}


def _write_report(
    run: _Run, file: Path, outcomes: dict[str, Outcome], splits: dict[str, tuple[str, ...]]
) -> dict[str, int]:
    """Writes report.csv; returns how many lines have each status."""
    rows = [
        (
            path,
            o.status,
            "; ".join(filter(None, [o.reason, *run.tasks[path].caption.notes])),
            "+".join(splits.get(path, ())),
            o.faces,
        )
        for path, o in outcomes.items()
    ]
    rows += [(path, FAILED, reason, "", "") for path, reason in run.rejected]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "status", "reason", "split", "faces"))
    writer.writerows(sorted(rows, key=lambda row: row[:3]))
    # With a byte order mark spreadsheets read Turkish letters.
    write_atomic(file, text.getvalue().encode("utf-8-sig", errors="backslashreplace"))
    return dict(Counter(row[1] for row in rows))
