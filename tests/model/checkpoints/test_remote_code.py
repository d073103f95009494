"""Code that comes with a checkpoint is never run, whatever stands on standard input."""

import ast
import io
import json
from pathlib import Path

import pytest

import model
from model.checkpoints.loading import load_classifier, load_for_finetuning, load_tokenizer
from model.errors import CheckpointError
from model.fastbert import FastBertForSequenceClassification

LOADS = {
    "classifier": load_classifier,
    "to be fine-tuned": lambda directory: load_for_finetuning(directory, ("a", "b"), seed=0),
    "tokenizer": load_tokenizer,
    "FastBERT": FastBertForSequenceClassification.from_pretrained,
}
MODEL_CODE = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
TOKENIZER_CODE = {"AutoTokenizer": ["own.Tokenizer", None]}

fastbert_only = pytest.mark.parametrize("directory", ["fastbert"], indirect=True)
backbone_only = pytest.mark.parametrize("directory", ["backbone"], indirect=True)


@pytest.fixture
def stdin(monkeypatch):
    """A standard input that answers yes to everything."""
    answers = io.StringIO("y\n" * 9)
    monkeypatch.setattr("sys.stdin", answers)
    return answers


@pytest.fixture
def trace(directory, tmp_path):
    """What the code in the checkpoint leaves behind."""
    trace = tmp_path / "was run"
    (directory / "own.py").write_text(f"open({str(trace)!r}, 'w')\nConfig = Model = Tokenizer = None\n")
    return trace


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@backbone_only
@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_a_model_of_its_own_kind_is_refused_and_nobody_asked(directory, load, trace, stdin):
    change(directory / "config.json", model_type="own", auto_map=MODEL_CODE)
    with pytest.raises(CheckpointError, match="contains custom code") as caught:
        load(directory)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert stdin.tell() == 0
    assert not trace.exists()


@fastbert_only
def test_a_tokenizer_of_its_own_kind_is_refused_and_nobody_asked(directory, trace, stdin):
    change(directory / "tokenizer_config.json", tokenizer_class="Own", auto_map=TOKENIZER_CODE)
    with pytest.raises(CheckpointError, match=r"no usable tokenizer: .* contains custom code") as caught:
        FastBertForSequenceClassification.from_pretrained(directory)
    assert "\n" not in str(caught.value)
    assert stdin.tell() == 0
    assert not trace.exists()


@fastbert_only
def test_code_beside_a_known_kind_is_left_alone(directory, trace, stdin):
    change(directory / "config.json", auto_map=MODEL_CODE)
    config = json.loads((directory / "config.json").read_text())
    change(directory / "config.json", backbone_config=config["backbone_config"] | {"auto_map": MODEL_CODE})
    FastBertForSequenceClassification.from_pretrained(directory)
    FastBertForSequenceClassification.from_pretrained(directory, trust_remote_code=True)
    assert stdin.tell() == 0
    assert not trace.exists()


def loads_of_transformers():
    """Yield where a class of transformers loads or makes something, and the options that it is given."""
    home = Path(model.__file__).parents[1]
    packages = [home / name for name in ("model", "pipeline", "jobs")]
    for path in (path for package in packages for path in package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                loads = node.func.attr in ("from_pretrained", "from_config")
                if loads and owner != FastBertForSequenceClassification.__name__:
                    options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                    yield f"{path.relative_to(home)}:{node.lineno}", options


def test_every_load_says_that_no_code_is_trusted():
    loads = dict(loads_of_transformers())
    assert len(loads) >= 6
    assert [place for place, options in loads.items() if options.get("trust_remote_code") != "False"] == []
