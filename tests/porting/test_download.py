import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest
import torch
from converter import clip_tensors, listing, run, shard, write_t5
from web_server import Page, Server

from otuken_jax.errors import UserError
from otuken_jax.models.weights import read_card
from porting import download as downloads
from porting.download import HUB_FILES, cache_folder, download
from porting.registry import NETWORKS

CONTENT = np.random.default_rng(0).bytes(100_000)


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OTUKEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(downloads, "TIMEOUT", 10.0)


def kept():
    """The files in the cache, but for locks and the record."""
    return [n for n in listing(cache_folder()) if n.endswith((".pt", ".part", ".etag"))]


def test_downloads_once_with_progress_and_records_the_hash(server, capsys):
    server.pages["/a/w.pt"] = Page(CONTENT)
    path = download(f"{server.url}/a/w.pt")
    assert path.read_bytes() == CONTENT
    assert "100%" in capsys.readouterr().err
    record = json.loads((cache_folder() / "sha256.json").read_text())
    assert record == {f"{server.url}/a/w.pt": hashlib.sha256(CONTENT).hexdigest()}
    assert download(f"{server.url}/a/w.pt") == path
    assert len(server.log) == 1
    assert len(kept()) == 1


def test_a_broken_download_resumes_where_it_stopped(server):
    server.pages["/w.pt"] = Page(CONTENT, breaks=[30_000, 20_000])
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT
    assert [(asked, sent) for _, _, asked, sent in server.log] == [
        (None, 30_000),
        ("bytes=30000-", 20_000),
        ("bytes=50000-", 50_000),
    ]


def test_a_download_given_up_is_resumed_by_the_next_command(server):
    page = server.pages["/w.pt"] = Page(CONTENT, breaks=[10_000] * downloads.ATTEMPTS)
    with pytest.raises(UserError, match="50,000 bytes are kept, the same command resumes"):
        download(f"{server.url}/w.pt")
    assert [name.split("/")[-1] for name in kept()] == ["w.pt.part", "w.pt.part.etag"]
    page.breaks = []
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT
    assert server.log[-1][2:] == ("bytes=50000-", 50_000)
    assert [name.split("/")[-1] for name in kept()] == ["w.pt"]


def test_a_file_that_changed_meanwhile_is_not_mixed(server):
    server.pages["/w.pt"] = Page(CONTENT, breaks=[10_000] * downloads.ATTEMPTS)
    with pytest.raises(UserError):
        download(f"{server.url}/w.pt")
    server.pages["/w.pt"] = Page(CONTENT[::-1])
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT[::-1]


def test_without_a_tag_it_starts_over(server):
    server.pages["/w.pt"] = Page(CONTENT, tagged=False, breaks=[30_000])
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT
    assert [asked for _, _, asked, _ in server.log] == [None, None]


def test_a_beginning_that_the_server_does_not_know_is_thrown_away(server):
    server.pages["/w.pt"] = Page(CONTENT, breaks=[10_000] * downloads.ATTEMPTS)
    with pytest.raises(UserError):
        download(f"{server.url}/w.pt")
    server.pages["/w.pt"] = Page(CONTENT, statuses=[416])
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT


def test_passing_trouble_is_waited_out(server):
    server.pages["/w.pt"] = Page(CONTENT, statuses=[503, 429])
    assert download(f"{server.url}/w.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (None, "HTTP 404"),
        (Page(CONTENT, statuses=[403]), "HTTP 403"),
        (Page(CONTENT, statuses=[500] * 99), "HTTP 500"),
        (Page(b"<html>log in</html>", content_type="text/html; charset=utf-8"), "a web page"),
    ],
    ids=["404", "403", "500", "html"],
)
def test_refusals_leave_nothing(server, page, message):
    if page:
        server.pages["/w.pt"] = page
    with pytest.raises(UserError, match=message):
        download(f"{server.url}/w.pt")
    assert kept() == []


def test_no_server():
    with Server() as gone:
        url = gone.url
    with pytest.raises(UserError, match=r"cannot be downloaded: .*refused"):
        download(f"{url}/w.pt")


