"""Collect the data of the HTML report from run folders, in plain containers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from comparison.columns import OWN, default_columns, higher_is_better, is_score
from comparison.curves import curves, thinning
from comparison.data_sets import data_sets_of
from comparison.figures import confusion, pictures
from comparison.report_groups import groups_data
from comparison.rows import differing_keys, rows_of, sorted_by
from comparison.run_names import LONGEST_NAME, short_names, shortened, text_or_none
from comparison.runs import Run, number_or_none
from utils.files import without_nan

CELLS = 100_000  # most numbers of confusion matrices in a report
TEXTS = 200_000  # characters of errors and notes together; each run has at least 200 of either
Data = dict[str, Any]


def gathered(
    runs: Sequence[Run],
    skipped: Sequence[str],
    source: str,
    sort: str | None = None,
    group_by: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    baseline: Run | None = None,
) -> tuple[Data, list[Run]]:
    """Return everything but the pictures as JSON values, and the runs in the same order, best first.

    Arguments and errors as for `comparison.report.write_report` and `comparison.tables.tables_of`.
    """
    keys = differing_keys(runs)
    more = [name for name in columns or default_columns(runs, keys) if name not in (*OWN, *keys)]
    rows = [row | {"run": run} for row, run in zip(rows_of(runs, keys, [*OWN, *keys, *more]), runs, strict=True)]
    rows = sorted_by(rows, sort or "val/miou")
    runs = [row["run"] for row in rows]
    names = short_names(runs, keys)
    common = _common([run.config for run in runs])
    every, longest = thinning(runs), max(TEXTS // max(2 * len(runs), 1), 200)
    cells = 0
    entries = []
    for run, name, row, data_set in zip(runs, names, rows, data_sets_of(runs), strict=True):
        counts = confusion(run)
        cells += len(counts["classes"]) ** 2 if counts else 0
        entry = {
            "label": name,
            "run": run.name,
            "folder": str(run.path),
            "name": text_or_none(run.summary.get("name")),
            "notes": text_or_none(run.summary.get("notes"), longest),
            "started": text_or_none(run.summary.get("started")),
            "status": run.live_status,
            "error": text_or_none(run.summary.get("error"), longest),
            "model": row["model"],
            "data": row["data"],
            "data_set": shortened(data_set, LONGEST_NAME),
            "values": {key: shortened(row[key], longest) for key in (*keys, *more)},
            "config": {k: shortened(v, longest) for k, v in run.config.items() if k not in common}
            if run.config
            else None,
            **{key: row[key] for key in ("parameters", "MACs", "mIoU", "epoch", "Dice", "images/s", "seconds")},
            "best": {key: number_or_none(value) for key, value in run.row("best").items() if key.startswith("val/")},
            "epochs": len(run.rows),
            **curves(run, every),
            "confusion": counts if cells <= CELLS else None,
            "confusion_left_out": counts is not None and cells > CELLS,
        }
        entries.append(entry)
    compared = groups_data(runs, names, keys, group_by, columns, sort, baseline)
    for group in compared["groups"]:
        for place in group["runs"]:
            entries[place]["group"] = group["label"]
    data = {
        "source": source,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "skipped": list(skipped),
        "keys": keys,
        "columns": [{"name": name, "score": is_score(name), "higher": higher_is_better(name)} for name in more],
        "sort": sort,
        "group_by": ", ".join(group_by) or None,
        "baseline": next((i for i, run in enumerate(runs) if run is baseline), None),
        "common": {key: shortened(value, longest) for key, value in common.items()},
        "runs": entries,
        **compared,
    }
    return without_nan(data), runs


def add_pictures(data: Data, runs: Sequence[Run], budget: int) -> None:
    """Add pictures to the data, run by run while they fit into `budget` bytes. Equal pictures are stored once.

    Args:
        data: result of `gathered`; gets `pictures`, `samples` and `classes`, and its runs `predictions`.
        runs: the runs, in the order of `data`.
    """
    places: dict[str, int] = {}  # data URL -> its place in `pictures`
    samples: dict[tuple[str, str], Data] = {}
    classes: dict[str, Data] = {}

    def place(url: str) -> int:
        return places.setdefault(url, len(places))

    for run, entry in zip(runs, data["runs"], strict=True):
        found, labels = pictures(run)
        pairs = {url for p in found if (p.name, p.digest) not in samples for url in (p.image, p.truth)}
        size = sum(map(len, (pairs | {p.prediction for p in found}) - places.keys()))
        entry["predictions"], entry["pictures_left_out"] = {}, size > budget
        if size > budget:
            continue
        budget -= size
        for p in found:
            if (p.name, p.digest) not in samples:
                pair = {"image": place(p.image), "truth": place(p.truth)}
                samples[p.name, p.digest] = {"id": len(samples), "number": p.number, "name": p.name, **pair}
            entry["predictions"][str(samples[p.name, p.digest]["id"])] = {
                "picture": place(p.prediction),
                "wrong": p.wrong,
                "mIoU": p.miou,
            }
        classes |= {json.dumps(label): label for label in labels}
    data["pictures"] = list(places)
    data["classes"] = list(classes.values())
    data["samples"] = sorted(samples.values(), key=lambda sample: (sample["number"], sample["id"]))


def _common(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the keys with the same value in all configs, which the report stores only once."""
    known = [config for config in configs if config]
    if not known:
        return {}
    return {k: v for k, v in known[0].items() if all(k in c and c[k] == v and type(c[k]) is type(v) for c in known)}
