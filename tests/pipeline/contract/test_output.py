import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from model.errors import ArtifactError, OutputError
from model.version import NUMERICS_VERSION
from pipeline.contract import output
from pipeline.contract.job import JobDescription
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import ScoreManifest, read_manifest
from pipeline.contract.output import claim_output
from pipeline.contract.plan import RowRange, make_plan
from pipeline.contract.shards import ParquetFileWriter, ShardFooter, ShardWriter, read_footer, with_metadata
from pipeline.contract.storage import make_directory, read_json, write_json
from pipeline.contract.worker_errors import write_worker_error
from tests.job_fixtures import snapshot
from tests.pipeline.contract.score_jobs import (
    INPUT,
    NAMES,
    PLAN,
    SCHEMA,
    SCORE,
    done,
    finished,
    job,
    store,
    write_shards,
)

__all__ = ["store"]


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(str(tmp_path / "out"))


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
    write_shards(layout, rows=(3,), of=job(policy="speed 0.1"))
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
    assert claim_output(layout, job(), overwrite=False, versions="2") == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json"}


def test_a_shard_of_another_build_of_the_same_versions_is_kept(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False, versions='{"torch": "2.13.0+cpu"}')
    write_shards(layout, of=job(), versions='{"torch": "2.13.0+cpu"}')
    for versions, kept in (("2.13.0+cu128", set(NAMES)), ("2.13.0", set(NAMES)), ("2.13.1+cpu", set())):
        found = claim_output(layout, job(), overwrite=False, versions=f'{{"torch": "{versions}"}}')
        assert found == kept


def write_with_rejected(layout: OutputLayout) -> None:
    """Claim a directory, write shards of which each has rejected rows, and commit."""
    claim_output(layout, job(), overwrite=False)
    schema = with_metadata(SCHEMA, {"fingerprint": job().fingerprint})
    for item in PLAN.items:
        with ParquetFileWriter(layout, layout.rejected(item.shard_name), SCHEMA) as rejected:
            rejected.write(pa.table({"a": [1]}, schema=SCHEMA))
        with ShardWriter(layout, item.shard_name, schema) as shard:
            shard.write(pa.table({"a": list(range(item.rows.num_rows - 1))}, schema=SCHEMA))
            shard.finish({"rejected": 1, "exit_layer_1": 2}, rejected.checksum)
    finished(layout, job())


def test_a_shard_without_its_rejected_rows_is_made_again(layout: OutputLayout):
    write_with_rejected(layout)
    assert claim_output(layout, job(), overwrite=False) == set(NAMES)
    Path(layout.rejected(NAMES[1])).unlink()
    assert claim_output(layout, job(), overwrite=False) == {NAMES[0]}
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json", NAMES[0], f"rejected/{NAMES[0]}"}


def test_a_shard_that_is_not_the_one_that_the_manifest_lists_is_made_again(layout: OutputLayout):
    """As a footer is in which a bit was flipped, or somebody else's shard of the same job."""
    write_with_rejected(layout)
    write_shards(layout, rows=(3,), rejected=(0,), of=job())
    assert claim_output(layout, job(), overwrite=False) == {NAMES[1]}


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("name", [NAMES[0], f"rejected/{NAMES[0]}"])
def test_who_asks_for_it_has_every_byte_verified(layout: OutputLayout, name: str, is_committed: bool):
    write_with_rejected(layout)
    if not is_committed:
        Path(layout.manifest).unlink()
    path = Path(layout.directory) / name
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert claim_output(layout, job(), overwrite=False) == set(NAMES)
    assert claim_output(layout, job(), overwrite=False, verify=True) == {NAMES[1]}
    # A run that is killed now does not leave it to one that does not ask.
    assert claim_output(layout, job(), overwrite=False) == {NAMES[1]}


def test_a_description_that_is_spelt_otherwise_is_written_again_for_who_asks(layout: OutputLayout):
    write_with_rejected(layout)
    path = Path(layout.job)
    content = path.read_bytes()
    path.write_bytes(content.rstrip())
    claim_output(layout, job(), overwrite=False)
    assert path.read_bytes() != content
    claim_output(layout, job(), overwrite=False, verify=True)
    assert path.read_bytes() == content


