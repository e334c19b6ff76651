"""What this process has begun, for whatever ends it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cli import sweep
from cli.config import output_folder
from utils.files import remove_empty_folders
from utils.paths import is_there
from utils.run_folder import RunFolder


@dataclass
class Session:
    """One start of an entry point. A launcher's processes have one of their own, and are not `main`.

    Attributes:
        main: whether this process was started by the user.
        full_error: whether the user wants tracebacks of mistakes.
        folder: what this process made for its run or sweep.
        sweep: the folder of the sweep that it runs.
        jobs_elsewhere: whether a launcher runs the jobs in processes of their own.
        under_way: whether a run has begun to train.
        resume_with: the command that continues that run.
        codes: exit codes so far; the highest counts.
    """

    main: bool = False
    full_error: bool = False
    folder: Path | None = None
    sweep: Path | None = None
    jobs_elsewhere: bool = False
    under_way: bool = False
    resume_with: str | None = None
    codes: list[int] = field(default_factory=list)

    def begin(self, full_error: bool) -> None:
        """Forget an earlier start in this process."""
        vars(self).update(vars(Session(main=True, full_error=full_error)))

    def resume_hint(self) -> str:
        """How to continue the run, if something of it is there to continue."""
        if self.resume_with is None or not is_there(RunFolder(output_folder()).last):
            return ""
        return f"\ngo on from the last checkpoint with: {self.resume_with}"

    def jobs_begun(self) -> bool:
        """Whether the sweep has come to its first job."""
        return sweep.jobs_begun(self.sweep) if self.sweep is not None else False

    def clean_up(self) -> None:
        """Remove the folders that this process made, unless something in them is worth keeping."""
        remove_empty_folders()
        if self.folder is None or any(self.folder.rglob("summary.json")) or self.jobs_begun():
            return
        shutil.rmtree(self.folder, ignore_errors=True)


session = Session()


def started(resume_with: str | None) -> None:
    """Note that a run has begun to train, and the command that continues it.

    (A function, since a launcher's processes get copies of the objects that a task names.)
    """
    session.under_way, session.resume_with = True, resume_with
