import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from hypothesis import given
from hypothesis import strategies as st

from model.errors import OutputError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import JobDescription, Manifest, claim_output, commit, read_manifest
from pipeline.contract.plan import Plan, RowRange, make_plan
from pipeline.contract.shards import ShardWriter, with_metadata
from pipeline.contract.storage import make_directory, write_json
from pipeline.reading.inputs import Columns, inspect_inputs
from tests.job_fixtures import snapshot

SCHEMA = pa.schema({"a": pa.int64()})
PLAN = make_plan([("a.csv", "csv", [RowRange(first_row=0, num_rows=3), RowRange(first_row=3, num_rows=2)])])
NAMES = [item.shard_name for item in PLAN.items]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


def job(command: str = "score", **settings: Any) -> JobDescription:
    inputs = [{"path": "a.csv", "size": 9}]
    return JobDescription(
        command=command, settings={"speed": 0.5, "columns": {"keep": ("a",)}, **settings}, inputs=inputs
    )


def write_shards(
    layout: OutputLayout,
    *,
    rows: tuple[int, ...] = (3, 1),
    rejected: tuple[int, ...] = (0, 1),
    of: JobDescription,
    **metadata: str,
) -> None:
    schema = with_metadata(SCHEMA, {"fingerprint": of.fingerprint, **metadata})
    for name, num_rows, num_rejected in zip(NAMES, rows, rejected, strict=False):
        with ShardWriter(layout, name, schema) as shard:
            shard.write(pa.table({"a": list(range(num_rows))}, schema=SCHEMA))
            shard.add_counts({"rejected": num_rejected, "exit_layer_1": num_rows})


def finished(
    layout: OutputLayout, of: JobDescription, *, max_rejected: float = 1.0, plan: Plan = PLAN
) -> Manifest:
    return commit(
        layout, of, plan, labels=("é", "b"), environment={"device": "cpu"}, max_rejected=max_rejected
    )


@given(values, values)
def test_the_fingerprint_is_equal_where_the_settings_are(one: Any, two: Any):
    equal = JobDescription(command="score", settings={"x": one, "y": 1}, inputs=[])
    assert (
        equal.fingerprint
        == JobDescription(command="score", settings={"y": 1, "x": one}, inputs=[]).fingerprint
    )
    assert len(equal.fingerprint) == 64
    if repr(one) != repr(two) and one != two:
        assert (
            equal.fingerprint
            != JobDescription(command="score", settings={"x": two, "y": 1}, inputs=[]).fingerprint
        )


def test_the_fingerprint_covers_command_settings_and_inputs():
    different = [
        job(),
        job("label-teacher"),
        job(speed=0.1),
        JobDescription(command="score", settings=job().settings, inputs=[{"path": "a.csv", "size": 10}]),
    ]
    assert len({each.fingerprint for each in different}) == len(different)


def test_an_input_that_changed_is_another_input(tmp_path: Path):
    def described(content: str) -> list[dict[str, Any]]:
        (tmp_path / "a.tsv").write_text(content)
        return inspect_inputs([str(tmp_path)], Columns(text="t"), rows_per_shard=2).describe()

    before = described("t\none\ntwo\n")
    assert before == described("t\none\ntwo\n")
    assert before != described("t\none\ntoo\n")
    assert before != described("t\none\ntwo\nthree\n")
    (entry,) = before
    assert entry["path"] == str(tmp_path / "a.tsv")
    assert (entry["format"], entry["size"]) == ("tsv", 10)


def test_a_new_directory_is_claimed(layout: OutputLayout):
    assert claim_output(layout, job(), overwrite=False) == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json"}


def test_an_empty_directory_is_claimed(layout: OutputLayout):
    Path(layout.directory).mkdir()
    assert claim_output(layout, job(), overwrite=False) == set()


def test_a_rerun_keeps_what_is_finished(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, rows=(3,), of=job())
    assert claim_output(layout, job(), overwrite=False) == {NAMES[0]}


def test_a_shard_of_another_job_is_not_finished(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, rows=(3,), of=job(speed=0.1))
    Path(layout.shard(NAMES[1])).write_bytes(b"broken")
    assert claim_output(layout, job(), overwrite=False) == set()


