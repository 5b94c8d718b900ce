"""Downloads of published weights: resumed, atomic, cached, and pinned by their first SHA-256.

The cache is `$OTUKEN_CACHE`, by default `~/.cache/otuken_jax`. `sha256.json` in it records what
each address gave the first time; anything else is refused later. Repositories of the Hugging Face
hub lie in the hub's own cache (`HF_HOME`) and are pinned in the same record.
"""

import functools
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from otuken_jax.errors import UserError

ATTEMPTS = 5
FIRST_PAUSE = 1.0  # seconds before the second attempt; doubles each time
TIMEOUT = 30.0  # seconds without a byte
HUB_FILES = [  # of a repository, no other file is fetched: no pickles, no other frameworks
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "vocab.json",
    "merges.txt",
]


def cache_folder() -> Path:
    """Where downloads and the record of their hashes lie."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otuken_jax"
    return Path(os.environ.get("OTUKEN_CACHE") or default)


def record_file() -> Path:
    """Where the first hash of each address is written down."""
    return cache_folder() / "sha256.json"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, computed once per version of the file."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file by way of a temporary one beside it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def pin(address: str, sha256: str, cached: Path | None = None) -> None:
    """Records the hash of what `address` gave, or compares it with the recorded one.

    cached: the file in the cache, which the error then says how to get rid of.

    Raises:
        UserError: the record holds another hash.
    """
    record = record_file()
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{record}.lock"):
            text = record.read_text(encoding="utf-8") if record.is_file() else "{}"
            # Whoever deletes the last line by hand leaves the comma of the one before.
            known = json.loads(re.sub(r",\s*}", "}", text))
            first = known.setdefault(address, sha256)
            write_atomically(record, json.dumps(known, indent=2, sort_keys=True) + "\n")
    except (OSError, ValueError) as error:
        raise UserError(f"the record of hashes {record} cannot be kept: {error}") from error
    if first != sha256:
        damaged = f"if it is damaged, delete {cached.resolve()}; " if cached else ""
        raise UserError(
            f"{address} has SHA-256 {sha256} but was {first} when it was first downloaded; "
            f"{damaged}if the change is intended, delete its line in {record}"
        )


def download(url: str) -> Path:
    """The file at `url`, from the cache or downloaded; a broken download resumes where it stopped.

    Raises:
        UserError: it cannot be had, or is not what the address gave before.
    """
    parts = urllib.parse.urlsplit(url)
    target = cache_folder() / parts.netloc.replace(":", "_") / parts.path.lstrip("/")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():
                part = target.with_name(target.name + ".part")
                _fetch_with_retries(url, part)
                try:
                    pin(url, sha256_of(part))
                except UserError:
                    part.unlink()
                    raise
                part.replace(target)
            pin(url, sha256_of(target), target)
    except OSError as error:
        raise UserError(f"{url} cannot be stored in {cache_folder()}: {error}") from error
    return target


def _fetch_with_retries(url: str, part: Path) -> None:
    pause = FIRST_PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause *= 2
        try:
            return _fetch(url, part)
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == 416:  # what lies here is no beginning of what is there
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise UserError(f"{url} cannot be downloaded: {reason}") from error
        # URLError wraps what fails before the answer; the others break off within it.
        except (urllib.error.URLError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        except (ConnectionError, TimeoutError) as error:
            reason = str(error)
    advice = "try again later"
    if part.is_file() and part.with_name(part.name + ".etag").is_file():
        advice = f"{part.stat().st_size:,} bytes are kept, the same command resumes"
    raise UserError(f"{url} cannot be downloaded: {reason} ({ATTEMPTS} attempts); {advice}")


def _fetch(url: str, part: Path) -> None:
    """One request, appended to `part` if the server still has the version that `part` began."""
    tag = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "otuken_jax"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            raise UserError(f"{url} gives a web page instead of weights (a login page or proxy?)")
        if response.status == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise ConnectionError("the server resumes at another place than asked")
        else:
            have = 0
            tag.unlink(missing_ok=True)
            part.unlink(missing_ok=True)  # before the new tag: the two must never be mixed
            etag = response.headers.get("ETag", "")
            if etag.startswith('"'):  # only a strong tag vouches for every byte
                tag.write_text(etag, encoding="utf-8")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        name = part.name.removesuffix(".part")
        with (
            part.open("ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name) as progress,
        ):
            while chunk := response.read(1 << 20):
                file.write(chunk)
                progress.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"broke off after {part.stat().st_size:,} of {total:,} bytes")
    tag.unlink(missing_ok=True)


def download_snapshot(name: str) -> Path:
    """The folder of a hub repository `owner/name` or `owner/name@revision`, every file pinned.

    Raises:
        UserError: it cannot be had, has no safetensors, or is not what it was before.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HTTPError,  # of httpx or httpx2, whichever this version builds on
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=HUB_FILES,
            endpoint=os.environ.get("HF_ENDPOINT") or None,
        )
    except RepositoryNotFoundError as error:
        raise UserError(f"the Hugging Face hub has no public repository {repository}") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{name} is not in the local Hugging Face cache, and the hub cannot be reached "
            "(or HF_HUB_OFFLINE is set)"
        ) from error
    except (OSError, ValueError, RuntimeError, HTTPError) as error:  # hf_xet has only RuntimeError
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        # What is no answer of the hub is a connection that failed.
        advice = "" if isinstance(error, (OSError, ValueError)) else "; the same command resumes"
        raise UserError(
            f"{name} cannot be fetched from the Hugging Face hub: {first}{advice}"
        ) from error
    files = [file for pattern in HUB_FILES for file in sorted(Path(folder).glob(pattern))]
    if not any(file.suffix == ".safetensors" for file in files):
        raise UserError(
            f"{name} has no safetensors, and pickles are not fetched: name a revision that has "
            f"them ({repository}@refs/pr/NUMBER), or download its .bin yourself and give the file"
        )
    for file in files:
        pin(f"{name}/{file.name}", sha256_of(file), file)
    return Path(folder)
