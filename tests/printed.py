"""Tables that commands print."""

from __future__ import annotations


def rows_of_table(printed: str) -> list[list[str]]:
    """Return the cells of each row, the head first."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
