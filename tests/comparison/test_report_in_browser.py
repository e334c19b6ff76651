"""The HTML report in headless Chromium: what its parts show, and how they answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.comparison.folders import LABELS, MIOUS, NASTY, scene

Page = Any


def names(page: Page) -> list[str]:
    return page.locator("#table tbody .name label").all_inner_texts()


def traces(page: Page, chart: str) -> list[dict[str, Any]]:
    return page.evaluate(f"document.getElementById('{chart}').data ?? []")


def axis_type(page: Page, chart: str, axis: str) -> str:
    return page.evaluate(f"document.getElementById('{chart}')._fullLayout.{axis}.type")


def cells(page: Page, column: str) -> list[str]:
    heads = page.locator("#table thead th").all_inner_texts()
    return page.locator(f"#table tbody tr > *:nth-child({heads.index(column) + 1})").all_inner_texts()


def test_it_loads(page: Page) -> None:
    assert page.inner_text("h1") == "Comparison of 5 runs" and page.title().startswith("Comparison of 5 runs")
    assert names(page) == ["unet", "older", "enet", NASTY, "broken"]
    assert page.locator("img[src='x']").count() == 0 and page.locator("#table b").count() == 0
    assert "note 0 <b>bold</b>" in page.inner_text("#table")
    assert page.locator("#table thead th[aria-sort]").all_inner_texts() == ["mIoU"]
    assert cells(page, "mIoU") == ["0.7000\nepoch 3", "0.6000\nepoch 2", "0.5000\nepoch 3", "0.3000\nepoch 3", "\u2013"]
    assert cells(page, "status")[-1].split("\n") == ["failed", "NonFiniteLoss: the loss is not finite"]
    assert page.locator("#table tbody tr:first-child .best").all_inner_texts() == ["0.7000\nepoch 3", "0.8000"]
    page.click("#skipped summary")
    assert "its summary.json is damaged" in page.inner_text("#skipped")


def test_sorting_by_mouse_and_keyboard(page: Page) -> None:
    page.click("#table th button:has-text('parameters')")
    smallest = ["0.36 M", "0.36 M", "0.36 M", "1.10 M", "31.00 M"]
    assert cells(page, "parameters") == smallest
    head = page.locator("#table th", has_text="parameters")
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending" and cells(page, "parameters") == smallest[::-1]
    page.click("#table th button:has-text('mIoU')")
    page.click("#table th button:has-text('mIoU')")
    assert names(page)[:2] == [NASTY, "enet"] and names(page)[-1] == "broken"  # without a value: last either way
    for first in ("enet", NASTY):
        page.click("#table th button:has-text('notes')")
        assert names(page)[0] == first and set(names(page)[3:]) == {"older", "broken"}
    page.click("#table th button:has-text('run')")
    assert names(page) == [NASTY, "broken", "enet", "older", "unet"]


def test_filtering(page: Page) -> None:
    for text, expected in {
        "UNET": ["unet"],
        '"note 2"': [NASTY],
        "optimizer.lr=0.01": ["unet"],
        "nonfinite": ["broken"],
        "status=failed": ["broken"],
        "finished note": ["unet", "enet", NASTY],
        "onerror=alert(1)>": [NASTY],
        "nothing has this": [],
    }.items():
        page.fill("#filter", text)
        assert names(page) == expected, text
        assert page.inner_text("#count").startswith(f"{len(expected)} of 5 runs"), text
        page.fill("#filter", "")
        assert len(names(page)) == 5, text


def test_toggling_runs(page: Page) -> None:
    assert [trace["name"] for trace in traces(page, "curves-chart")] == [
        "unet",
        "enet",
        NASTY.replace("<", "&lt;").replace(">", "&gt;"),
    ]
    before = {trace["name"]: trace["line"] for trace in traces(page, "curves-chart")}
    page.get_by_role("checkbox", name="enet", exact=True).focus()
    page.keyboard.press("Space")
    after = {trace["name"]: trace["line"] for trace in traces(page, "curves-chart")}
    assert set(before) - set(after) == {"enet"} and all(before[name] == after[name] for name in after)
    assert len(traces(page, "classes-chart")[0]["z"]) == 2 and len(traces(page, "cost-chart")[1]["x"]) == 3
    assert "enet" not in page.inner_text("#gallery thead")
    assert page.get_attribute("#legend button:has-text('enet')", "aria-pressed") == "false"
    page.click("#legend button:has-text('enet')")
    assert len(traces(page, "curves-chart")) == 3 and page.locator("#table tbody input:checked").count() == 5
    page.click("#show-none")
    assert traces(page, "curves-chart") == traces(page, "classes-chart") == []
    assert "No run is shown" in page.inner_text("#curves-note")
    page.fill("#best-count", "2")
    page.click("#show-best")
    assert page.locator("#table tbody input:checked").count() == 2
    assert page.locator("#table tbody tr:nth-child(1) input").is_checked()
    page.fill("#filter", "note")
    page.click("#show-all")
    page.fill("#filter", "")
    assert page.inner_text("#count") == "5 runs, 3 in the charts"


def test_curves(page: Page) -> None:
    unet, *_ = traces(page, "curves-chart")
    assert (unet["x"], unet["y"]) == ([1, 2, 3], MIOUS["unet"])
    assert axis_type(page, "curves-chart", "yaxis") == "linear"
    page.check("#log")
    assert axis_type(page, "curves-chart", "yaxis") == "log"
    page.select_option("#over", "step")
    assert traces(page, "curves-chart")[0]["x"] == [10, 20, 30]
    page.select_option("#over", "time")
    assert traces(page, "curves-chart")[0]["x"] == [5, 10, 15]
    page.select_option("#metric", "train/loss")
    assert traces(page, "curves-chart")[0]["y"] == [1.0, 0.1, 0.01]
    page.select_option("#metric", "val/miou")
    page.fill("#smoothing", "0.5")
    raw, smooth = traces(page, "curves-chart")[2:4]
    assert raw["y"] == MIOUS["enet"] and raw["opacity"] < 0.5
    # Weights 1; 1/3, 2/3; 1/7, 2/7, 4/7 of 0.1, 0.3, 0.5.
    assert smooth["y"] == pytest.approx([0.1, 0.7 / 3, 2.7 / 7])
    assert "broken" in page.inner_text("#curves-note") and "older" in page.inner_text("#curves-note")


def test_hover_tells_values(page: Page) -> None:
    page.locator("#curves-chart").scroll_into_view_if_needed()
    box = page.locator("#curves-chart .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#curves-chart .hoverlayer text")
    text = page.locator("#curves-chart .hoverlayer").text_content()
    assert "unet" in text and "0.4" in text and NASTY in text


def test_charts_send_nothing_anywhere(page: Page) -> None:
    titles = page.eval_on_selector_all(".modebar-btn", "all => all.map((button) => button.dataset.title)")
    assert titles and not [title for title in titles if "hare" in title or "loud" in title]


def test_accuracy_against_cost(page: Page) -> None:
    front, dots = traces(page, "cost-chart")
    assert sorted(zip(dots["x"], dots["y"], strict=True)) == [
        (360_000, 0.5),
        (360_000, 0.6),
        (1_100_000, 0.3),
        (31_000_000, 0.7),
    ]
    assert list(zip(front["x"], front["y"], strict=True)) == [(360_000, 0.6), (31_000_000, 0.7)]
    page.check("#cost-log")
    assert axis_type(page, "cost-chart", "xaxis") == "log"
    page.select_option("#price", "images/s")
    front, dots = traces(page, "cost-chart")
    assert sorted(dots["x"]) == [10, 12.34, 30, 50]
    assert list(zip(front["x"], front["y"], strict=True)) == [(50, 0.5), (12.34, 0.6), (10, 0.7)]
    page.select_option("#gain", "val/iou/car")
    assert sorted(traces(page, "cost-chart")[1]["y"]) == pytest.approx([0.1, 0.3, 0.5])


def test_heat_map_of_classes(page: Page) -> None:
    (chart,) = traces(page, "classes-chart")
    assert np.array(chart["z"]) == pytest.approx(
        np.array([[0.7, 0.7, 0.6, 0.5], [0.5, 0.5, 0.4, 0.3], [0.3, 0.3, 0.2, 0.1]])
    )
    assert chart["text"][0] == ["0.70", "0.70", "0.60", "0.50"]
    page.select_option("#relative", label="difference to enet")
    (chart,) = traces(page, "classes-chart")
    assert np.array(chart["z"]) == pytest.approx(np.array([[0.2] * 4, [0.0] * 4, [-0.2] * 4]))
    assert chart["text"][0][0] == "+0.20" and chart["zmin"] == -chart["zmax"]


def test_confusion_matrix(page: Page) -> None:
    assert page.locator("#confusion-run option").all_inner_texts() == ["unet", "enet", NASTY]
    page.select_option("#confusion-run", label="enet")
    (chart,) = traces(page, "confusion-chart")
    assert chart["z"] == [[80, 15, 5], [0, 100, 0], [0, 0, 100]]
    page.select_option("#confusion-run", label="unet")
    page.select_option("#confusion-unit", "pixels")
    (chart,) = traces(page, "confusion-chart")
    assert chart["z"] == [[80, 15, 5], [0, 100, 0], [1, 0, 999]]
    assert "true car, predicted sky<br>1 pixels<br>0.10 % of the true class" in chart["hovertext"][2][0]
    assert "2 runs without" in page.inner_text("#confusion-note")


def test_config_difference(page: Page) -> None:
    page.select_option("#first", label="unet")
    page.select_option("#second", label="enet")
    rows = page.locator("#difference tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [["optimizer.lr", "0.01", "0.004"]]
    page.select_option("#second", label=NASTY)
    rows = page.locator("#difference tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [["optimizer.lr", "0.01", "0.1"], ["seed", "0", "1"]]
    page.check("#all-keys")
    assert page.locator("#difference tbody tr").count() > 8 and page.locator("#difference tr.differs").count() == 2
    page.select_option("#second", label="unet")
    assert "equal" in page.inner_text("#config-note")


def test_pictures(page: Page) -> None:
    assert page.locator("#gallery tbody th").all_inner_texts() == ["val/00002", "val/00005"]
    assert page.locator("#gallery thead th").all_inner_texts() == ["sample", "image", "truth", "unet", "enet", NASTY]
    page.wait_for_function("[...document.querySelectorAll('#gallery img')].every((image) => image.complete)")
    sizes = page.eval_on_selector_all(
        "#gallery img", "all => all.map((image) => [image.naturalWidth, image.naturalHeight])"
    )
    assert sizes == [[32, 24]] * 10
    sample = scene(2, 1)
    assert f"wrong {100 * np.mean(sample.prediction != sample.truth):.1f} %" in page.inner_text(
        "#gallery tbody tr:first-child"
    )
    assert page.locator("#colors li").all_inner_texts() == [*LABELS.names, "ignored"]
    opener = page.locator("#gallery tbody tr:first-child button").first
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#enlarged")
    assert dialog.is_visible() and page.inner_text("#enlarged-caption") == "val/00002: image"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#enlarged-caption").startswith("val/00002: unet, mIoU")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#enlarged-caption").startswith("val/00005: unet, mIoU")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The browser reports that a dialog has closed in a later task than the one that closes it.
    page.wait_for_function("document.activeElement.getAttribute('aria-label').includes('val/00005: unet')")
    assert "2 shown runs without" in page.inner_text("#pictures-note")


def test_wrong_pixels_are_marked(page: Page) -> None:
    before = page.get_attribute("#gallery tbody tr:first-child td:nth-child(4) img", "src")
    page.check("#errors")
    page.wait_for_function("(before) => document.querySelectorAll('#gallery img')[2].src !== before", arg=before)
    shown = page.evaluate(
        """async () => {
            const image = document.querySelector('#gallery tbody tr:first-child td:nth-child(4) img');
            await image.decode();
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    picture = np.array(shown).reshape(24, 32, 4)
    red = (picture[..., :3] == (200, 30, 30)).all(-1)
    sample = scene(2, 1)
    assert np.array_equal(red, sample.prediction != sample.truth)
