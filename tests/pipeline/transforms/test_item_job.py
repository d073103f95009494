import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.contract.manifest import LabelManifest
from pipeline.contract.plan import RowRange
from pipeline.reading.inputs import InspectedFile
from pipeline.transforms.corpus_job import CorpusJob
from pipeline.transforms.item_job import ItemJob
from tests.job_fixtures import write_tsv
from tests.pipeline.transforms.shout_jobs import TEXTS, shard_job


@pytest.fixture
def job(tmp_path: Path) -> CorpusJob[LabelManifest]:
    """A job of one file."""
    write_tsv(tmp_path / "rows.tsv", {"text": TEXTS})
    return shard_job(tmp_path / "out")


def with_many_files(job: CorpusJob[LabelManifest]) -> CorpusJob[LabelManifest]:
    """The job, of a thousand files that are none."""
    sources = tuple(
        InspectedFile(
            path=f"{number}.tsv", format="tsv", ranges=(RowRange(first_row=0, num_rows=1),),
            size=1, checksum=f"{number}", version="",
        )
        for number in range(1000)
    )  # fmt: skip
    return replace(job, inputs=replace(job.inputs, sources=sources))


def test_what_goes_to_workers_does_not_grow_with_the_input(job: CorpusJob[LabelManifest]):
    few, many = ItemJob.of(job), ItemJob.of(with_many_files(job))
    assert few.metadata["fingerprint"] != many.metadata["fingerprint"]
    assert len(pickle.dumps(many)) == len(pickle.dumps(few))


def test_what_goes_to_a_committing_worker_is_the_input_but_not_the_plan(job: CorpusJob[LabelManifest]):
    many = with_many_files(job)
    before = len(pickle.dumps(many))
    plan, fingerprint = many.plan, many.metadata["fingerprint"]
    # What is found once is the metadata.
    assert len(pickle.dumps(many)) < before + 2_000
    arrived: CorpusJob[LabelManifest] = pickle.loads(pickle.dumps(many))
    assert (arrived.plan, arrived.description.fingerprint) == (plan, fingerprint)
