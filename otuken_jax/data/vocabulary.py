"""How well a tokenizer reads Turkish, and how to cut a multilingual vocabulary down to it.

Most of mT5 and umT5 is embedding rows that Turkish never uses: of umt5-base's 282 M encoder
parameters 197 M are its 256,384 rows. A pruned encoder converts (`python -m porting t5`) and runs
as a `T5Encoder` of its own; the models trained here take published vocabularies alone.
"""

import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from otuken_jax.data.text import (
    TURKISH_LETTERS,
    PublishedTokenizer,
    Tokenizer,
    load_tokenizer,
)
from otuken_jax.errors import Parser, UserError


class Coverage(NamedTuple):
    """How a tokenizer reads a set of prompts; rates are unknown tokens over all but the end."""

    num_prompts: int
    mean_length: float  # tokens of a prompt as this project encodes it, end included
    longest: int
    unknown_rate: float  # of the text as written (NFC only)
    unknown_rate_prepared: float  # of the text as this project encodes it
    lossy_words: dict[str, str]  # word as written -> the same with "·" for letters that get lost
    lossy_words_prepared: dict[str, str]  # what normalisation and folding do not mend


def _unknown_rate(tokenizer: Tokenizer, texts: Sequence[str]) -> float:
    ids = [token for text in texts for token in tokenizer.encode(text)[:-1]]
    return ids.count(tokenizer.unk_id) / max(len(ids), 1)


def _lossy_words(tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, str]:
    words = sorted({word for text in texts for word in text.split()})
    letters = {letter for word in words for letter in word}
    lost = str.maketrans({c: "·" for c in letters if tokenizer.unk_id in tokenizer.encode(c)})
    lossy = (word for word in words if tokenizer.unk_id in tokenizer.encode(word))
    return {word: word.translate(lost) for word in lossy}


def coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> Coverage:
    """Unknown rate and the words that lose letters, as written and as this project encodes them.

    Raises:
        UserError: there is no text.
    """
    written = [unicodedata.normalize("NFC", text) for text in texts]
    prepared = [text for text in map(tokenizer.prepare, texts) if text]
    if not prepared:
        raise UserError("there is no text to report on; give a file with one prompt a line")
    lengths = [len(tokenizer.encode(text)) for text in prepared]
    return Coverage(
        num_prompts=len(prepared),
        mean_length=sum(lengths) / len(lengths),
        longest=max(lengths),
        unknown_rate=_unknown_rate(tokenizer, written),
        unknown_rate_prepared=_unknown_rate(tokenizer, prepared),
        lossy_words=_lossy_words(tokenizer, written),
        lossy_words_prepared=_lossy_words(tokenizer, prepared),
    )


def format_coverage(tokenizer: Tokenizer, result: Coverage) -> str:
    """The report as text."""
    folded = ", ".join(f"{a} -> {b}" for a, b in tokenizer.folding.items()) or "none"
    lines = [
        f"tokenizer: {tokenizer.name}, {tokenizer.vocab_size} pieces",
        f"prompts: {result.num_prompts}, {result.mean_length:.1f} tokens on average, "
        f"{result.longest} at most",
        f"unknown tokens, text as written: {100 * result.unknown_rate:.2f} %",
        f"unknown tokens, normalised and folded: {100 * result.unknown_rate_prepared:.2f} %",
        f"letters folded: {folded}",
        f"words that lose letters as written: {len(result.lossy_words)}",
        *(f"  {word} -> {shown}" for word, shown in result.lossy_words.items()),
        f"words that lose letters after folding: {len(result.lossy_words_prepared)}",
        *(f"  {word} -> {shown}" for word, shown in result.lossy_words_prepared.items()),
    ]
    return "\n".join(lines)


def prune_tokenizer(
    tokenizer: PublishedTokenizer, texts: Sequence[str]
) -> tuple[PublishedTokenizer, Int[np.ndarray, " kept"]]:
    """A tokenizer with only the pieces that `texts` uses, and the old ids of the rows to keep.

    Specials stay, and single letters of the Turkish alphabet, so that other words can still be
    spelled. `texts` are cut into the same pieces as before, and row i of a pruned embedding is
    row kept[i] of the old one, so an encoder's outputs on them are bit-identical.

    Raises:
        UserError: the tokenizer is not a unigram model (those of the T5 family are).
    """
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    state = json.loads(tokenizer.backend.backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] != "Unigram":
        raise UserError(
            f"{tokenizer.name} is a {model['type']} tokenizer; only unigram models (T5, mT5, "
            "umT5) can be pruned"
        )
    prepared = [tokenizer.prepare(text) for text in texts]
    wanted = {prefix + letter for letter in TURKISH_LETTERS for prefix in ("", "▁")} | {"▁"}
    if model["byte_fallback"]:
        wanted |= {f"<0x{byte:02X}>" for byte in range(256)}
    used = {token for text in prepared for token in tokenizer.encode(text)}
    used |= {i for i, (piece, _) in enumerate(model["vocab"]) if piece in wanted}
    used |= set(tokenizer.backend.all_special_ids)
    kept = np.array(sorted(used), np.int64)

    new_id = {old: new for new, old in enumerate(kept.tolist())}
    # Specials may be numbered beyond the model's own pieces; they stay in `added_tokens`.
    model["vocab"] = [model["vocab"][i] for i in kept if i < len(model["vocab"])]
    state["added_tokens"] = [t | {"id": new_id[t["id"]]} for t in state["added_tokens"]]
    old = tokenizer.backend
    backend = PreTrainedTokenizerFast(
        tokenizer_object=Backend.from_str(json.dumps(state)),
        pad_token=old.pad_token,
        eos_token=old.eos_token,
        unk_token=old.unk_token,
    )
    pruned = PublishedTokenizer(backend, f"{tokenizer.name} (pruned)")
    for text in prepared:
        if kept[pruned.encode(text)].tolist() != tokenizer.encode(text):
            raise AssertionError(f"pruning changed the pieces of {text!r}")
    return pruned, kept


