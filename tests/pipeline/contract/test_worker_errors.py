from pathlib import Path

import pytest

from model import errors
from model.errors import CheckpointError, FastBertJobsError, InputError, ItemError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.schema import SCHEMA_VERSION
from pipeline.contract.storage import write_json
from pipeline.contract.worker_errors import num_worker_errors, raise_worker_error, write_worker_error
from tests.pipeline.contract.score_jobs import PLAN, store

__all__ = ["store"]

ITEMS = PLAN.items
PLACES = ["a.csv, rows 0 to 2", "a.csv, rows 3 to 4"]
KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FastBertJobsError)
]


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_raised_as_the_worker_raised_it(layout: OutputLayout, kind: type[FastBertJobsError]):
    write_worker_error(layout, ITEMS[0], kind("é is wrong; cure it"))
    with pytest.raises(kind) as error:
        raise_worker_error(layout)
    assert type(error.value) is kind
    assert str(error.value) == f"{PLACES[0]}: é is wrong; cure it"


def test_every_kind_of_the_tree_is_among_them():
    assert len(KINDS) == 9


def test_without_an_error_nothing_is_raised(layout: OutputLayout):
    assert num_worker_errors(layout) == 0
    raise_worker_error(layout)


def test_the_first_shards_error_is_raised_whichever_came_first(layout: OutputLayout):
    for item, message in ((ITEMS[1], "second"), (ITEMS[0], "first")):
        write_worker_error(layout, item, InputError(message))
    assert num_worker_errors(layout) == 2
    with pytest.raises(InputError) as error:
        raise_worker_error(layout)
    assert str(error.value) == f"{PLACES[0]}: first (1 more shards failed)"


def test_a_retry_replaces_the_error(layout: OutputLayout):
    write_worker_error(layout, ITEMS[0], InputError("one"))
    write_worker_error(layout, ITEMS[0], CheckpointError("two"))
    with pytest.raises(CheckpointError, match="two"):
        raise_worker_error(layout)


def test_a_file_that_the_message_names_is_named_once(layout: OutputLayout):
    write_worker_error(layout, ITEMS[1], InputError("a.csv: cannot be read"))
    with pytest.raises(InputError) as error:
        raise_worker_error(layout)
    assert str(error.value) == f"{PLACES[1]}: cannot be read"


def test_a_defect_is_one_line_too_and_keeps_its_traceback(layout: OutputLayout):
    write_worker_error(layout, ITEMS[1], KeyError("a\nb"), trace="Traceback: where it was")
    with pytest.raises(ItemError) as error:
        raise_worker_error(layout)
    assert str(error.value) == rf"{PLACES[1]}: KeyError: 'a\nb'"
    assert error.value.__notes__ == ["Traceback: where it was"]


@pytest.mark.parametrize("kind", ["NoSuchError", "WorkerError"])
def test_an_error_of_no_known_kind_is_a_users_mistake_all_the_same(layout: OutputLayout, kind: str):
    write_worker_error(layout, ITEMS[0], InputError("x"))
    write_json(
        layout.worker_error(ITEMS[0].shard_name),
        {"kind": kind, "message": "of another version", "trace": "", "schema_version": SCHEMA_VERSION},
    )
    with pytest.raises(FastBertJobsError, match="of another version"):
        raise_worker_error(layout)


def test_errors_are_files_beside_those_being_written(layout: OutputLayout):
    write_worker_error(layout, ITEMS[0], InputError("x"))
    files = [path for path in Path(layout.directory).rglob("*") if path.is_file()]
    assert files == [Path(layout.temporary) / "errors" / f"{ITEMS[0].shard_name}.json"]


def test_errors_on_an_object_store_are_found(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    assert num_worker_errors(layout) == 0
    write_worker_error(layout, ITEMS[0], InputError("x"))
    assert num_worker_errors(layout) == 1
    assert num_worker_errors(OutputLayout("teststore://bucket/ou")) == 0
    with pytest.raises(InputError, match="x"):
        raise_worker_error(layout)
