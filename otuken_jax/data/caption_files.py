"""Captions of a user's meshes: a CSV or JSON lines file of path, text and style_text.

CSV has a header line; several texts of one mesh stand in one cell, separated by "|". JSON lines
have `text` as a string or a list of strings.
"""

import csv
import functools
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from otuken_jax.errors import UserError

FIELDS = ("path", "text", "style_text")
SEPARATOR = "|"
NAMED_LINES = 5  # of one mesh, in a note

Row = tuple[str, tuple[str, ...], str]


class Caption(NamedTuple):
    """What is said about one mesh."""

    texts: tuple[str, ...] = ()
    style_text: str = ""
    notes: tuple[str, ...] = ()  # for the report

    def kinds(self) -> dict[str, str]:
        """Captions by kind as in records: the longest is the full one."""
        if not self.texts:
            return {}
        full = max(self.texts, key=len)
        others = [text for text in self.texts if text != full]
        return {"full": full} | {f"text_{i}": text for i, text in enumerate(others, start=2)}


@dataclass(frozen=True)
class Captions:
    """A captions file: by path within the meshes' folder, and its bad lines."""

    by_path: dict[str, Caption]
    problems: tuple[tuple[str, str], ...]  # path or line, and what is wrong


class OutsideFolder(ValueError):
    """A path leads out of the meshes' folder."""


def path_inside(root: Path, name: str) -> str:
    """`name` relative to `root`, with forward slashes; it need not exist.

    Raises:
        OutsideFolder: it leads elsewhere, by "..", as an absolute path or through a link.
    """
    real = root.resolve()
    try:
        target = (real / name.replace("\\", "/")).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
        raise OutsideFolder(str(error)) from error
    if target == real or not target.is_relative_to(real):
        raise OutsideFolder(name)
    # Through a link inside the folder it keeps the name that it was given.
    return target.relative_to(real).as_posix()


def read_captions(file: Path, root: Path) -> Captions:
    """Reads a captions file for the meshes under `root`; nothing that it names is opened.

    Bad lines are reported and left out. A mesh named twice has the texts of both lines, and the
    first style text.

    Raises:
        UserError: the file cannot be read, or is no CSV or JSON lines file with these fields.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise UserError(f"captions are a .csv or .jsonl file, not {file.name}")
    rows = _csv_rows(text, file) if suffix == ".csv" else _json_rows(text)
    problems: list[tuple[str, str]] = []
    inside = functools.cache(functools.partial(path_inside, root))
    said: dict[str, list[tuple[int, Row]]] = {}
    for number, row in rows:
        if isinstance(row, str):
            problems.append((f"{file.name}:{number}", row))
            continue
        try:
            said.setdefault(inside(row[0]), []).append((number, row))
        except OutsideFolder:
            outside = f"line {number}: outside the folder of the meshes; not opened"
            problems.append((row[0], outside))
    return Captions({path: _join(lines) for path, lines in said.items()}, tuple(problems))


def _join(lines: list[tuple[int, Row]]) -> Caption:
    """What the lines on one mesh say together."""
    texts = dict.fromkeys(text for _, (_, texts, _) in lines for text in texts)
    style = next((style for _, (_, _, style) in lines if style), "")
    if len(lines) == 1:
        return Caption(tuple(texts), style)
    often = "twice" if len(lines) == 2 else f"{len(lines):,} times"
    numbers = [str(number) for number, _ in lines[:NAMED_LINES]]
    last = "others" if len(lines) > NAMED_LINES else numbers.pop()
    note = f"captioned {often}, in lines {', '.join(numbers)} and {last}: texts joined"
    return Caption(tuple(texts), style, (note,))


def _csv_rows(text: str, file: Path) -> Iterator[tuple[int, Row | str]]:
    """Line number and row, or what is wrong with it."""
    head = text.partition("\n")[0]
    # A comma is a decimal point in Turkey, so spreadsheets separate by semicolons there.
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if "path" not in names or "text" not in names:
        raise UserError(
            f"{file} has no columns path and text (it has {', '.join(names) or 'nothing'}); "
            "write path,text,style_text as its first line"
        )
    reader.fieldnames = names
    try:
        for row in reader:
            number = reader.line_num
            if None in row:
                yield number, "more cells than columns; put texts with a comma in quotes"
                continue
            path, texts, style = ((row.get(name) or "").strip() for name in FIELDS)
            yield number, _checked(path, texts.split(SEPARATOR), style)
    except csv.Error as error:
        raise UserError(f"{file} line {reader.line_num} is no CSV ({error}); mend it") from error


def _json_rows(text: str) -> Iterator[tuple[int, Row | str]]:
    # Not splitlines(): U+2028 and the like end no line of JSON, and may stand in its strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"no JSON ({type(error).__name__})"
            continue
        if not isinstance(row, dict):
            yield number, "not a JSON object with path and text"
            continue
        path, texts, style = (row.get(name) or "" for name in FIELDS)
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list):
            yield number, "text is neither a string nor a list of strings"
        elif not all(isinstance(value, str) for value in (path, style, *texts)):
            yield number, "path, text and style_text must be strings"
        else:
            yield number, _checked(path.strip(), texts, style.strip())


def _checked(path: str, texts: list[str], style: str) -> Row | str:
    if not path:
        return "no path"
    return path, tuple(dict.fromkeys(t.strip() for t in texts if t.strip())), style
