"""Why some promises of a calibration save next to nothing, and what would help."""

from model.guarantee.binomial import rows_needed
from model.messages import format_share
from pipeline.results.calibration_report import CalibrationReport

# Full depth over it: a promise that saves less is hardly worth its branches.
_LITTLE_SAVED = 1.1


def describe_limits(report: CalibrationReport, training: str) -> str:
    """Say in a line why some promises save next to nothing, and what would help; empty where all save.

    Args:
        report: of the calibration.
        training: how far the branches have come, where that is known.
    """
    little = [target for target in report.targets if target.saved_compute < _LITTLE_SAVED]
    if not little:
        return ""
    parts = [
        f"at most {', '.join(format_share(each.max_disagreement) for each in little)} saves next to nothing"
    ]
    strictest = little[0]
    least = rows_needed(strictest.max_disagreement, report.confidence)
    if least is not None and least > strictest.num_rows:
        parts.append(
            f"{format_share(strictest.max_disagreement)} takes {least:,} test rows at the least, and there "
            f"are {strictest.num_rows:,}: label more, or with a larger --calibration-fraction"
        )
    return "; ".join([*parts, training] if training else parts)
