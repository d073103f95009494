from pathlib import Path

import pytest

from model import errors
from model.errors import CheckpointError, FastBertJobsError, InputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.storage import write_json
from pipeline.contract.worker_errors import has_worker_errors, raise_worker_error, write_worker_error
from tests.pipeline.contract.score_jobs import store

__all__ = ["store"]

NAMES = [f"part-{index:05d}-of-00003.parquet" for index in range(3)]
KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FastBertJobsError)
]


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_raised_as_the_worker_raised_it(layout: OutputLayout, kind: type[FastBertJobsError]):
    write_worker_error(layout, NAMES[0], kind("é is wrong; cure it"))
    with pytest.raises(kind) as error:
        raise_worker_error(layout)
    assert type(error.value) is kind
    assert str(error.value) == "é is wrong; cure it"


def test_every_kind_of_the_tree_is_among_them():
    assert len(KINDS) == 8


def test_without_an_error_nothing_is_raised(layout: OutputLayout):
    assert not has_worker_errors(layout)
    raise_worker_error(layout)


def test_any_workers_error_is_seen(layout: OutputLayout):
    write_worker_error(layout, NAMES[2], InputError("x"))
    assert has_worker_errors(layout)


def test_the_first_shards_error_is_raised_whichever_came_first(layout: OutputLayout):
    for name, message in ((NAMES[2], "third"), (NAMES[0], "first"), (NAMES[1], "second")):
        write_worker_error(layout, name, InputError(message))
    with pytest.raises(InputError, match="first"):
        raise_worker_error(layout)


def test_a_retry_replaces_the_error(layout: OutputLayout):
    write_worker_error(layout, NAMES[0], InputError("one"))
    write_worker_error(layout, NAMES[0], CheckpointError("two"))
    with pytest.raises(CheckpointError, match="two"):
        raise_worker_error(layout)


@pytest.mark.parametrize("kind", ["NoSuchError", "WorkerError"])
def test_an_error_of_no_known_kind_is_a_users_mistake_all_the_same(layout: OutputLayout, kind: str):
    write_worker_error(layout, NAMES[0], InputError("x"))
    write_json(
        layout.worker_error(NAMES[0]),
        {"kind": kind, "message": "of another version", "schema_version": 3},
    )
    with pytest.raises(FastBertJobsError, match="of another version"):
        raise_worker_error(layout)


def test_errors_are_files_beside_those_being_written(layout: OutputLayout):
    write_worker_error(layout, NAMES[0], InputError("x"))
    files = [path for path in Path(layout.directory).rglob("*") if path.is_file()]
    assert files == [Path(layout.temporary) / "errors" / f"{NAMES[0]}.json"]


def test_errors_on_an_object_store_are_found(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    assert not has_worker_errors(layout)
    write_worker_error(layout, NAMES[0], InputError("x"))
    assert has_worker_errors(layout)
    assert not has_worker_errors(OutputLayout("teststore://bucket/ou"))
    with pytest.raises(InputError, match="x"):
        raise_worker_error(layout)