def test_answers_that_are_no_numbers_fail_the_job_that_has_nothing_else(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, rows=(0, 0), rejected=(3, 2), of=job(), not_finite=True)
    with pytest.raises(OutputError, match="the model answers NaN or infinity to all 5 rows: are its weights"):
        finished(layout, job())


def test_answers_that_are_no_numbers_count_as_rejected(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job(), not_finite=True)
    with pytest.raises(
        OutputError, match=r"1 of 5 rows were rejected, 1 since the model's answer is NaN or infinite, more"
    ):
        finished(layout, job(), max_rejected=0.1)


def test_another_job_is_refused_naming_what_differs(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    before = snapshot(Path(layout.directory))
    with pytest.raises(OutputError) as error:
        claim_output(layout, job(policy="speed 0.1", shadow_fraction=0.5), overwrite=False)
    assert str(error.value) == (
        f"{layout.directory!r} holds another job, which differs in "
        "policy (speed 0.5 there, speed 0.1 asked for), shadow_fraction (0.25 there, 0.5 asked for); "
        "choose another `output`, or `overwrite` it"
    )
    assert snapshot(Path(layout.directory)) == before


def test_overwriting_starts_afresh(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    (Path(layout.directory) / "notes.txt").write_text("mine")
    assert claim_output(layout, job(policy="speed 0.1"), overwrite=True) == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json", "notes.txt"}
    # Its own output is run anew too.
    write_shards(layout, of=job(policy="speed 0.1"))
    assert claim_output(layout, job(policy="speed 0.1"), overwrite=True) == set()


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


@pytest.mark.parametrize("name", [NAMES[0], f"rejected/{NAMES[0]}", "notes.csv"])
@pytest.mark.parametrize("spelling", ["plain", "relative", "link"])
def test_overwriting_does_not_delete_its_own_input(
    layout: OutputLayout, name: str, spelling: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    path = Path(layout.directory) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("rows")
    (tmp_path / "link").symlink_to(layout.directory)
    monkeypatch.chdir(tmp_path)
    source = {"plain": str(path), "relative": f"out/{name}", "link": f"link/{name}"}[spelling]
    again = replace(job(policy="speed 0.1"), inputs=(INPUT, replace(INPUT, path=source)))
    before = snapshot(Path(layout.directory))
    with pytest.raises(OutputError) as error:
        claim_output(layout, again, overwrite=True)
    assert str(error.value) == (
        f"the input {source!r} lies in {layout.directory!r}, which `overwrite` would delete; "
        "choose another `output`, or move the input"
    )
    assert snapshot(Path(layout.directory)) == before


def test_an_input_beside_the_output_may_stay(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    beside = replace(job(), inputs=(replace(INPUT, path=f"{layout.directory}2/a.csv"),))
    assert claim_output(layout, beside, overwrite=True) == set()


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_job_that_lacks_a_shard_is_not_finished_any_more(layout: OutputLayout, is_missing: bool):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    shard = Path(layout.shard(NAMES[1]))
    shard.unlink() if is_missing else shard.write_bytes(b"broken")
    assert claim_output(layout, job(), overwrite=False) == {NAMES[0]}
    with pytest.raises(ArtifactError, match="is not finished"):
        read_manifest(layout, ScoreManifest)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"shards": [7]}'])
def test_a_damaged_manifest_is_made_again(layout: OutputLayout, content: str):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    Path(layout.manifest).write_text(content)
    assert claim_output(layout, job(), overwrite=False) == set(NAMES)
    assert not Path(layout.manifest).exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_killed_as_it_claimed_is_run_again(layout: OutputLayout, overwrite: bool):
    Path(layout.directory).mkdir()
    (Path(layout.directory) / "_JOB.json.partial").write_text('{"comm')
    assert claim_output(layout, job(), overwrite=overwrite) == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json"}


def test_the_manifest_lists_every_shard(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    Path(layout.temporary).mkdir()
    (Path(layout.temporary) / "left-over").touch()
    write_shards(layout, of=job())
    manifest = finished(layout, job())
    assert manifest.shard_names == NAMES
    assert manifest.counts == {"rows": 4, "rejected": 1, "exit_layer_1": 4}
    assert (manifest.labels, manifest.fingerprint) == (("é", "b"), job().fingerprint)
    assert not Path(layout.temporary).exists()
    assert read_manifest(layout, ScoreManifest) == manifest


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


def test_shards_that_were_not_planned_are_refused(layout: OutputLayout):
    """As a worker of an earlier plan leaves one late: whoever reads the directory would read rows twice."""
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    late = "part-00007-of-00100.parquet"
    Path(layout.shard(late)).write_bytes(Path(layout.shard(NAMES[0])).read_bytes())
    with pytest.raises(OutputError, match=f"holds 1 shards of another job or plan, as {late}: .*`overwrite`"):
        finished(layout, job())
    assert not Path(layout.manifest).exists()
    Path(layout.shard(late)).unlink()
    finished(layout, job())


def test_rejected_rows_that_a_killed_run_left_without_their_shard_are_gone(layout: OutputLayout):
    write_with_rejected(layout)
    for name in NAMES:
        Path(layout.shard(name)).unlink()
    claim_output(layout, job(), overwrite=False)
    # Nothing is rejected any more of the first one.
    write_shards(layout, of=job())
    make_directory(layout.rejected_directory)
    for name in NAMES:
        write_json(layout.rejected(name), {})
    finished(layout, job())
    assert [path.name for path in Path(layout.rejected_directory).iterdir()] == [NAMES[1]]


def test_a_shard_of_another_job_is_named(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job(policy="speed 0.1"))
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


def test_the_manifest_says_what_made_it(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    manifest = finished(layout, job())
    assert isinstance(manifest, ScoreManifest)
    assert (manifest.command, manifest.numerics_version) == ("score", NUMERICS_VERSION)
    assert (manifest.settings, manifest.inputs) == (SCORE, (INPUT,))
    assert manifest.versions == {"torch": "1"}
    assert [(shard.rows, shard.counts) for shard in manifest.shards] == [
        (3, {"rejected": 0, "exit_layer_1": 3}),
        (1, {"rejected": 1, "exit_layer_1": 1}),
    ]


def test_output_of_other_numerics_is_another_jobs(layout: OutputLayout, monkeypatch: pytest.MonkeyPatch):
    claim_output(layout, job(), overwrite=False)
    monkeypatch.setattr("pipeline.contract.job.NUMERICS_VERSION", NUMERICS_VERSION + 1)
    differs = f"differs in numerics_version ({NUMERICS_VERSION} there, {NUMERICS_VERSION + 1} asked for);"
    with pytest.raises(OutputError) as error:
        claim_output(layout, job(), overwrite=False)
    assert differs in str(error.value)


def test_a_job_that_says_less_than_this_ones_is_another(layout: OutputLayout):
    """As an earlier version left it."""
    claim_output(layout, job(), overwrite=False)
    stored = read_json(layout.job)
    del stored["numerics_version"]
    write_json(layout.job, stored)
    with pytest.raises(OutputError, match=r"numerics_version \(None there, \d+ asked for\); choose another"):
        claim_output(layout, job(), overwrite=False)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '"a"', "null", "\xff", '{"a":' * 100_000])
def test_a_damaged_description_is_told_and_can_be_overwritten(layout: OutputLayout, content: str):
    claim_output(layout, job(), overwrite=False)
    Path(layout.job).write_bytes(content.encode("latin-1"))
    with pytest.raises(
        OutputError, match=r"_JOB\.json' is damaged; choose another `output`, or `overwrite` "
    ):
        claim_output(layout, job(), overwrite=False)
    assert claim_output(layout, job(), overwrite=True) == set()
    assert json.loads(Path(layout.job).read_text()) == job().as_json()


def test_a_file_is_no_output_directory(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="is a file; choose another `output`"):
        claim_output(OutputLayout(str(tmp_path / "out")), job(), overwrite=True)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: "):
        claim_output(OutputLayout(str(tmp_path / "file" / "out")), job(), overwrite=False)


def test_errors_that_a_worker_left_are_gone_when_the_job_is_run_again(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_worker_error(layout, PLAN.items[0], ArtifactError("mended"))
    assert claim_output(layout, job(), overwrite=False) == set()
    assert snapshot(Path(layout.directory)).keys() == {"_JOB.json"}


def test_a_damaged_shard_is_named(layout: OutputLayout):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    Path(layout.shard(NAMES[1])).write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=f"shard {NAMES[1]} .* is damaged; run the same command again"):
        finished(layout, job())


def test_each_footer_is_read_once(layout: OutputLayout, monkeypatch: pytest.MonkeyPatch):
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    read: list[str] = []

    def spy(layout: OutputLayout, name: str) -> ShardFooter | None:
        read.append(name)
        return read_footer(layout, name)

    monkeypatch.setattr(output, "read_footer", spy)
    finished(layout, job())
    assert sorted(read) == NAMES


# -- object stores, which have no directories --------------------------------------------------------


def test_the_description_is_hashed_once_however_many_shards_there_are(
    layout: OutputLayout, monkeypatch: pytest.MonkeyPatch
):
    """It holds every input file: hashed for each shard, 4,000 files took 90 s, and 100,000 half a day."""
    as_json = JobDescription.as_json
    made: list[JobDescription] = []

    def spy(description: JobDescription) -> dict[str, object]:
        made.append(description)
        return as_json(description)

    monkeypatch.setattr(JobDescription, "as_json", spy)
    description = job()
    done(layout, description)
    claim_output(layout, description, overwrite=False)
    # Once to be hashed, and by each claim to be compared with what is on disk.
    assert len(made) == 3


def test_overwriting_on_an_object_store_starts_afresh(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    finished(layout, job())
    mine = {f"teststore://bucket/{name}": b"" for name in ("out/notes.txt", "out2/_audit/a", "outrejected")}
    others = (layout.rejected(NAMES[0]), f"{layout.audit_directory}/a", f"{layout.temporary}/a/b")
    store.update(dict.fromkeys(others, b"") | mine)
    assert claim_output(layout, job(policy="speed 0.1"), overwrite=True) == set()
    assert store.keys() == {layout.job, *mine}


def test_a_job_on_an_object_store_leaves_nothing_temporary(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    claim_output(layout, job(), overwrite=False)
    store[f"{layout.temporary}/left-over"] = b""
    write_shards(layout, of=job())
    manifest = finished(layout, job())
    assert store.keys() == {layout.job, layout.manifest, *map(layout.shard, NAMES)}
    assert claim_output(layout, job(), overwrite=False) == set(NAMES)
    assert read_manifest(layout, ScoreManifest) == manifest


def test_overwriting_on_an_object_store_does_not_delete_its_own_input(store: dict[str, bytes]):
    layout = OutputLayout("teststore://bucket/out")
    claim_output(layout, job(), overwrite=False)
    write_shards(layout, of=job())
    before = dict(store)
    again = replace(job(), inputs=(replace(INPUT, path=layout.shard(NAMES[0])),))
    with pytest.raises(OutputError, match="which `overwrite` would delete"):
        claim_output(layout, again, overwrite=True)
    assert store == before
    beside = replace(job(), inputs=(replace(INPUT, path="teststore://bucket/out2/a.csv"),))
    assert claim_output(layout, beside, overwrite=True) == set()


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_somebody_else_on_an_object_store_are_left_alone(store: dict[str, bytes], overwrite: bool):
    store["teststore://bucket/out/sub/notes.txt"] = b"mine"
    with pytest.raises(OutputError, match="is not empty and holds no job of ours"):
        claim_output(OutputLayout("teststore://bucket/out"), job(), overwrite=overwrite)
    assert store == {"teststore://bucket/out/sub/notes.txt": b"mine"}
    assert claim_output(OutputLayout("teststore://bucket/ou"), job(), overwrite=False) == set()
