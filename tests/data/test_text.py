"""Turkish normalisation, tokenizers, coverage and vocabulary pruning."""

import io
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import sentencepiece
from flax import nnx
from safetensors.numpy import load_file, save_file
from transformers import ByT5Tokenizer

from otuken_jax.data import vocabulary
from otuken_jax.data.text import ByteTokenizer, load_tokenizer, normalize
from otuken_jax.errors import UserError
from otuken_jax.models.t5 import T5Config, T5Encoder
from otuken_jax.models.weights import load_weights
from porting.convert import convert
from porting.t5 import NETWORKS, make_torch

CORPUS = [
    "İznik tarzı lale motifli kırmızı çini vazo",
    "Selçuklu yıldızı taşıyan büyük bir kâse",
    "Üç karanfil ve rumi bezemeli ibrik, mavi beyaz",
    "Göktürk üslubu, tamga oyulmuş gri granit taş",
    "Şamdan, ağaç yaprağı ve hatayi, zümrüt yeşili",
]


def write_tokenizer(folder, sentences, vocab_size):
    """A sentencepiece unigram model in T5's numbering, trained on `sentences`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 20),
        model_writer=model,
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        minloglevel=2,
    )
    folder.mkdir()
    (folder / "spiece.model").write_bytes(model.getvalue())
    return folder


@pytest.fixture(scope="module")
def turkish(tmp_path_factory):
    """A tokenizer that knows every Turkish letter, like mT5's."""
    folder = tmp_path_factory.mktemp("text") / "turkish"
    letters = [normalize(text) for text in CORPUS] + ["abcçdefgğhıijklmnoöprsştuüvyz âîû"]
    return load_tokenizer(str(write_tokenizer(folder, CORPUS + letters, 200)))


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """A tokenizer that lacks ğ, ı and İ, like t5-v1_1's, but has ç, ö, ş, ü."""
    folder = tmp_path_factory.mktemp("text") / "english"
    words = ["kirmizi cini vazo, yesil agac", "abcdefghijklmnoprstuvyz", "çöşüâîû sık yeşil büyük"]
    return load_tokenizer(str(write_tokenizer(folder, [w.replace("ı", "i") for w in words], 80)))


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
    published = ByT5Tokenizer()
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


def test_published_tokenizer_is_sentencepiece_plus_end(turkish):
    reference = sentencepiece.SentencePieceProcessor(model_file=turkish.name + "/spiece.model")
    for text in CORPUS:
        prepared = turkish.prepare(text)
        assert turkish.encode(prepared) == [*reference.encode(prepared), turkish.eos_id]
    assert turkish.folding == {}


def test_only_the_letters_that_a_tokenizer_lacks_are_folded(english):
    assert english.folding == {"ğ": "g", "ı": "i"}
    assert english.prepare("KIRMIZI ağaç, YEŞİL") == "kirmizi agaç, yeşil"
    assert english.unk_id not in english.tokenize(["kırmızı"], 32).ids


