"""Captions of meshes: both formats, several texts, and every kind of bad line reported."""

import json
import time

import pytest

from otuken_jax.data.caption_files import Caption, path_inside, read_captions
from otuken_jax.errors import UserError


def read(tmp_path, text, name="captions.csv"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    (tmp_path / "meshes").mkdir(exist_ok=True)
    return read_captions(file, tmp_path / "meshes")


def test_both_formats_say_the_same(tmp_path):
    table = (
        "\ufeffpath,text,style_text\n"
        'a.obj,"kısa vazo|uzun boyunlu, mavi vazo",İznik üslubu\n'
        "alt/b.glb,kâse,\n"
    )
    lines = [
        {"path": "a.obj", "text": ["kısa vazo", "uzun boyunlu, mavi vazo"]},
        {"path": "alt/b.glb", "text": "kâse", "style_text": None},
    ]
    lines[0]["style_text"] = "İznik üslubu"
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    first, second = read(tmp_path, table), read(tmp_path, text, "captions.jsonl")
    assert first == second
    assert first.problems == ()
    assert first.by_path["a.obj"].style_text == "İznik üslubu"
    assert first.by_path["a.obj"].kinds() == {
        "full": "uzun boyunlu, mavi vazo",
        "text_2": "kısa vazo",
    }
    assert Caption().kinds() == {}


def test_spreadsheets_of_turkey_use_semicolons(tmp_path):
    held = read(tmp_path, "path;text\na.obj;lale, karanfil\n")
    assert held.by_path == {"a.obj": Caption(("lale, karanfil",))}


def test_duplicates_are_joined_and_reported(tmp_path):
    held = read(
        tmp_path, "path,text,style_text\na.obj,bir,\nb.obj,iki,\n./a.obj,üç,sade\na.obj,bir,\n"
    )
    caption = held.by_path["a.obj"]
    assert caption.texts == ("bir", "üç")
    assert caption.style_text == "sade"
    assert caption.notes == ("captioned 3 times, in lines 2, 4 and 5: texts joined",)


def test_one_path_on_very_many_lines_is_joined_at_once(tmp_path):
    count = 200_000
    text = "path,text,style_text\n" + "".join(f"a.obj,{i},\n" for i in range(count))
    began = time.monotonic()
    held = read(tmp_path, text)
    assert time.monotonic() - began < 30  # 2 s; joined line by line, many minutes
    assert held.by_path["a.obj"].texts == tuple(map(str, range(count)))
    note = "captioned 200,000 times, in lines 2, 3, 4, 5, 6 and others: texts joined"
    assert held.by_path["a.obj"].notes == (note,)


def test_json_strings_may_hold_unicode_line_breaks(tmp_path):
    texts = ["ilk\u2028son", "ilk\u2029son", "ilk\x85son"]
    line = json.dumps({"path": "a.obj", "text": texts}, ensure_ascii=False)
    held = read(tmp_path, f"{line}\r\n{{\n", "captions.jsonl")
    assert held.by_path == {"a.obj": Caption(tuple(texts))}
    assert [where for where, _ in held.problems] == ["captions.jsonl:2"]


@pytest.mark.parametrize(
    "name", ["../x.obj", "a/../../x.obj", "/etc/passwd", "..\\x.obj", "link/x.obj", "a\0b", "."]
)
def test_paths_outside_are_reported_unopened(tmp_path, name):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "link").symlink_to(tmp_path)
    line = json.dumps({"path": name, "text": "x"})
    held = read(tmp_path, line, "captions.jsonl")
    assert held.by_path == {}
    assert held.problems == ((name, "line 1: outside the folder of the meshes; not opened"),)


def test_paths_inside_are_made_plain(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("deep/x.obj", "deep\\x.obj", "./deep//../deep/x.obj", f"{tmp_path}/deep/x.obj"):
        assert path_inside(tmp_path, name) == "deep/x.obj"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "no path"),
        ('{"path": "a.obj", "text": 3}', "neither a string nor a list"),
        ('{"path": "a.obj", "text": ["x", 3]}', "must be strings"),
        ('{"path": 7, "text": "x"}', "must be strings"),
    ],
)
def test_bad_json_lines_are_reported_and_the_others_read(tmp_path, line, problem):
    held = read(tmp_path, f'{line}\n{{"path": "b.obj", "text": "x"}}\n', "captions.jsonl")
    assert list(held.by_path) == ["b.obj"]
    ((where, what),) = held.problems
    assert where == "captions.jsonl:1"
    assert problem in what


def test_bad_csv_lines_are_reported_and_the_others_read(tmp_path):
    held = read(tmp_path, "path,text\na.obj,mavi, vazo\n,yok\nb.obj,x\nc.obj\n")
    assert held.by_path == {"b.obj": Caption(("x",)), "c.obj": Caption()}
    assert [where for where, _ in held.problems] == ["captions.csv:2", "captions.csv:3"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("captions.csv", b"file,text\na,b\n", "no columns path and text"),
        ("captions.csv", b"", "no columns path and text"),
        ("captions.csv", 'path,text\na.obj,"açık\n'.encode(), "is no CSV"),
        ("captions.csv", "path,text\na.obj,çini\n".encode("cp1254"), "not UTF-8"),
        ("captions.txt", b"a", ".csv or .jsonl"),
    ],
)
def test_unreadable_files_are_one_clear_line(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words):
        read_captions(tmp_path / name, tmp_path)
    with pytest.raises(UserError, match="cannot read"):
        read_captions(tmp_path / "none.csv", tmp_path)
