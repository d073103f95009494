"""Where a checkpoint grows until it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from safetensors import SafetensorError

from jobs.driver.directory_lock import lock_directory
from model.checkpoints.hub import METRICS_FILE
from model.errors import OutputError
from pipeline.contract.storage import partial_path, read_json, sync

STATE_FILE = "training_state.safetensors"

# What a killed run left that is gone on from. All else is written again, and may be half-written.
_RESUMED_FROM = frozenset({STATE_FILE, METRICS_FILE})
# safetensors fills a file of a name of its own (`.tmpAbCdEf`) before it gets the one that was asked for.
_HALF_WRITTEN = (".tmp", partial_path(STATE_FILE), partial_path(METRICS_FILE))
_READ_AND_WRITE = 0o666


class AtomicOutputDirectory:
    """Where a checkpoint grows: beside its final name, which it takes when it is whole."""

    def __init__(
        self, output: str, *, overwrite: bool, resume: bool | None = None, sources: Sequence[str] = ()
    ) -> None:
        """Claim `output`.

        Args:
            output: the final name.
            overwrite: whether to replace what an earlier run left.
            resume: whether to go on where a killed run stopped; None for a command that cannot.
            sources: files, directories and hub names that are read, which must stay as they are.

        Raises:
            OutputError: if something is there that was not to be resumed or overwritten, or is not ours.
        """
        check_local(output)
        try:
            # Resolved, for neither `.` nor a link has a name that another could be made of.
            self.final = Path(output).resolve()
            self.partial = self.final.parent / f"{self.final.name}.partial"
            self._overwrite = overwrite
            self._check_sources(output, sources)
            self._check_final(output)
            self._check_partial(resume)
        except (OSError, RuntimeError) as error:  # the latter of links that go round in a circle
            raise OutputError(f"{output!r} cannot be written: {error}") from error

    def _check_sources(self, output: str, sources: Sequence[str]) -> None:
        for source in sources:
            read = Path(source).resolve()
            if read.exists() and any(_overlap(read, written) for written in (self.final, self.partial)):
                raise overlap_error(output, source)

    def _check_final(self, output: str) -> None:
        if self.final.is_file():
            raise OutputError(f"{output!r} is a file; choose another `output`")
        if not self.final.exists() or not any(self.final.iterdir()):
            return
        if is_ours := is_checkpoint_of_ours(str(self.final)):
            # Of a run that was killed as it finished.
            (self.final / STATE_FILE).unlink(missing_ok=True)
        check_replaceable(output, is_ours=is_ours, overwrite=self._overwrite)

    def _check_partial(self, resume: bool | None) -> None:
        if not self.partial.exists():
            return
        if not _is_killed_run(self.partial):
            raise OutputError(
                f"{str(self.partial)!r}, where the checkpoint would grow, is there and no killed run's; "
                "choose another `output`"
            )
        if not (resume or self._overwrite):
            cure = "choose another `output`" if resume is None else "go on with `resume`"
            raise OutputError(f"{str(self.partial)!r} is a killed run's; {cure}, or `overwrite` it")

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the directory, and keep others off it in the context.

        Of what an earlier run left in it there stays what is gone on from, or nothing if it is overwritten.

        Raises:
            OutputError: if it cannot be made or written, or another command is at work on it.
        """
        with lock_directory(str(self.partial)):
            try:
                _empty(self.partial, but=frozenset() if self._overwrite else _RESUMED_FROM)
                yield
            # Of a full disk safetensors makes an error of its own.
            except (OSError, SafetensorError) as error:
                raise OutputError(f"{str(self.partial)!r} cannot be written: {error}") from error

    def finish(self) -> None:
        """Give the directory its final name, and only then delete what had it and the training state.

        Raises:
            OutputError: if it cannot be renamed; the checkpoint then keeps its first name.
        """
        aside = None
        try:
            # safetensors leaves its files to their owner alone: as open to others as those beside them.
            mode = self.partial.stat().st_mode & _READ_AND_WRITE
            for path in self.partial.rglob("*"):
                if path.is_file():
                    path.chmod(mode)
                    # A power cut then leaves no name of what is not on the disk.
                    sync(path)
            sync(self.partial)
            if self.final.exists():
                aside = Path(tempfile.mkdtemp(prefix=f"{self.final.name}.old-", dir=self.final.parent))
                self.final.rename(aside / self.final.name)
            self.partial.rename(self.final)
            sync(self.final.parent)
            (self.final / STATE_FILE).unlink(missing_ok=True)
            if aside:
                shutil.rmtree(aside)
        except OSError as error:
            raise OutputError(f"{str(self.partial)!r} cannot be made {str(self.final)!r}: {error}") from error


def _is_killed_run(directory: Path) -> bool:
    """Return whether a run of ours left a directory, which may then be emptied."""
    names = {path.name for path in directory.iterdir()}
    has_begun = STATE_FILE in names or is_checkpoint_of_ours(str(directory))
    return has_begun or all(name.startswith(_HALF_WRITTEN) for name in names)


def _empty(directory: Path, *, but: AbstractSet[str]) -> None:
    for path in directory.iterdir():
        if path.name in but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_local(output: str) -> None:
    """Refuse a URL.

    Raises:
        OutputError: if `output` is one.
    """
    if "://" in output:
        raise OutputError(f"{output!r} is no local directory; give a local `output`, and copy it afterwards")


def _overlap(one: Path, two: Path) -> bool:
    return one.is_relative_to(two) or two.is_relative_to(one)


def overlap_error(output: str, source: str) -> OutputError:
    """Return that an output lies in what is read, or around it."""
    return OutputError(f"{output!r} and {source!r}, which is read, overlap; choose another `output`")


def is_checkpoint_of_ours(directory: str) -> bool:
    """Return whether a command of ours wrote a directory, here or in a store, told by its metrics."""
    try:
        return "config" in read_json(str(FileSystems.join(directory, METRICS_FILE)))
    except (OSError, ValueError):
        return False


def check_replaceable(output: str, *, is_ours: bool, overwrite: bool) -> None:
    """Refuse to write where something is, unless it is a checkpoint of ours that may go.

    Raises:
        OutputError: saying which of the two it is not.
    """
    if not is_ours:
        raise OutputError(
            f"{output!r} is not empty and holds no checkpoint that fastbert-jobs wrote; "
            "choose another `output`"
        )
    if not overwrite:
        raise OutputError(f"{output!r} exists already; choose another `output`, or `overwrite` it")