def prune_encoder(source: Path, kept: Int[np.ndarray, " kept"], target: Path) -> tuple[int, int]:
    """Writes the encoder of `source` (config.json, model.safetensors) with the kept rows only.

    Returns the encoder's parameters before and after. The decoder is left out.

    Raises:
        UserError: there are no such weights in `source`, or they are damaged or of another
            vocabulary.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    weights = source / "model.safetensors"
    if not (weights.is_file() and (source / "config.json").is_file()):
        raise UserError(
            f"{source} lacks model.safetensors or config.json; put both there. Shards or a .bin "
            f"file become one file: `python -m porting t5 {source} --out A`, then "
            "`python -m porting export A --out B`"
        )
    fields = {"vocab_size": len(kept), "architectures": ["T5EncoderModel"]}
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8")) | fields
    except (ValueError, TypeError) as error:
        raise UserError(f"{source / 'config.json'} is damaged ({error}); fetch it again") from error
    try:
        before, tensors = _kept_tensors(weights, kept)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights} is damaged ({error}); fetch it again") from error
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return before, sum(tensor.size for tensor in tensors.values())


def _kept_tensors(
    weights: Path, kept: Int[np.ndarray, " kept"]
) -> tuple[int, dict[str, np.ndarray]]:
    """Numbers in the encoder, and its tensors with the kept rows only."""
    from safetensors import safe_open

    before, tensors = 0, {}
    with safe_open(weights, framework="numpy") as file:
        names = set(file.keys())
        embedding = "shared.weight" if "shared.weight" in names else "encoder.embed_tokens.weight"
        if embedding not in names:
            raise UserError(f"{weights} holds no T5 encoder: it has no tensor {embedding}")
        for name in sorted(names):
            # Published files repeat the tied embedding under the encoder's own name.
            if name != embedding and (
                not name.startswith("encoder.") or name == "encoder.embed_tokens.weight"
            ):
                continue
            tensor = file.get_tensor(name)
            before += tensor.size
            if name == embedding and len(tensor) <= kept.max():
                raise UserError(
                    f"{weights} has {len(tensor)} rows, too few for the tokenizer; give the "
                    "weights that it belongs to"
                )
            tensors[name] = np.ascontiguousarray(tensor[kept]) if name == embedding else tensor
    return before, tensors


def prune(
    tokenizer: PublishedTokenizer, texts: Sequence[str], weights: Path | None, out: Path
) -> str:
    """Writes a pruned tokenizer, and pruned weights if a folder of them is given, to `out`.

    Returns what was done, as text. `out` loads as a tokenizer and ports as a T5 network.

    Raises:
        UserError: `out` already holds something, or see `prune_tokenizer` and `prune_encoder`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists; choose another folder or remove it")
    pruned, kept = prune_tokenizer(tokenizer, texts)
    lines = [f"pieces: {tokenizer.vocab_size} -> {len(kept)}"]
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        if weights is not None:
            before, after = prune_encoder(weights, kept, staging)
            lines.append(f"encoder parameters: {before:,} -> {after:,}")
        pruned.backend.save_pretrained(staging)
        np.save(staging / "kept_ids.npy", kept, allow_pickle=False)
        os.chmod(staging, 0o755)
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return "\n".join([*lines, f"written: {out}"])


def read_prompts(path: Path) -> list[str]:
    """The non-empty lines of a UTF-8 text file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def main(argv: Sequence[str] | None = None) -> None:
    """`report` and `prune` of `python -m otuken_jax.data.text`."""
    parser = Parser(prog="python -m otuken_jax.data.text", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="how well a tokenizer reads a text file")
    cut = commands.add_parser("prune", help="keep only the pieces that a text file uses")
    for command in (report, cut):
        command.add_argument("--tokenizer", required=True, help="'bytes', a folder or a hub name")
        command.add_argument("--download", action="store_true", help="fetch a hub name if needed")
        command.add_argument("file", type=Path, help="UTF-8 text, one prompt a line")
    cut.add_argument(
        "--weights",
        type=Path,
        help="folder with config.json and model.safetensors, to be pruned too; the models trained "
        "here cannot take the result as their text encoder",
    )
    cut.add_argument("--out", type=Path, required=True, help="new folder for what is kept")
    args = parser.parse_args(argv)

    tokenizer = load_tokenizer(args.tokenizer, allow_download=args.download)
    texts = read_prompts(args.file)
    if args.command == "report":
        print(format_coverage(tokenizer, coverage(tokenizer, texts)))
    elif isinstance(tokenizer, PublishedTokenizer):
        print(prune(tokenizer, texts, args.weights, args.out))
    else:
        raise UserError("the byte tokenizer has no vocabulary to prune; name an mT5 or umT5 one")
