import pytest

from model.checkpoints.fingerprint import checkpoint_hash

both = pytest.mark.parametrize("directory", ["fastbert", "backbone"], indirect=True)
fastbert_only = pytest.mark.parametrize("directory", ["fastbert"], indirect=True)
backbone_only = pytest.mark.parametrize("directory", ["backbone"], indirect=True)


@both
def test_the_hash_is_that_of_a_copy(directory, checkpoints):
    assert checkpoint_hash(directory) == checkpoint_hash(checkpoints[directory.name])
    assert len(checkpoint_hash(directory)) == 64


@fastbert_only
def test_the_hash_changes_with_any_byte_of_the_model(directory):
    seen = {checkpoint_hash(directory)}
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        for position in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[position] ^= 1
            path.write_bytes(changed)
            seen.add(checkpoint_hash(directory))
        path.write_bytes(content + b" ")
        seen.add(checkpoint_hash(directory))
        path.write_bytes(content)
    assert len(seen) == 1 + 4 * 4  # four files


@backbone_only
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
    ],
)
def test_the_hash_changes_with_every_file_that_decides_an_answer(directory, name):
    before = checkpoint_hash(directory)
    (directory / name).write_text("{}")
    written = checkpoint_hash(directory)
    (directory / name).write_text("{ }")
    rewritten = checkpoint_hash(directory)
    (directory / name).unlink()
    assert len({before, written, rewritten}) == 3
    assert checkpoint_hash(directory) not in {written, rewritten}


PICKLED = ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"]


@backbone_only
@pytest.mark.parametrize("name", PICKLED)
def test_pickled_weights_count_where_there_are_no_others(directory, name):
    with_safetensors = checkpoint_hash(directory)
    (directory / name).write_text("{}")
    assert checkpoint_hash(directory) == with_safetensors
    (directory / "model.safetensors").unlink()
    pickled = checkpoint_hash(directory)
    (directory / name).write_text("{ }")
    assert len({with_safetensors, pickled, checkpoint_hash(directory)}) == 3


@backbone_only
@pytest.mark.parametrize(
    "name",
    [
        "metrics.json",
        "README.md",
        "README.txt",
        "notes.txt",
        "a.bin",
        "a.json",
        "optimizer.bin",
        "training_args.bin",
        "trainer_state.json",
        "all_results.json",
        "training_args.json",
        "calibration.json",
        "calibration.parquet",
        "training_state.safetensors",
    ],
)
def test_the_hash_does_not_change_with_what_decides_no_answer(directory, name):
    before = checkpoint_hash(directory)
    (directory / name).write_text("{}")
    assert checkpoint_hash(directory) == before


@backbone_only
def test_the_hash_changes_with_the_name_of_a_file(directory):
    (directory / "spiece.model").write_text("pieces")
    before = checkpoint_hash(directory)
    (directory / "spiece.model").rename(directory / "spiece2.model")
    assert checkpoint_hash(directory) != before
