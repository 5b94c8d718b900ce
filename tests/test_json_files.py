"""Damaged JSON files are one line that says what to do."""

import json

import pytest

from otuken_jax import evaluate
from otuken_jax.data import records
from otuken_jax.errors import UserError
from otuken_jax.json_files import read_json

FORM = {"schema": int, "splits": {str: {"count": int}}}
BROKEN = [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000]


def refusal(read, path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "the file lacks 'schema'"),
        ({"schema": "a"}, "'schema' is 'a'"),
        ({"schema": True}, "'schema' is True"),
        ({"schema": 1, "splits": [1]}, "'splits' is [1]"),
        ({"schema": 1, "splits": {"val": 3}}, "'val' is 3"),
        ({"schema": 1, "splits": {"val": {}}}, "'val' lacks 'count'"),
        ({"schema": 1, "splits": {"val": {"count": None}}}, "'count' is None"),
    ],
)
def test_another_form_is_refused(tmp_path, value, words):
    path = tmp_path / "a.json"
    said = refusal(lambda: read_json(path, FORM, "do that"), path, json.dumps(value).encode())
    assert said == f"{path} is damaged ({words}); do that"


def test_what_is_of_the_form_is_read(tmp_path):
    value = {"schema": 1, "splits": {"val": {"count": 3, "more": None}, "train": {"count": 0}}}
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "a.json", FORM, "") == value
    with pytest.raises(UserError, match="no such file or directory; do that"):
        read_json(tmp_path / "b.json", FORM, "do that")


@pytest.mark.parametrize("data", [*BROKEN, b'{"data": {}}', b'{"data": {"source": 3}}'])
def test_a_damaged_configuration_of_a_run_is_one_line(tmp_path, data):
    path = tmp_path / "config.json"
    assert refusal(lambda: evaluate.data_of(tmp_path), path, data).endswith("; give --data")


@pytest.mark.parametrize("data", [*BROKEN, b'{"schema": "a", "splits": {}}', b'{"schema": 1}'])
def test_a_damaged_list_of_records_is_one_line(tmp_path, data):
    said = refusal(lambda: records.read_manifest(tmp_path), tmp_path / "dataset.json", data)
    assert said.endswith("; remove the folder and build again")