def test_other_bytes_than_the_first_time_are_refused(server):
    server.pages["/w.pt"] = Page(CONTENT)
    path = download(f"{server.url}/w.pt")
    path.unlink()
    server.pages["/w.pt"] = Page(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=r"was .* when it was first downloaded"):
        download(f"{server.url}/w.pt")
    assert kept() == []
    (cache_folder() / "sha256.json").unlink()  # the change is intended
    download(f"{server.url}/w.pt")
    path.write_bytes(CONTENT)  # and the cache is watched too
    with pytest.raises(UserError, match=f"has SHA-256.*if it is damaged, delete {path};"):
        download(f"{server.url}/w.pt")


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OTUKEN_CACHE", str(tmp_path / "file"))
    server.pages["/w.pt"] = Page(CONTENT)
    with pytest.raises(UserError, match="cannot be stored"):
        download(f"{server.url}/w.pt")


def test_converting_a_published_name(server, tmp_path, monkeypatch, capsys):
    torch.save(clip_tensors(), tmp_path / "w.pt")
    server.pages["/w.pt"] = Page((tmp_path / "w.pt").read_bytes(), breaks=[5_000])
    network = dataclasses.replace(NETWORKS["clip"], published={"tiny": f"{server.url}/w.pt"})
    monkeypatch.setitem(NETWORKS, "clip", network)
    assert run("clip", "tiny", "--out", tmp_path / "out") == 0
    card = read_card(tmp_path / "out", "clip")
    assert card.source == "tiny"
    assert list(card.source_sha256) == ["w.pt"]
    assert run("clip", "small", "--out", tmp_path / "out2") == 2
    assert "published name of clip (tiny)" in capsys.readouterr().err


