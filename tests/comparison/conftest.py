"""A report of runs written by hand, opened in headless Chromium, without a network, from disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comparison.report import write_report
from comparison.runs import read_runs
from tests.comparison.folders import LABELS, MIOUS, NASTY, add_figures, add_metrics, change_summary, make_run, scene


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three finished runs, one that failed, one without figures, and a folder to skip."""
    folder = tmp_path_factory.mktemp("report")
    sizes = {"enet": 360_000, "unet": 31_000_000, NASTY: 1_100_000}
    for i, (name, mious) in enumerate(MIOUS.items()):
        run = make_run(folder / "runs" / f"run{i}", mious[-1], optimizer__lr=[0.004, 0.01, 0.1][i], seed=[0, 0, 1][i])
        ious = {f"val/iou/{label}": mious[-1] - 0.1 * j for j, label in enumerate(LABELS.names)}
        best = {"epoch": 3, "val/miou": mious[-1], "val/dice": mious[-1] + 0.1, **ious}
        speed = {"images_per_second": [50, 10, 30][i]}
        facts = {"name": name, "notes": f"note {i} <b>bold</b>", "parameters": sizes[name]}
        change_summary(run, **facts, best=best, last=speed)
        add_metrics(
            run,
            {
                "epoch": [1, 2, 3],
                "step": [10, 20, 30],
                "val/miou": mious,
                "train/loss": [1.0, 0.1, 0.01],
                "seconds": [5, 5, 5],
            },
        )
        add_figures(run, [scene(2, i), scene(5, i)], [[80, 15, 5], [0, 100, 0], [i, 0, 1000 - i]])
    failed = make_run(folder / "runs" / "run3", None)
    change_summary(failed, name="broken", status="failed", error="NonFiniteLoss: the loss is not finite", last=None)
    change_summary(make_run(folder / "runs" / "run4", 0.6), name="older")
    (make_run(folder / "runs" / "run5") / "summary.json").write_text("{")
    runs, skipped = read_runs([folder / "runs"])
    write_report(folder / "report.html", runs, skipped, "experiments")
    return folder / "report.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    installed = next(filter(None, map(shutil.which, names)), None)
    if installed is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Any]:
    """Return a function that opens the report; errors on the console and requests to the network fail the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def opened(path: Path = report, **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        context.set_default_timeout(200_000)  # a busy machine is slow
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        own = ("data:", "blob:", path.as_uri())
        page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(own) else None)
        page.goto(path.as_uri())
        page.wait_for_selector("#table tbody tr")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Any) -> Any:
    return open_page(viewport={"width": 1280, "height": 800})
