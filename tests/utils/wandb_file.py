"""Read the file of an offline run of W&B: LevelDB's log format after W&B's header."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

BLOCK, WHOLE, FIRST = 32768, 1, 2


def records(path: Path, seconds: float = 200) -> list[Any]:
    """The records of a `.wandb` file, as W&B's own messages. The last tells the end of the run; W&B's own process may
    still be writing it when a run is finished."""
    deadline = time.monotonic() + seconds
    while not of_kind(found := _written(path), "exit"):
        assert time.monotonic() < deadline, f"{path}: no end of the run after {seconds} s"
        time.sleep(0.05)
    return found


def _written(path: Path) -> list[Any]:
    """Return the complete records in a file that may still be written."""
    from wandb.proto import wandb_internal_pb2

    record_type: Any = vars(wandb_internal_pb2)["Record"]  # made as it is imported

    data, position, parts, found = path.read_bytes(), 7, b"", []
    assert data[:4] in (b":W&B", b"")
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # too little for a header: the rest of the block is empty
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if position + 7 + length > len(data):
            break
        content = data[position + 7 : position + 7 + length]
        parts = content if kind in (WHOLE, FIRST) else parts + content
        position += 7 + length
        if kind in (WHOLE, 4):  # 4 is the last part
            found.append(record_type.FromString(parts))
    return found


def history(found: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return (step, values by name) of each record, without names that begin with _."""
    rows = []
    for record in found:
        if record.WhichOneof("record_type") == "history":
            items = {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            rows.append((record.history.step.num, {k: v for k, v in items.items() if not k.startswith("_")}))
    return rows


def of_kind(found: list[Any], kind: str) -> list[Any]:
    """Return the records of a kind."""
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]
