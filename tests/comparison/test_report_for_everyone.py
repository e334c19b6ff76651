"""The HTML report in headless Chromium: light and dark, with the keyboard alone, on a phone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

Page = Any


@pytest.mark.slow
def test_light_and_dark(open_page: Any) -> None:
    for scheme, other in (("light", "dark"), ("dark", "light")):
        page = open_page(color_scheme=scheme)
        assert brightness(page) > 200 if scheme == "light" else brightness(page) < 60
        assert chart_text(page) == page.evaluate("getComputedStyle(document.body).color")
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") == other
        assert brightness(page) > 200 if other == "light" else brightness(page) < 60
        assert chart_text(page) == page.evaluate("getComputedStyle(document.body).color")


def brightness(page: Page) -> float:
    return np.mean(rgb(page.evaluate("getComputedStyle(document.body).backgroundColor"))).item()


def chart_text(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.querySelector('#curves-chart .xtick text')).fill")


def rgb(color: str) -> list[float]:
    return [float(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(open_page: Any, scheme: str) -> None:
    """The contrast that WCAG 2.1 asks for: 4.5 for text, 3 for lines of charts."""
    page = open_page(color_scheme=scheme)
    page.evaluate("document.body.append(Object.assign(document.createElement('i'), { id: 'probe' }))")

    def contrast(front: str, back: str) -> float:
        lights = []
        for name in (front, back):
            page.evaluate(f"document.getElementById('probe').style.color = 'var({name})'")
            parts = [
                part / 255 for part in rgb(page.evaluate("getComputedStyle(document.getElementById('probe')).color"))
            ]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
        return (max(lights) + 0.05) / (min(lights) + 0.05)

    for text in ("--text", "--muted", "--accent", "--good", "--bad", "--warn"):
        for back in ("--page", "--surface"):
            assert contrast(text, back) >= 4.5, (text, back)
    for back in ("--low", "--high", "--negative", "--neutral", "--positive"):
        assert contrast("--text", back) >= 4.5, back
    for i in range(7):
        assert contrast(f"--c{i}", "--page") >= 3, i


def test_everything_can_be_reached_with_tab(page: Page) -> None:
    page.evaluate("document.body.focus()")
    reached = set()
    for _ in range(160):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.closest('[id]')?.id"))
    controls = {
        "theme",
        "filter",
        "show-all",
        "show-none",
        "show-best",
        "best-count",
        "metric",
        "over",
        "log",
        "smoothing",
    }
    controls |= {
        "gain",
        "price",
        "cost-log",
        "relative",
        "confusion-run",
        "confusion-unit",
        "first",
        "second",
        "all-keys",
    }
    assert controls | {"errors", "table", "legend", "gallery"} <= reached
    unnamed = (
        """all => all.filter((e) => !e.labels?.length && !e.getAttribute('aria-label') && !e.textContent.trim())"""
    )
    assert page.eval_on_selector_all("input, select, button", f"{unnamed}.map((e) => e.outerHTML)") == []


@pytest.mark.parametrize("width", [375, pytest.param(768, marks=pytest.mark.slow)])
def test_a_narrow_page_does_not_scroll_sideways(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 812}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for chart in ("curves-chart", "cost-chart"):
        box = page.locator(f"#{chart}").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    before = page.locator("#table tbody .name").first.bounding_box()["x"]
    page.evaluate("document.querySelector('#runs .scroll').scrollLeft = 200")
    assert math.isclose(page.locator("#table tbody .name").first.bounding_box()["x"], before, abs_tol=2)