def test_a_shard_of_other_versions_is_removed_to_be_made_again(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False, versions="1")
    write_shards(layout, of=job(), versions="1")
    make_directory(layout.rejected_directory)
    for name in NAMES:
        write_json(layout.rejected(name), {})
    finished(layout, job())
    before = snapshot(Path(layout.directory))
    assert claim_output(layout, job(), overwrite=False, versions="1") == set(NAMES)
    assert snapshot(Path(layout.directory)) == before
    write_shards(layout, rows=(3,), of=job(), versions="2")
    assert claim_output(layout, job(), overwrite=False, versions="2") == {NAMES[0]}
    after = snapshot(Path(layout.directory))
    assert after.keys() == {"_JOB.json", NAMES[0], f"rejected/{NAMES[0]}"}


def test_another_job_is_refused_naming_what_differs(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    before = snapshot(Path(layout.directory))
    with pytest.raises(OutputError) as error:
        claim_output(layout, job(speed=0.1, new=1), overwrite=False)
    assert str(error.value) == (
        f"{layout.directory!r} holds another job, which differs in speed (0.5 there, 0.1 asked for), "
        "new (None there, 1 asked for); choose another `output`, or `overwrite` it"
    )
    assert snapshot(Path(layout.directory)) == before


def test_overwriting_starts_afresh(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    (Path(layout.directory) / "notes.txt").write_text("mine")
    assert claim_output(layout, job(speed=0.1), overwrite=True) == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json", "notes.txt"}
    # Its own output is run anew too.
    write_shards(layout, of=job(speed=0.1))
    assert claim_output(layout, job(speed=0.1), overwrite=True) == set()


@pytest.mark.parametrize("foreign", ["notes.txt", "sub/notes.txt", ".hidden", "part-00000-of-00001.parquet"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_is_not_ours_is_refused_and_left_alone(
    layout: OutputLayout, foreign: str, overwrite: bool
):
    path = Path(layout.directory) / foreign
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(OutputError, match="is not empty and holds no job of ours; choose another `output`"):
        claim_output(layout, job(), overwrite=overwrite)
    assert snapshot(Path(layout.directory)) == {foreign: b"mine"}


def test_the_manifest_lists_every_shard(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    Path(layout.temporary).mkdir()
    (Path(layout.temporary) / "left-over").touch()
    write_shards(layout, of=job())
    manifest = finished(layout, job())
    assert manifest.shard_names == NAMES
    assert manifest.counts == {"rows": 4, "rejected": 1, "exit_layer_1": 4}
    assert (manifest.labels, manifest.fingerprint) == (["é", "b"], job().fingerprint)
    assert not Path(layout.temporary).exists()
    assert read_manifest(layout, command="score") == manifest


def test_equal_jobs_have_equal_manifests(tmp_path: Path):
    contents = []
    for name in ("one", "two"):
        layout = OutputLayout(str(tmp_path / name))
        claim_output(layout, job(), overwrite=False)
        write_shards(layout, of=job())
        finished(layout, job())
        contents.append(snapshot(tmp_path / name))
    assert contents[0] == contents[1]


def test_finishing_twice_is_fine(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    assert finished(layout, job()) == finished(layout, job())


@pytest.mark.parametrize(
    ("rows", "rejected", "message"),
    [
        ((3,), (0,), f"shard {NAMES[1]} .* was not written; run the same command again"),
        ((3, 2), (0, 1), f"shard {NAMES[1]} .* accounts for 3 rows of 2"),
        ((2, 2), (0, 0), f"shard {NAMES[0]} .* accounts for 2 rows of 3"),
    ],
)
def test_a_shard_that_does_not_fit_the_plan_is_named(
    layout: OutputLayout, rows: tuple[int, ...], rejected: tuple[int, ...], message: str
):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, rows=rows, rejected=rejected, of=job())
    with pytest.raises(OutputError, match=message):
        finished(layout, job())
    assert not Path(layout.manifest).exists()


def test_a_shard_of_another_job_is_named(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job(speed=0.1))
    with pytest.raises(OutputError, match=f"shard {NAMES[0]} .* is not this job's"):
        finished(layout, job())


def test_rows_of_a_compressed_file_are_not_planned(layout: OutputLayout):
    plan = make_plan([("a.csv.gz", "csv", [RowRange(first_row=0, num_rows=-1)] * 2)])
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, rows=(7, 8), of=job())
    assert finished(layout, job(), plan=plan).counts["rows"] == 15


@pytest.mark.parametrize(
    ("max_rejected", "is_too_many"), [(0.0, True), (0.19, True), (0.2, False), (1.0, False)]
)
def test_a_job_may_reject_only_so_many(layout: OutputLayout, max_rejected: float, is_too_many: bool):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    if not is_too_many:
        assert finished(layout, job(), max_rejected=max_rejected).counts["rejected"] == 1
        return
    with pytest.raises(
        OutputError, match=r"1 of 5 rows were rejected, more than `max_rejected` .* see .*rejected"
    ):
        finished(layout, job(), max_rejected=max_rejected)
    assert not Path(layout.manifest).exists()


def test_what_is_not_finished_is_refused(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    with pytest.raises(OutputError, match="is not finished; run its `fastbert-jobs score` command again"):
        read_manifest(layout, command="score")


@pytest.mark.parametrize("make", [True, False])
def test_what_is_no_output_is_refused(layout: OutputLayout, make: bool):
    if make:
        Path(layout.directory).mkdir()
    with pytest.raises(OutputError, match="is no output of `fastbert-jobs score`"):
        read_manifest(layout, command="score")


def test_the_output_of_another_command_is_refused(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    with pytest.raises(OutputError, match="was written by `score`, not by `label-teacher`"):
        read_manifest(layout, command="label-teacher")


# -- object stores, which have no directories


class Store(FileSystem):
    """Files under names, and nothing else."""

    files: ClassVar[dict[str, bytes]] = {}

    @classmethod
    def scheme(cls) -> str:
        return "teststore"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        pass

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for name in sorted(self.files):
            if name.startswith(dir_or_prefix):
                yield self.metadata(name)

    def create(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        files = self.files

        class Upload(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    files[path] = self.getvalue()
                super().close()

        return Upload()

    def open(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self.files[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self.files[destination] = self.files[source]

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self.files[destination] = self.files.pop(source)

    def exists(self, path: str) -> bool:
        return path in self.files

    def size(self, path: str) -> int:
        return len(self.files[path])

    def last_updated(self, path: str) -> float:
        return 0.0

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.files[path]))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            if path not in self.files:
                raise BeamIOError("there is no such file", {path: KeyError(path)})
            del self.files[path]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of an empty object store."""
    files: dict[str, bytes] = {}
    monkeypatch.setattr(Store, "files", files)
    return files


def test_overwriting_on_an_object_store_starts_afresh(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    mine = {f"teststore://bucket/{name}": b"" for name in ("out/notes.txt", "out2/_audit/a", "outrejected")}
    others = (layout.rejected(NAMES[0]), f"{layout.audit_directory}/a", f"{layout.temporary}/a/b")
    store.update(dict.fromkeys(others, b"") | mine)
    assert claim_output(layout, job(speed=0.1), overwrite=True) == set()
    assert store.keys() == {layout.job, *mine}


def test_a_job_on_an_object_store_leaves_nothing_temporary(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    claim_output(layout, job(), overwrite=False)
    store[f"{layout.temporary}/left-over"] = b""
    write_shards(layout, of=job())
    manifest = finished(layout, job())
    assert store.keys() == {layout.job, layout.manifest, *map(layout.shard, NAMES)}
    assert claim_output(layout, job(), overwrite=False) == set(NAMES)
    assert read_manifest(layout, command="score") == manifest


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_somebody_else_on_an_object_store_are_left_alone(store: dict[str, bytes], overwrite: bool):
    store["teststore://bucket/out/sub/notes.txt"] = b"mine"
    with pytest.raises(OutputError, match="is not empty and holds no job of ours"):
        claim_output(OutputLayout("teststore://bucket/out"), job(), overwrite=overwrite)
    assert store == {"teststore://bucket/out/sub/notes.txt": b"mine"}
    assert claim_output(OutputLayout("teststore://bucket/ou"), job(), overwrite=False) == set()
