"""What this process has started, so that it can be reported and cleaned up at the end."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from config.current_run import output_folder
from sweeps import sweep
from utils.files import remove_empty_folders
from utils.paths import is_there
from utils.run_folder import RunFolder


@dataclass
class Session:
    """One start of an entry point. Processes of a launcher each have their own, with `main` false.

    Attributes:
        main: whether the user started this process.
        full_error: whether to show the tracebacks of UserErrors.
        folder: folder that this process made for its run or sweep.
        sweep: folder of the sweep that it runs.
        jobs_elsewhere: whether a launcher runs the jobs in other processes.
        training: whether a run has begun to train.
        resume_command: the command that resumes that run.
        codes: exit codes so far; the highest counts.
    """

    main: bool = False
    full_error: bool = False
    folder: Path | None = None
    sweep: Path | None = None
    jobs_elsewhere: bool = False
    training: bool = False
    resume_command: str | None = None
    codes: list[int] = field(default_factory=list)

    def begin(self, full_error: bool) -> None:
        """Reset all attributes, at the start of an entry point."""
        vars(self).update(vars(Session(main=True, full_error=full_error)))

    def resume_hint(self) -> str:
        """Return a line with the command that resumes the run, or nothing if there is no checkpoint."""
        if self.resume_command is None or not is_there(RunFolder(output_folder()).last):
            return ""
        return f"\nresume from the last checkpoint: {self.resume_command}"

    def jobs_begun(self) -> bool:
        """Whether the sweep has reached its first job."""
        return self.sweep is not None and sweep.jobs_begun(self.sweep)

    def clean_up(self) -> None:
        """Remove the folders that this process made, unless they hold results."""
        remove_empty_folders()
        if self.folder is None or any(self.folder.rglob("summary.json")) or self.jobs_begun():
            return
        shutil.rmtree(self.folder, ignore_errors=True)


session = Session()


def note_training(resume_command: str | None) -> None:
    """Note that a run begins to train, and the command that resumes it.

    A function, because launchers pickle the objects that a task refers to, so that their processes get copies.
    """
    session.training, session.resume_command = True, resume_command
