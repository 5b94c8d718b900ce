"""Turkish normalisation, tokenizers, coverage and vocabulary pruning."""

import numpy as np
import pytest

from otuken_jax.data.text import ByteTokenizer, normalize
from otuken_jax.errors import UserError


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("IŞIK", "ışık"),
        ("İZNİK  VAZO\n", "iznik vazo"),
        ("İznik".lower(), "iznik"),  # str.lower() leaves a combining dot behind
        ("I\u0307znik", "iznik"),  # İ typed as two code points
        ("c\u0327ini ka\u0302se", "çini kâse"),
        ("\u200bçini \u200b vazo\ufeff\x00", "çini vazo"),
        ("ÇĞÖŞÜÂÎÛ", "çğöşüâîû"),
    ],
)
def test_normalize_follows_turkish_rules(raw, expected):
    assert normalize(raw) == expected


def test_normalize_refuses_bytes_that_are_not_utf8():
    with pytest.raises(UserError, match="UTF-8"):
        normalize(b"vazo \xfe".decode("utf-8", errors="surrogateescape"))


def test_byte_tokenizer_is_byt5():
    transformers = pytest.importorskip("transformers")
    published = transformers.ByT5Tokenizer()
    tokenizer = ByteTokenizer()
    for text in ("kırmızı çini vazo", "İ", "a b"):
        assert tokenizer.encode(text) == published(text)["input_ids"]
    assert tokenizer.vocab_size == len(published)
    assert tokenizer.decode(tokenizer.encode("ışık")) == "ışık"


def test_tokenize_pads_masks_and_reports_truncation():
    batch = ByteTokenizer().tokenize(["VAZO", "küçük bir vazo"], max_length=8)
    assert batch.ids.dtype == np.int32
    assert batch.ids.shape == batch.mask.shape == (2, 8)
    np.testing.assert_array_equal(batch.ids[0], [b + 3 for b in b"vazo"] + [1, 0, 0, 0])
    np.testing.assert_array_equal(batch.mask[0], [True] * 5 + [False] * 3)
    assert batch.mask[1].all()
    assert batch.ids[1, -1] == 1
    assert batch.truncated == [1]


@pytest.mark.parametrize("prompt", ["", " \n\t", "\u200b"])
def test_an_empty_prompt_is_an_error(prompt):
    with pytest.raises(UserError, match="empty"):
        ByteTokenizer().tokenize(["vazo", prompt], max_length=8)
