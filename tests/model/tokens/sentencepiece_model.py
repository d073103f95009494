"""What SentencePiece itself makes of texts, in a process of its own: it bears no protobuf beside its own."""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

CORPUS = (
    "the quick brown fox jumps over the lazy dog it's we'll 12,345 naïve cafés straße ½ x² ﬁne",
    "日本語 テキスト 中文 字 ру́сский عربى हिन्दी ไทย 한국어 🙂 👍🏽",
) * 50
# As DeBERTa has them, by their ids.
_SPECIALS = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}

_SCRIPT = """
import base64, io, json, sys
import sentencepiece

given = json.load(sys.stdin)
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(given["corpus"]), model_writer=model, vocab_size=120, hard_vocab_limit=False,
    normalization_rule_name="nmt_nfkc", minloglevel=2,
    **{f"{name}_piece": piece for name, piece in given["specials"].items()},
    **{f"{name}_id": place for place, name in enumerate(given["specials"])},
)
processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
ids = [processor.encode(text) for text in given["texts"]]
json.dump({"model": base64.b64encode(model.getvalue()).decode(), "ids": ids}, sys.stdout)
"""


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """A model of SentencePiece's, and what it makes of some texts."""

    model: bytes
    ids: list[list[int]]


def sentencepiece_model(texts: Sequence[str] = ()) -> SentencePieceModel:
    """Train a model, and tokenize `texts` by it."""
    given = {"corpus": CORPUS, "specials": _SPECIALS, "texts": texts}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    return SentencePieceModel(model=base64.b64decode(told["model"]), ids=told["ids"])
