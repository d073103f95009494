from pathlib import Path

import pytest

from jobs.driver.atomic_directory import STATE_FILE, AtomicOutputDirectory
from jobs.driver.uploaded_directory import output_directory
from model.checkpoints.hub import METRICS_FILE
from model.errors import OutputError
from pipeline.contract import storage
from pipeline.reading.remote_checkpoints import CACHE_VARIABLE
from tests.job_fixtures import snapshot
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]

URL = "teststore://bucket/fastbert"
METRICS = b'{"config": {}}'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where checkpoints grow."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def grow(working: AtomicOutputDirectory, **files: bytes) -> None:
    """Write a checkpoint, and the state of its training."""
    named = {"config.json": b"{}", METRICS_FILE: METRICS, STATE_FILE: b"state"}
    for name, content in {**named, **files}.items():
        (working.partial / name).write_bytes(content)


def test_a_checkpoint_is_uploaded_when_it_is_whole(store: dict[str, bytes], cache: Path):
    working = output_directory(URL + "/", overwrite=False)
    with working.open():
        grow(working, weights=b"w")
        assert store == {}
        working.finish()
    assert store == {f"{URL}/weights": b"w", f"{URL}/config.json": b"{}", f"{URL}/{METRICS_FILE}": METRICS}
    assert snapshot(cache) == {}


def test_its_configuration_comes_last(store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch):
    old = {"config.json": b"old", "calibration.json": b"old", METRICS_FILE: METRICS}
    store |= {f"{URL}/{name}": content for name, content in old.items()}
    seen: list[list[str]] = []
    write = storage.write_atomically

    def spy(path: str, *args: object, **kwargs: object) -> None:
        seen.append(sorted(name.removeprefix(f"{URL}/") for name in store))
        write(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("jobs.driver.uploaded_directory.write_atomically", spy)
    working = output_directory(URL, overwrite=True)
    with working.open():
        grow(working, weights=b"w")
        working.finish()
    assert seen == [[METRICS_FILE], [METRICS_FILE], [METRICS_FILE, "weights"]]
    assert store[f"{URL}/config.json"] == b"{}"
    assert f"{URL}/calibration.json" not in store


def test_what_cannot_be_uploaded_stays_and_goes_on(store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch):
    working = output_directory(URL, overwrite=False, resume=False)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, working.open():
        patch.setattr("jobs.driver.uploaded_directory.write_atomically", fail)
        grow(working)
        with pytest.raises(OutputError, match=r"cannot be uploaded to '.*denied"):
            working.finish()
    with pytest.raises(OutputError, match="is a killed run's; go on with `resume`, or `overwrite` it"):
        output_directory(URL, overwrite=False, resume=False)
    again = output_directory(URL, overwrite=False, resume=True)
    assert again.partial == working.partial
    with again.open():
        assert (again.partial / STATE_FILE).read_bytes() == b"state"
        grow(again)
        again.finish()
    assert f"{URL}/config.json" in store


def test_what_is_there_is_not_replaced_unasked(store: dict[str, bytes]):
    store |= {f"{URL}/config.json": b"{}", f"{URL}/{METRICS_FILE}": METRICS}
    before = dict(store)
    with pytest.raises(OutputError, match="exists already; choose another `output`, or `overwrite` it"):
        output_directory(URL, overwrite=False)
    output_directory(URL, overwrite=True)
    assert store == before


@pytest.mark.parametrize("files", [{"mine": b"x"}, {METRICS_FILE: b"[]"}, {METRICS_FILE: b'{"other": 1}'}])
def test_what_is_not_ours_is_never_replaced(store: dict[str, bytes], files: dict[str, bytes]):
    store |= {f"{URL}/{name}": content for name, content in files.items()}
    with pytest.raises(OutputError, match="is not empty and holds no checkpoint that fastbert-jobs wrote"):
        output_directory(URL, overwrite=True)


@pytest.mark.parametrize("source", [URL, "teststore://bucket", f"{URL}/labels"])
def test_what_is_read_is_not_written(store: dict[str, bytes], source: str):
    with pytest.raises(OutputError, match="overlap; choose another `output`"):
        output_directory(URL, overwrite=True, sources=[source])
    output_directory(URL, overwrite=True, sources=["teststore://bucket/fastbert-2", "/tmp/x"])


def test_elsewhere_a_url_that_nobody_knows_is_one_line():
    with pytest.raises(OutputError, match="'nobody://x' cannot be used: "):
        output_directory("nobody://x", overwrite=False)


def test_a_local_directory_grows_beside_its_name(tmp_path: Path):
    working = output_directory(str(tmp_path / "out"), overwrite=False)
    assert type(working) is AtomicOutputDirectory
    assert working.partial == tmp_path / "out.partial"
