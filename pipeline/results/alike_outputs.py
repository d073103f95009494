"""Whether soft labels of several directories go together."""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import ArtifactError
from pipeline.contract.layout import OutputLayout
from pipeline.contract.manifest import LabelManifest


def check_alike(outputs: Sequence[tuple[OutputLayout, LabelManifest]]) -> None:
    """Refuse outputs that do not go together.

    Raises:
        ArtifactError: naming two of them and what differs.
    """
    first_layout, first = outputs[0]
    for layout, manifest in outputs[1:]:
        pairs = zip(_KINDS, _kind(manifest), _kind(first), strict=True)
        if differing := [name for name, here, there in pairs if here != there]:
            raise ArtifactError(
                f"{layout.directory!r} and {first_layout.directory!r} do not go together: they are of "
                f"different {', '.join(differing)}"
            )


_KINDS = (
    "labels",
    "tasks",
    "teachers",
    "`max_length`",
    "kinds of text, single and pairs",
    "units of a promise",
)


def _kind(manifest: LabelManifest) -> tuple[object, ...]:
    """Return what outputs have to have in common, in the order of `_KINDS`."""
    settings = manifest.settings
    has_pairs = settings.columns.text_pair is not None
    return manifest.labels, settings.task, settings.model_hash, settings.max_length, has_pairs, settings.unit
