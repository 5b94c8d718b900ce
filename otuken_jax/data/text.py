"""Turkish text to token ids: normalisation, folding, tokenizers.

    python -m otuken_jax.data.text report --tokenizer X FILE    what X loses of FILE
    python -m otuken_jax.data.text prune --tokenizer X FILE --out DIR

Python's own lower() is wrong for Turkish ("IŞIK" would become "işik", "İ" two code points), and the
vocabulary of `google/t5-v1_1-base` has no ğ, ı or İ and no byte fallback, so "kırmızı" would lose
three letters. Text is therefore lower-cased by Turkish rules, and letters that a tokenizer lacks
are folded by the table below, and only those.
"""

import abc
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from otuken_jax.errors import UserError

TURKISH_LETTERS = "abcçdefgğhıijklmnoöprsştuüvyz"
FOLDING = {"ç": "c", "ğ": "g", "ı": "i", "ö": "o", "ş": "s", "ü": "u", "â": "a", "î": "i", "û": "u"}
BYTE_TOKENIZER = "bytes"


def normalize(text: str) -> str:
    """NFC, Turkish lower case (I -> ı, İ -> i), single spaces, no control or zero-width characters.

    Raises:
        UserError: the text holds bytes that were not UTF-8 (Python keeps them as surrogates).
    """
    text = unicodedata.normalize("NFC", text)
    # "i" + combining dot is what str.lower() makes of İ in text that went through it before.
    text = text.replace("I", "ı").replace("İ", "i").lower().replace("i\u0307", "i")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise UserError(f"the prompt {text!r} is not valid UTF-8; save or type it as UTF-8 text")
    categories = [unicodedata.category(c) for c in text]
    visible = [" " if k == "Cc" else c for c, k in zip(text, categories, strict=True) if k != "Cf"]
    return " ".join("".join(visible).split())


class TokenBatch(NamedTuple):
    """Right-padded ids, their mask, and the positions of the prompts that had to be cut."""

    ids: Int[np.ndarray, "b l"]
    mask: Bool[np.ndarray, "b l"]
    truncated: list[int]


class Tokenizer(abc.ABC):
    """A prompt to ids in T5's convention: pad 0, one end token (1) at the end."""

    name: str
    vocab_size: int
    pad_id = 0
    eos_id = 1
    unk_id = 2
    folding: Mapping[str, str] = MappingProxyType({})  # letters that `prepare` replaces

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of `text` as it stands (neither normalised nor folded), ending with `eos_id`."""

    def prepare(self, text: str) -> str:
        """The text that is encoded for a user's `text`: normalised and, where needed, folded."""
        return normalize(text)

    def tokenize(self, texts: Sequence[str], max_length: int) -> TokenBatch:
        """Ids int32 [B, max_length], mask bool [B, max_length] and which prompts were truncated.

        Raises:
            UserError: a prompt is empty.
        """
        ids = np.full((len(texts), max_length), self.pad_id, np.int32)
        mask = np.zeros((len(texts), max_length), bool)
        truncated = []
        for i, text in enumerate(texts):
            prepared = self.prepare(text)
            if not prepared:
                raise UserError("a prompt is empty; describe the object, e.g. 'lale motifli vazo'")
            tokens = self.encode(prepared)
            if len(tokens) > max_length:
                tokens = [*tokens[: max_length - 1], self.eos_id]
                truncated.append(i)
            ids[i, : len(tokens)] = tokens
            mask[i, : len(tokens)] = True
        return TokenBatch(ids, mask, truncated)


class ByteTokenizer(Tokenizer):
    """ByT5's rule: id = UTF-8 byte + 3, no file (Xue et al. 2022, arXiv:2105.13626)."""

    name = BYTE_TOKENIZER
    vocab_size = 384  # 3 specials + 256 bytes + 125 sentinels, the rows of published ByT5 weights

    def encode(self, text: str) -> list[int]:
        return [byte + 3 for byte in text.encode("utf-8")] + [self.eos_id]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; specials, sentinels and a character cut in the middle are dropped."""
        return bytes(i - 3 for i in ids if 3 <= i < 259).decode("utf-8", errors="ignore")


class PublishedTokenizer(Tokenizer):
    """A tokenizer of the T5 family as `transformers` reads it, with folding of letters it lacks."""

    def __init__(self, backend, name: str):
        self.name = name
        self.backend = backend
        self.vocab_size = len(backend)
        specials = (backend.pad_token_id, backend.eos_token_id, backend.unk_token_id)
        if specials != (self.pad_id, self.eos_id, self.unk_id):
            raise UserError(
                f"tokenizer {name} numbers its pad, end and unknown tokens {specials} instead of "
                "(0, 1, 2); choose one of the T5 family"
            )
        lacking = {letter for letter in FOLDING if self.unk_id in self.encode(letter)}
        self.folding = {letter: FOLDING[letter] for letter in sorted(lacking)}
        self._table = str.maketrans(self.folding)

    def encode(self, text: str) -> list[int]:
        return self.backend(text, verbose=False)["input_ids"]

    def prepare(self, text: str) -> str:
        return normalize(text).translate(self._table)


def load_tokenizer(name: str, *, allow_download: bool = False) -> Tokenizer:
    """The tokenizer called `name`: "bytes", a published ByT5 name, a local folder or a hub name.

    A hub name is looked up in the local Hugging Face cache only, unless `allow_download`.

    Raises:
        UserError: it is not there or cannot be read.
    """
    if name == BYTE_TOKENIZER or name.startswith("google/byt5-"):
        return ByteTokenizer()
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"tokenizer {name} is a file; give the folder that holds it")
    # Imported here: it takes seconds, and the byte tokenizer needs none of it.
    from transformers import AutoTokenizer, T5Tokenizer

    # Without a tokenizer.json, AutoTokenizer refuses umT5 and wants a config.json beside it.
    bare = (folder / "spiece.model").is_file() and not (folder / "tokenizer.json").is_file()
    loader = T5Tokenizer if bare else AutoTokenizer
    try:
        backend = loader.from_pretrained(name, local_files_only=not allow_download)
    except Exception as error:  # damaged files raise anything, even a bare Exception
        where = "in that folder" if folder.is_dir() else "on this machine"
        raise UserError(
            f"no readable tokenizer {name!r} {where} ({type(error).__name__}); give a folder with "
            "tokenizer.json or spiece.model, allow the download, or use 'bytes'"
        ) from error
    return PublishedTokenizer(backend, name)


if __name__ == "__main__":
    # Imported here: the commands use this module by its real name, not as __main__.
    from otuken_jax.data.vocabulary import main
    from otuken_jax.errors import run_command

    raise SystemExit(run_command(main))
