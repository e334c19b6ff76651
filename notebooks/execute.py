"""Execute quickstart.ipynb in a copy of the repository, and store its outputs: python notebooks/execute.py"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOK = Path(__file__).with_name("quickstart.ipynb")
LEFT_OUT = ("experiments", ".git", ".venv", "report.html")


def executed(folder: Path) -> Any:
    """Return the notebook with its outputs, executed in a folder with links to the files of the repository."""
    root = NOTEBOOK.parents[1]
    for path in root.iterdir():
        if path.name not in LEFT_OUT:
            (folder / path.name).symlink_to(path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "executed": digest(notebook)}
    return notebook


def digest(notebook: Any) -> str:
    """Return the SHA-256 of the code, which tells whether the stored outputs belong to it."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        nbformat.write(executed(Path(temporary)), NOTEBOOK)
