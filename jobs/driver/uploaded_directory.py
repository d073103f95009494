"""Checkpoints that are written to an object store: they grow here, and are uploaded when they are whole."""

import hashlib
import shutil
from collections.abc import Sequence
from functools import partial

from apache_beam.io.filesystems import FileSystems

from jobs.driver.atomic_directory import (
    STATE_FILE,
    AtomicOutputDirectory,
    check_replaceable,
    is_checkpoint_of_ours,
    overlap_error,
)
from model.checkpoints.fingerprint import CONFIGURATION_FILES
from model.checkpoints.hub import METRICS_FILE
from model.errors import OutputError
from model.messages import one_line
from pipeline.contract.storage import (
    check_file_system,
    delete_files,
    is_local,
    list_names,
    write_atomically,
)
from pipeline.reading.remote_checkpoints import cache_directory


def output_directory(
    output: str, *, overwrite: bool, resume: bool | None = None, sources: Sequence[str] = ()
) -> AtomicOutputDirectory:
    """Return where a checkpoint grows that is to be called `output`; see `AtomicOutputDirectory`.

    Raises:
        OutputError: if something is there that was not to be resumed or overwritten, or is not ours.
    """
    kind = AtomicOutputDirectory if is_local(output) else _UploadedDirectory
    return kind(output, overwrite=overwrite, resume=resume, sources=sources)


class _UploadedDirectory(AtomicOutputDirectory):
    """Grows in the user's cache, under a name that is made of the URL: there it is resumed, too."""

    def __init__(
        self, output: str, *, overwrite: bool, resume: bool | None = None, sources: Sequence[str] = ()
    ) -> None:
        check_file_system(output)
        self._url = output.rstrip("/")
        for source in sources:
            if f"{source}/".startswith(f"{self._url}/") or f"{self._url}/".startswith(f"{source}/"):
                raise overlap_error(output, source)
        if names := list_names(self._url):
            is_ours = METRICS_FILE in names and is_checkpoint_of_ours(self._url)
            check_replaceable(self._url, is_ours=is_ours, overwrite=overwrite)
        name = hashlib.sha256(self._url.encode()).hexdigest()[:32]
        local = cache_directory() / "outputs" / name
        super().__init__(str(local), overwrite=overwrite, resume=resume)

    def finish(self) -> None:
        """Upload the checkpoint, its configuration last: without it there is none. Then delete it here.

        Raises:
            OutputError: if it cannot be uploaded; here it stays, and is uploaded when the run is resumed.
        """
        files = {path.name: path for path in self.partial.iterdir() if path.name != STATE_FILE}
        order = sorted(files, key=lambda name: (name in CONFIGURATION_FILES, name))
        try:
            before = list_names(self._url)
            delete_files([self._path(name) for name in before if name in CONFIGURATION_FILES])
            delete_files([self._path(name) for name in before if name not in files])
            for name in order:
                with files[name].open("rb") as file:
                    write_atomically(self._path(name), partial(shutil.copyfileobj, file))
            shutil.rmtree(self.partial)
        except OSError as error:
            raise OutputError(
                f"{str(self.partial)!r} cannot be uploaded to {self._url!r}: {one_line(error)}"
            ) from error

    def _path(self, name: str) -> str:
        return str(FileSystems.join(self._url, name))
