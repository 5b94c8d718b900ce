"""JSON files that others may have damaged."""

import json
from pathlib import Path
from typing import Any

from otuken_jax.errors import UserError


def read_json(path: Path, form: dict[Any, Any], remedy: str) -> dict[str, Any]:
    """The object in a JSON file, which must hold at least what `form` says.

    Args:
        form: by key the type of the value, or its own form; `str` in place of a key stands for
            every key, so that {"splits": {str: {"count": int}}} wants a count of each split.
        remedy: what to do about a file that cannot be read or is damaged.

    Raises:
        UserError: it cannot be read, is no JSON, or of another form.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {(error.strerror or '').lower()}; {remedy}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error
    wrong = _misfit(value, form)
    if wrong is not None:
        raise UserError(f"{path} is damaged ({wrong}); {remedy}")
    return value


def _misfit(value: Any, form: Any, name: str = "the file") -> str | None:
    """What is not of the form, in words; None if all is."""
    kind = dict if isinstance(form, dict) else form
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return f"{name} is {value!r:.40}"
    if not isinstance(form, dict):
        return None
    for key, inner in form.items():
        for part in value if key is str else [key]:
            if part not in value:
                return f"{name} lacks {part!r}"
            wrong = _misfit(value[part], inner, repr(part))
            if wrong is not None:
                return wrong
    return None