@pytest.mark.parametrize("name", ["missing/folder", "google/no-such-tokenizer-at-all"])
def test_a_missing_tokenizer_is_one_clear_line(name):
    with pytest.raises(UserError, match="tokenizer"):
        load_tokenizer(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("spiece.model", "not a model"),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),  # transformers: KeyError
        ("tokenizer.json", "[1]"),  # transformers: TypeError
        ("tokenizer.json", '{"added_tokens": [], "model": {"type": "Silly"}}'),  # Exception itself
    ],
)
def test_an_unreadable_tokenizer_is_one_clear_line(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    with pytest.raises(UserError, match=r"no readable tokenizer .*spiece\.model"):
        load_tokenizer(str(tmp_path))


def test_coverage_counts_what_folding_mends(english):
    result = vocabulary.coverage(english, ["kırmızı vazo", "yeşil ağaç", "☃ vazo"])
    assert result.num_prompts == 3
    assert result.lossy_words == {"ağaç": "a·aç", "kırmızı": "k·rm·z·", "☃": "·"}
    assert result.lossy_words_prepared == {"☃": "·"}
    assert result.unknown_rate > result.unknown_rate_prepared > 0


def test_report_command(english, tmp_path, capsys):
    file = tmp_path / "prompts.txt"
    file.write_text("kırmızı vazo\n\n", encoding="utf-8")
    vocabulary.main(["report", "--tokenizer", english.name, str(file)])
    out = capsys.readouterr().out
    assert "kırmızı -> k·rm·z·" in out
    assert "after folding: 0" in out
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        vocabulary.main(["report", "--tokenizer", "bytes", str(file)])
    with pytest.raises(UserError, match="cannot read"):
        vocabulary.main(["report", "--tokenizer", "bytes", str(tmp_path / "none.txt")])
    file.write_text("\n")
    with pytest.raises(UserError, match="no text"):
        vocabulary.main(["report", "--tokenizer", "bytes", str(file)])


def test_the_module_runs_as_a_command(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("kırmızı vazo\n", encoding="utf-8")
    command = ["-m", "otuken_jax.data.text", "report", "--tokenizer", "bytes", str(file)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tokenizer: bytes, 384 pieces\nprompts: 1, 16.0 tokens")
    file.unlink()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot read {file}: No such file or directory\n"


def publish(turkish, folder, model_type):
    """Weights of a tiny encoder as published: decoder, tied copies, more rows than pieces."""
    folder.mkdir()
    rows = turkish.vocab_size + 12
    module = make_torch(T5Config(rows, 4, 2, 6, 1, 2, per_layer_bias=model_type == "umt5"))
    tensors = {name: w.numpy() for name, w in module.state_dict().items()}
    table = tensors["shared.weight"]
    extra = {"lm_head.weight": table.copy(), "decoder.x": np.ones((4, 4), np.float32)}
    tensors["encoder.embed_tokens.weight"] = table.copy()
    save_file(tensors | extra, folder / "model.safetensors")
    config = module.config.to_dict() | {"model_type": model_type}
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def prune_command(turkish, folder, source, out):
    """The command line that keeps what two prompts use."""
    file = folder / "prompts.txt"
    file.write_text("\n".join(CORPUS[:2]), encoding="utf-8")
    weights = ["--weights", str(source), "--out", str(out)]
    return ["prune", "--tokenizer", turkish.name, str(file), *weights]


def test_a_pruned_encoder_gives_the_same_bits(turkish, tmp_path):
    """Both converted from what lies on the disk; the whole one reads the kept ids' old numbers."""
    source, out = tmp_path / "published", tmp_path / "pruned"
    publish(turkish, source, "umt5")
    vocabulary.main(prune_command(turkish, tmp_path, source, out))
    outputs, ids = [], []
    for folder, tokenizer in ((source, turkish), (out, load_tokenizer(str(out)))):
        card, _ = convert(NETWORKS["t5"], str(folder), folder / "ported")
        encoder = nnx.eval_shape(lambda c=card: T5Encoder(T5Config(**c.config), rngs=nnx.Rngs(0)))
        load_weights(encoder, folder / "ported", network="t5")
        batch = tokenizer.tokenize(CORPUS[:2], 48)
        graphdef, state = nnx.split(encoder)
        run = jax.jit(lambda state, *x, g=graphdef: nnx.merge(g, state)(*x))
        outputs.append(np.asarray(run(state, batch.ids, batch.mask)))
        ids.append(batch.ids)
    assert not np.array_equal(*ids)
    assert np.abs(outputs[0]).max() > 0.1
    np.testing.assert_array_equal(*outputs)
    # A word that the kept texts do not hold is still spelled, not lost.
    assert tokenizer.vocab_size < turkish.vocab_size
    assert tokenizer.unk_id not in tokenizer.encode("zümrüt")


@pytest.mark.parametrize("model_type", ["t5", "mt5", "umt5"])
def test_prune_command_writes_tokenizer_and_weights(turkish, tmp_path, capsys, model_type):
    """And what it writes ports: the same parameters, of the embedding the kept rows."""
    source, out = tmp_path / "published", tmp_path / "pruned"
    tensors = publish(turkish, source, model_type)
    table = tensors["shared.weight"]
    rows = len(table)
    command = prune_command(turkish, tmp_path, source, out)
    vocabulary.main(command)
    kept = np.load(out / "kept_ids.npy")
    written = load_file(out / "model.safetensors")
    assert set(written) == set(tensors) - {"encoder.embed_tokens.weight"}
    np.testing.assert_array_equal(written["shared.weight"], table[kept])
    assert json.loads((out / "config.json").read_text())["vocab_size"] == len(kept)
    others = sum(w.size for w in written.values()) - len(kept) * 4
    counts = f"{rows * 4 + others:,} -> {len(kept) * 4 + others:,}"
    assert counts in capsys.readouterr().out
    for folder in (source, out):
        convert(NETWORKS["t5"], str(folder), folder / "ported")
    old, new = (load_file(folder / "ported" / "model.safetensors") for folder in (source, out))
    assert old.keys() == new.keys()
    for name, w in old.items():
        np.testing.assert_array_equal(new[name], w[kept] if name == "embedding" else w)
    reloaded = load_tokenizer(str(out))
    assert reloaded.vocab_size == len(kept)
    for text in CORPUS[:2]:
        assert kept[reloaded.tokenize([text], 64).ids].tolist() == [
            turkish.tokenize([text], 64).ids[0].tolist()
        ]
    with pytest.raises(UserError, match="already exists"):
        vocabulary.main(command)


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


def few_rows(folder):
    save_file({"shared.weight": np.ones((5, 4), np.float32)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks model.safetensors"),
        (cut, "model.safetensors is damaged (Error while deserializing"),
        (few_rows, "has 5 rows, too few for the tokenizer"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged ("),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json is damaged ("),
    ],
    ids=["no weights", "cut", "few rows", "no JSON", "a list"],
)
def test_prune_leaves_nothing_behind_when_it_fails(turkish, tmp_path, damage, message):
    source = tmp_path / "published"
    publish(turkish, source, "mt5")
    damage(source)
    command = prune_command(turkish, tmp_path, source, tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=re.escape(message)):
        vocabulary.main(command)
    assert sorted(tmp_path.rglob("*")) == before
