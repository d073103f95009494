"""What the commands of corpus jobs hand on of their options alike."""

from jobs.configs.label_teacher import LabelTeacherConfig
from jobs.configs.score import ScoreConfig
from jobs.driver.planned_job import PlannedJob
from jobs.driver.runner import torch_threads
from pipeline.transforms.prepared_job import JobOptions


def job_options(config: LabelTeacherConfig | ScoreConfig, planned: PlannedJob | None) -> JobOptions:
    """Return the options of a corpus job.

    Args:
        config: of its command.
        planned: what the plan says, of a job that is done in parts.
    """
    return JobOptions(
        rows_per_shard=config.rows_per_shard,
        precision=config.precision,
        device=config.device,
        format=config.format,
        max_rejected=config.max_rejected,
        overwrite=config.overwrite,
        verify=config.verify,
        torch_threads=torch_threads(config.runner),
        part=planned.part if planned else None,
    )