def test_published_addresses():
    """OpenAI's nine files, each under its own name."""
    urls = {name: url for n in NETWORKS.values() for name, url in n.published.items()}
    folder = "https://openaipublic.azureedge.net/main/point-e"
    assert urls == {
        "sdf": f"{folder}/sdf.pt",
        "base40M-uncond": f"{folder}/base_40m_uncond.pt",
        "base40M-textvec": f"{folder}/base_40m_textvec.pt",
        "base40M-imagevec": f"{folder}/base_40m_imagevec.pt",
        "base40M": f"{folder}/base_40m.pt",
        "base300M": f"{folder}/base_300m.pt",
        "base1B": f"{folder}/base_1b.pt",
        "upsample": f"{folder}/upsample_40m.pt",
        "pointnet": f"{folder}/pointnet.pt",
    }


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The server as Hugging Face hub of this process."""
    constants = huggingface_hub.constants
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return server


def t5_files(tmp_path, **more):
    folder = write_t5(tmp_path / "source")
    files = {name: (folder / name).read_bytes() for name in listing(folder)}
    return files | {"pytorch_model.bin": b"pickle", "tf_model.h5": b"x", "README.md": b"x"} | more


def test_hub_repository(hub, tmp_path, monkeypatch, capsys):
    files = t5_files(tmp_path)
    hub.add_repository("someone/tiny-t5", files)
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 0
    assert listing(tmp_path / "out") == [
        "card.json",
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
    ]
    assert read_card(tmp_path / "out").source == "someone/tiny-t5"
    fetched = {path.split("/")[-1] for _, path, _, _ in hub.log if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "tokenizer_config.json"}
    assert fetched <= set(HUB_FILES)

    before = len(hub.log)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 0
    capsys.readouterr()
    assert run("t5", "someone/other", "--out", tmp_path / "out2") == 2
    assert "not in the local Hugging Face cache" in capsys.readouterr().err
    assert len(hub.log) == before

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    other = files | {"model.safetensors": files["model.safetensors"][:-1] + b"\x01"}
    hub.add_repository("someone/tiny-t5", other)
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out2") == 2
    assert "when it was first downloaded" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()
    hub.add_repository("someone/tiny-t5", other, revision="v2")
    assert run("t5", "someone/tiny-t5@v2", "--out", tmp_path / "out2") == 0  # asked for by name
    # So are the other files: the number of heads is in one of them.
    config = json.loads(files["config.json"]) | {"num_heads": 6, "d_kv": 3}
    other = files | {"config.json": json.dumps(config).encode()}
    hub.add_repository("someone/tiny-t5", other)
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out3") == 2
    assert "someone/tiny-t5/config.json has SHA-256" in capsys.readouterr().err


def test_a_hub_repository_in_shards(hub, tmp_path):
    folder = write_t5(tmp_path / "source")
    shard(folder)
    files = {name: (folder / name).read_bytes() for name in listing(folder)}
    hub.add_repository("someone/tiny-t5", files | {"model-extra.safetensors": b"x"})
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 0
    fetched = {path.split("/")[-1] for _, path, _, _ in hub.log if "/resolve/" in path}
    assert fetched == set(files)
    assert sum(name.startswith("model-") for name in fetched) == 2
    assert set(read_card(tmp_path / "out").source_sha256) == set(files)


def test_a_transfer_that_fails_in_the_hubs_own_way(hub, tmp_path, capsys, monkeypatch):
    """hf_xet knows no other exception."""

    def fail(*args, **kwargs):
        raise RuntimeError("Data processing error: CAS service error\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == (
        "error: someone/tiny-t5 cannot be fetched from the Hugging Face hub: "
        "Data processing error: CAS service error; the same command resumes\n"
    )


def test_a_hub_download_that_breaks_off(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    files = t5_files(tmp_path)
    hub.add_repository("someone/tiny-t5", files)
    (page,) = (page for path, page in hub.pages.items() if path.endswith("model.safetensors"))
    page.breaks = [4000] * 10
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: someone/tiny-t5 cannot be fetched from the Hugging Face hub")
    assert error.endswith("the same command resumes")
    assert not (tmp_path / "out").exists()
    page.breaks = [4000]
    assert run("t5", "someone/tiny-t5", "--out", tmp_path / "out") == 0
    sha256 = read_card(tmp_path / "out").source_sha256["model.safetensors"]
    assert sha256 == hashlib.sha256(files["model.safetensors"]).hexdigest()


def delete_line(part):
    """Deletes one line of the record of hashes, as an error advises."""
    record = cache_folder() / "sha256.json"
    lines = record.read_text().splitlines()
    (found,) = (line for line in lines if part in line)
    record.write_text("\n".join(line for line in lines if line is not found))


def test_a_damaged_first_download_can_be_mended(hub, tmp_path, capsys, monkeypatch):
    """By what the error advises, for the cache of this project and that of the hub."""
    torch.save(clip_tensors(), tmp_path / "w.pt")
    whole, url = (tmp_path / "w.pt").read_bytes(), f"{hub.url}/w.pt"
    network = dataclasses.replace(NETWORKS["clip"], published={"tiny": url})
    monkeypatch.setitem(NETWORKS, "clip", network)
    files = t5_files(tmp_path)
    cut = files | {"model.safetensors": b"\xff" * 8 + files["model.safetensors"][8:]}
    downloads.pin("another", "0")
    for command, bad, good, line in [
        (("clip", "tiny"), whole[:-9], whole, url),
        (("t5", "someone/tiny-t5"), cut, files, "someone/tiny-t5/model.safetensors"),
    ]:
        for content, status in ((bad, 2), (good, 2), (good, 0)):
            if isinstance(content, dict):
                hub.add_repository("someone/tiny-t5", content, commit="1" * 40)
            else:
                hub.pages["/w.pt"] = Page(content)
            assert run(*command, "--out", tmp_path / command[0]) == status
            error = capsys.readouterr().err.splitlines()[-1]
            if content is good and status == 2:
                damaged, record = error.split("delete ")[1].split(" and its line in ")
                assert record.startswith(str(cache_folder() / "sha256.json"))
                os.unlink(damaged)
                delete_line(line)


def test_hub_refusals(hub, tmp_path, capsys):
    assert run("t5", "someone/nothing", "--out", tmp_path / "out") == 2
    assert "no public repository someone/nothing" in capsys.readouterr().err
    files = t5_files(tmp_path)
    del files["model.safetensors"]
    hub.add_repository("someone/pickled", files)
    assert run("t5", "someone/pickled", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "has no safetensors" in error
    assert "someone/pickled@refs/pr/NUMBER" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_environment_of_the_hub(server, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE as a user sets them, in processes of their own."""
    server.add_repository("someone/tiny-t5", t5_files(tmp_path))
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}

    def convert(name, **more):
        command = [sys.executable, "-m", "porting", "t5", name, "--out", str(tmp_path / "out")]
        return subprocess.run(command, env=env | more, capture_output=True, text=True)

    assert convert("someone/tiny-t5", HF_HUB_OFFLINE="1").returncode == 2
    assert server.log == []
    assert convert("someone/tiny-t5").returncode == 0
    asked = len(server.log)
    assert convert("someone/tiny-t5", HF_HUB_OFFLINE="1").returncode == 0
    assert len(server.log) == asked
