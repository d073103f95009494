"""Bad input through the command line: one line that names the thing and the cure, code 2, nothing written."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    Response,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, RoFormerConfig

import model.checkpoints.hub
from tests.job_fixtures import CommandLine, make_texts, snapshot, write_csv, write_tsv

TEXTS = make_texts(10)


class Refusals:
    """Runs a Beam job that must be refused, and makes sure that it writes nothing."""

    def __init__(self, command: CommandLine, checkpoint: Path, directory: Path, job: tuple[str, str]) -> None:
        self._command, self._directory = command, directory
        self.name, self._option = job
        self._given: dict[str, Any] = {
            "--input": write_tsv(directory / "rows.tsv", {"text": TEXTS}),
            "--text-column": "text",
            self._option: checkpoint,
            "--output": directory / "out",
        }
        if self.name == "score":
            self._given["--speed"] = 0.5

    def __call__(self, *more: Any, **changes: Any) -> str:
        """Return the line, the options being changed; `checkpoint` is the model or the teacher."""
        given = dict(self._given)
        for name, value in changes.items():
            option = self._option if name == "checkpoint" else "--" + name.replace("_", "-")
            given[option] = value
        args = [
            part
            for option, value in given.items()
            if value is not None
            for part in (option, *(value if isinstance(value, tuple) else (value,)))
        ]
        before = snapshot(self._directory)
        line = self._command.refused(self.name, *args, *more)
        assert snapshot(self._directory) == before
        assert not (self._directory / "out").exists()
        assert len(line) < 600
        return line


@pytest.fixture(params=[("label-teacher", "--teacher"), ("score", "--model")], ids=lambda job: job[0])
def refused(
    request: pytest.FixtureRequest, command: CommandLine, teacher: Path, fastbert: Path, tmp_path: Path
) -> Refusals:
    """Both Beam jobs."""
    checkpoint = fastbert if request.param[0] == "score" else teacher
    return Refusals(command, checkpoint, tmp_path, request.param)


@pytest.fixture
def score_refused(command: CommandLine, fastbert: Path, tmp_path: Path) -> Refusals:
    """`score` alone."""
    return Refusals(command, fastbert, tmp_path, ("score", "--model"))


# -- input files


def test_no_file_matches(refused: Refusals, tmp_path: Path):
    assert refused(input=tmp_path / "*.nothing") == f"no file matches '{tmp_path}/*.nothing'"
    assert refused("--input", "") == "no file matches ''"


def test_a_missing_column_is_told_with_those_that_exist(refused: Refusals, tmp_path: Path):
    path = write_csv(tmp_path / "rows.csv", {"texts": TEXTS, "label": TEXTS})
    line = f"{path}: no column 'text' (did you mean 'texts'?); its columns: texts, label"
    assert refused(input=path) == line
    for option in ("text_pair_column", "id_column"):
        assert "no column 'other'; its columns: text" in refused(**{option: "other"})


def test_a_missing_column_of_any_file_is_told(refused: Refusals, tmp_path: Path):
    path = write_csv(tmp_path / "second.csv", {"body": TEXTS})
    assert refused("--input", path) == f"{path}: no column 'text'; its columns: body"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"text\nabc\n", "cannot be read: "),
        ("a.parquet", b"", "cannot be read: "),
        ("a.csv.gz", b"text\nnot gzip\n", "cannot be read: "),
        ("a.csv.gz", gzip.compress(b"text\nabc\n" * 99, mtime=0)[:30], "cannot be read: "),
        ("a.tsv", "text\nabc\n".encode("utf-16"), "the header is not UTF-8"),
        ("a.txt", b"text\nabc\n", "unknown extension"),
        ("a.parquet.gz", b"", "Parquet inside gzip cannot be read: decompress it"),
        ("a.jsonl", b"[1, 2]\n", "no column 'text'"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    refused: Refusals, tmp_path: Path, name: str, content: bytes, message: str
):
    path = tmp_path / name
    path.write_bytes(content)
    line = refused(input=path)
    assert line.startswith(f"{path}: ")
    assert message in line


def test_a_directory_of_which_something_would_be_left_out_is_named(refused: Refusals, tmp_path: Path):
    folder = tmp_path / "folder"
    (folder / "year=2024").mkdir(parents=True)
    write_tsv(folder / "year=2024" / "rows.tsv", {"text": TEXTS})
    assert refused(input=folder).startswith(
        f"{folder}/: not all in it would be read: year=2024/; give a glob"
    )


def test_what_is_no_regular_file_is_named(refused: Refusals):
    line = refused("--format", "tsv", input="/dev/zero")
    assert line == "/dev/zero: is no regular file: write what it holds into one"


def test_a_column_that_holds_no_text_is_named(refused: Refusals, tmp_path: Path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    line = refused(input=tmp_path / "a.parquet")
    assert line == f"{tmp_path}/a.parquet: column 'text' holds int64, not text: name another"


# -- options


@pytest.mark.parametrize("speed", [-0.1, 1.1, "nan", "inf"])
def test_the_speed_is_a_share(score_refused: Refusals, speed: Any):
    line = score_refused(speed=speed)
    assert line == f"--speed {float(speed)} is outside [0, 1]; 0 is full depth, 1 the earliest exit"


@pytest.mark.parametrize("layer", [4, -1])
def test_the_exit_layer_is_one_of_the_models(score_refused: Refusals, layer: int):
    line = score_refused(speed=None, fixed_exit_layer=layer)
    rule = "is not a layer of this model (1 to 3), nor 0, the lexical branch"
    assert line == f"--fixed-exit-layer {layer} {rule}"


def test_exit_0_is_for_models_that_have_it(score_refused: Refusals, fastbert: Path):
    line = score_refused(speed=None, fixed_exit_layer=0)
    assert line == (
        f"--fixed-exit-layer 0 is the lexical branch, and {str(fastbert)!r} has none; "
        "`fastbert-jobs distill` makes one"
    )


def test_there_is_one_policy(score_refused: Refusals):
    message = "give exactly one of --max-disagreement, --target-speedup, --speed, --fixed-exit-layer"
    assert score_refused(speed=None) == message
    assert score_refused(fixed_exit_layer=1) == message


@pytest.mark.parametrize("name", ["prediction", "row", "source", "id", "teacher_prediction"])
def test_a_kept_column_may_not_have_the_name_of_the_outputs_own(
    score_refused: Refusals, tmp_path: Path, name: str
):
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS, name: TEXTS})
    line = score_refused(input=path, keep=("text", name))
    assert line == f"--keep {name}: the output has a column '{name}' of its own: rename yours"


def test_a_kept_column_may_not_have_the_name_of_the_texts_on_their_way(
    score_refused: Refusals, tmp_path: Path
):
    path = write_csv(tmp_path / "rows.csv", {"text": TEXTS, "__text__": TEXTS})
    assert score_refused(input=path, keep="__text__") == "--keep __text__: the name is taken: rename yours"


def test_columns_are_kept_once_and_exist(score_refused: Refusals):
    assert score_refused(keep=("text", "text")) == "--keep names 'text' twice: name it once"
    assert "no column 'other'; its columns: text" in score_refused(keep="other")


def test_a_missing_group_column_is_told(refused: Refusals):
    line = refused(group_column="texts")
    assert line.endswith("rows.tsv: no column 'texts' (did you mean 'text'?); its columns: text")


def test_a_group_column_of_several_types_is_told(refused: Refusals, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "thread": 1}\n{"text": "b", "thread": "x"}\n')
    line = refused(input=path, group_column="thread")
    assert line.endswith(
        "column 'thread' holds integers and strings: only one scalar type can be passed through"
    )


def test_a_promise_is_of_rows_or_of_groups(command: CommandLine, teacher: Path, tmp_path: Path):
    label = Refusals(command, teacher, tmp_path, ("label-teacher", "--teacher"))
    assert label(promise_of="rows", group_column="text") == (
        "--promise-of rows does not go with --group-column text, by which a promise is of groups: leave one "
        "of them out"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("rows_per_shard", 0, "--rows-per-shard 0: must be at least 1"),
        ("max_rejected", 1.5, "--max-rejected 1.5 is not a share, 0 to 1"),
        ("max_rejected", "nan", "--max-rejected nan is not a share, 0 to 1"),
        ("workers", 0, "--workers 0 is not at least 1"),
        ("threads", 0, "--threads 0 is not at least 1"),
        ("threads", 2**31, "--threads 2147483648 is more than 4096"),
        (
            "runner",
            "DataflowRuner",
            "--runner DataflowRuner is not known to Beam; did you mean DataflowRunner?",
        ),
    ],
)
def test_numbers_and_names_that_make_no_sense(refused: Refusals, option: str, value: Any, message: str):
    assert refused(**{option: value}) == message


def test_shares_of_the_texts_are_shares(command: CommandLine, teacher: Path, fastbert: Path, tmp_path: Path):
    label = Refusals(command, teacher, tmp_path, ("label-teacher", "--teacher"))
    message = "--calibration-fraction 2.0 is not a share, 0 to 1"
    assert label(calibration_fraction=2) == message
    score = Refusals(command, fastbert, tmp_path, ("score", "--model"))
    assert score(shadow_fraction=-1) == "--shadow-fraction -1.0 is not a share, 0 to 1"


def test_worker_processes_are_for_one_machine(refused: Refusals):
    line = refused(workers=2, runner="DataflowRunner")
    assert line == "--workers is for the DirectRunner; tell DataflowRunner in its own options"


def test_options_of_the_runner_are_checked(refused: Refusals):
    line = refused("--direct_num_worker=2")
    assert line == "there is no option --direct_num_worker; did you mean --direct_num_workers?"
    assert "direct_running_mode" in refused("--direct_running_mode=sideways")


# -- the output


def test_a_directory_of_somebody_else_is_left_alone(
    command: CommandLine, fastbert: Path, teacher: Path, tmp_path: Path
):
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    output = tmp_path / "mine"
    (output / "sub").mkdir(parents=True)
    (output / "sub" / "notes.txt").write_text("mine")
    for name, option, checkpoint in (("score", "--model", fastbert), ("label-teacher", "--teacher", teacher)):
        more = ("--speed", 0.5) if name == "score" else ()
        line = command.refused(
            name, "--input", path, "--text-column", "text", option, checkpoint, "--output", output, *more
        )
        assert line == f"'{output}' is not empty and holds no job of ours; choose another --output"
        assert snapshot(output) == {"sub/notes.txt": b"mine"}


def test_an_output_that_is_a_file_is_refused(refused: Refusals, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    assert refused(output=tmp_path / "file") == f"'{tmp_path}/file' is a file; choose another --output"
    assert f"'{tmp_path}/file/sub' cannot be written" in refused(output=tmp_path / "file" / "sub")


def test_an_output_on_a_file_system_that_beam_does_not_know_is_refused(refused: Refusals):
    line = refused(output="nowhere://bucket/out")
    assert line.startswith("'nowhere://bucket/out' cannot be used: Unable to get filesystem")


def test_labels_on_a_file_system_that_beam_does_not_know_are_refused(
    command: CommandLine, teacher: Path, tmp_path: Path
):
    line = command.refused(
        "distill", "--labels", "nowhere://labels", "--backbone", teacher, "--output", tmp_path / "out"
    )
    assert line.startswith("'nowhere://labels' cannot be used: Unable to get filesystem")


# -- checkpoints


def copied(directory: Path, target: Path, *, without: str = "", **config: Any) -> Path:
    """Copy a checkpoint, without a file, or with other entries in its configuration."""
    target.mkdir()
    for name, content in snapshot(directory).items():
        if name != without:
            (target / name).write_bytes(content)
    if config:
        entries = json.loads((target / "config.json").read_text())
        (target / "config.json").write_text(json.dumps({**entries, **config}))
    return target


@pytest.fixture
def checkpoint(refused: Refusals, teacher: Path, fastbert: Path) -> Path:
    """A whole checkpoint for the job."""
    return fastbert if refused.name == "score" else teacher


def test_there_is_no_such_directory(refused: Refusals, tmp_path: Path):
    assert refused(checkpoint=tmp_path / "none") == f"there is no model directory '{tmp_path}/none'"
    (tmp_path / "empty").mkdir()
    line = refused(checkpoint=tmp_path / "empty")
    assert line == f"'{tmp_path}/empty' is no model directory: it has no config.json"
    assert refused(checkpoint=tmp_path / "rows.tsv") == f"there is no model directory '{tmp_path}/rows.tsv'"


def test_a_checkpoint_without_weights(refused: Refusals, checkpoint: Path, tmp_path: Path):
    broken = copied(checkpoint, tmp_path / "broken", without="model.safetensors")
    assert f"'{broken}' cannot be loaded: " in refused(checkpoint=broken)


def test_a_checkpoint_whose_weights_are_cut_off(refused: Refusals, checkpoint: Path, tmp_path: Path):
    broken = copied(checkpoint, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"'{broken}' cannot be loaded: " in refused(checkpoint=broken)


@pytest.mark.parametrize("shape", [None, (5, 5)])
def test_a_checkpoint_with_a_tensor_that_does_not_fit(
    refused: Refusals, checkpoint: Path, tmp_path: Path, shape: tuple[int, int] | None
):
    broken = copied(checkpoint, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    name = max(name for name in tensors if name.endswith("query.weight"))
    if shape is None:
        del tensors[name]
    else:
        tensors[name] = tensors[name].new_zeros(shape)
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    line = refused(checkpoint=broken)
    assert str(broken) in line
    assert "incomplete" in line or "cannot be loaded" in line


def test_a_checkpoint_without_a_tokenizer(refused: Refusals, checkpoint: Path, tmp_path: Path):
    broken = copied(checkpoint, tmp_path / "broken", without="tokenizer.json")
    assert f"'{broken}' has no tokenizer files" in refused(checkpoint=broken)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "nonsense"}', "{}"])
def test_a_configuration_that_cannot_be_used(
    refused: Refusals, checkpoint: Path, tmp_path: Path, content: str
):
    broken = copied(checkpoint, tmp_path / "broken")
    (broken / "config.json").write_text(content)
    assert f"'{broken}' has no usable config.json" in refused(checkpoint=broken)


@pytest.mark.parametrize(
    ("problem_type", "told"),
    [
        ("regression", "has 3 scores; a regression of one is needed"),
        ("ordinal", "is for ordinal; known are single_label_classification, multi_label_classification, "),
    ],
)
def test_a_model_whose_answers_mean_nothing_that_is_known(
    command: CommandLine, teacher: Path, tmp_path: Path, problem_type: str, told: str
):
    strange = copied(teacher, tmp_path / "strange", problem_type=problem_type)
    line = Refusals(command, strange, tmp_path, ("label-teacher", "--teacher"))()
    assert line.startswith(f"'{strange}' {told}")


def test_a_classifier_is_no_fastbert(score_refused: Refusals, teacher: Path):
    line = score_refused(checkpoint=teacher)
    assert (
        line
        == f"'{teacher}' is a bert checkpoint, not a FastBERT; make one of it with `fastbert-jobs distill`"
    )


def test_a_backbone_of_another_family(command: CommandLine, teacher: Path, tmp_path: Path):
    labels = ("no", "maybe", "yes")
    config = RoFormerConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: place for place, name in enumerate(labels)}
    strange = tmp_path / "strange"
    AutoModelForSequenceClassification.from_config(config).save_pretrained(strange)
    AutoTokenizer.from_pretrained(teacher).save_pretrained(strange)
    path = write_tsv(tmp_path / "rows.tsv", {"text": make_texts(60)})
    command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", teacher,
        "--output", tmp_path / "labels",
    )  # fmt: skip
    line = command.refused(
        "distill", "--labels", tmp_path / "labels", "--backbone", strange, "--output", tmp_path / "out"
    )
    assert "family 'roformer'" in line
    assert "cannot exit early; supported are " in line
    assert "bert, " in line
    assert not list(tmp_path.glob("out*"))


# -- names on the hub, without a network


def _response(status: int) -> Response:
    http = sys.modules[Response.__module__.partition(".")[0]]  # httpx, or what the hub's library has instead
    return Response(status, request=http.Request("GET", "https://huggingface.co/x"))


HUB_ERRORS = [
    RepositoryNotFoundError("404 Client Error.\n\nRepository Not Found for url: x.", response=_response(404)),
    GatedRepoError("403 Client Error.\n\nAccess to model x is restricted.", response=_response(403)),
    LocalEntryNotFoundError("An error happened while trying to locate the files on the Hub.\nMore."),
    OfflineModeIsEnabled("Cannot reach https://huggingface.co/x: offline mode is enabled."),
    HFValidationError("Repo id must use alphanumeric chars: 'my model'."),
    HTTPError("[Errno -3] Temporary failure in name resolution"),
    HTTPError(""),
    ConnectionError("Connection aborted."),
]


@pytest.mark.parametrize("error", HUB_ERRORS, ids=lambda error: type(error).__name__)
def test_a_model_that_the_hub_does_not_give(
    refused: Refusals, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(model.checkpoints.hub, "snapshot_download", snapshot_download)
    line = refused(checkpoint="somebody/model")
    expected = "there is no model directory 'somebody/model', and the Hugging Face hub did not provide it"
    assert line.startswith(expected)


def test_a_model_that_the_hub_gives_is_used(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, teacher: Path, tmp_path: Path
):
    asked: list[str] = []

    def snapshot_download(name: str, **_: Any) -> str:
        asked.append(name)
        return str(teacher)

    monkeypatch.setattr(model.checkpoints.hub, "snapshot_download", snapshot_download)
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    command(
        "label-teacher", "--input", path, "--text-column", "text", "--teacher", "somebody/model",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert asked == ["somebody/model"]


def test_a_model_that_answers_nonsense(command: CommandLine, fastbert: Path, tmp_path: Path):
    broken = copied(fastbert, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["backbone.classifier.bias"].fill_(float("nan"))
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    path = write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    status, _, err = command.run(
        "score", "--input", path, "--text-column", "text", "--model", broken, "--speed", 0,
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert f"the model answers NaN or infinity to all {len(TEXTS)} rows: are its weights damaged" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "_MANIFEST.json").exists()
