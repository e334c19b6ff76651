// Accuracy against cost: parameters, multiply-adds, or speed.

const HIGHER_IS_BETTER = /^val\/(miou|dice|pixel_accuracy|iou\/.*)$/;

function fillGains() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.best)))];
  const first = ["val/miou", "val/dice", "val/pixel_accuracy"].filter((name) => names.includes(name));
  byId("gain").append(...first.concat(names.filter((name) => !first.includes(name))).map((name) => option(name)));
}

/** The Pareto front, cheapest run first. */
function front(dots, moreIsDearer, moreIsBetter) {
  const sorted = [...dots].sort((a, b) => (moreIsDearer ? a.x - b.x : b.x - a.x) || (moreIsBetter ? b.y - a.y : a.y - b.y));
  const kept = [];
  for (const dot of sorted) {
    const last = kept.at(-1);
    if (!last || (moreIsBetter ? dot.y > last.y : dot.y < last.y)) kept.push(dot);
  }
  return kept;
}

const LENGTHS = [20, 32]; // characters of a label; the longer one if there is room

/** A text and a position for each label so that it covers no other label or dot, in pixels of the plot; "" if none is free. */
function placeLabels(dots, width, height) {
  const taken = dots.map((dot) => [dot.px - 6, dot.py - 6, dot.px + 6, dot.py + 6]);
  const labels = dots.map(() => ({ text: "", position: "", box: null }));
  for (const most of LENGTHS) {
    dots.forEach((dot, i) => {
      const text = shortened(dot.unit.label, most);
      const length = 6.6 * text.length + 4;
      const others = [...taken, ...labels.filter((label, j) => j !== i && label.box).map((label) => label.box)];
      const boxes = {
        "top center": [dot.px - length / 2, dot.py - 24, dot.px + length / 2, dot.py - 6],
        "bottom center": [dot.px - length / 2, dot.py + 6, dot.px + length / 2, dot.py + 24],
        "middle right": [dot.px + 8, dot.py - 9, dot.px + 8 + length, dot.py + 9],
        "middle left": [dot.px - 8 - length, dot.py - 9, dot.px - 8, dot.py + 9],
      };
      const free = Object.entries(boxes).find(([, box]) =>
        box[0] >= 0 && box[2] <= width && box[1] >= 0 && box[3] <= height
        && !others.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]));
      if (free) labels[i] = { text, position: free[0], box: free[1] };
    });
  }
  return labels;
}

function range(values, log) {
  const scaledValues = log ? values.map(Math.log10) : values;
  const [low, high] = [Math.min(...scaledValues), Math.max(...scaledValues)];
  const margin = 0.14 * (high - low) || 0.1 * Math.abs(high) || 0.1;
  const positive = !log && low >= 0; // a cost is never negative
  return [positive ? Math.max(low - margin, -0.04 * high) : low - margin, high + margin];
}

function drawCost() {
  const [gain, price, log] = [byId("gain").value, byId("price").value, byId("cost-log").checked];
  const complete = (unit) => ({ ...unit, members: unit.members.filter((run) => run[price] > 0 && run.best[gain] != null) });
  const all = units().map(complete).map((unit) => ({ unit, cost: average(unit, (run) => run[price]), score: average(unit, (run) => run.best[gain]) }));
  const dots = all.filter((dot) => dot.cost?.mean > 0 && dot.score).map((dot) => ({ ...dot, x: dot.cost.mean, y: dot.score.mean }));
  const lacking = all.length - dots.length;
  byId("cost-note").textContent = lacking ? `${plural(lacking, grouping() ? "shown group" : "shown run")} without ${gain || "a metric"} or ${price}.` : !shown.size ? "No run is shown." : "";
  if (!dots.length) return drawNothing("cost-chart");
  const [rangeX, rangeY] = [range(dots.map((dot) => dot.x), log), range(dots.flatMap((dot) => [dot.y - (dot.score.spread ?? 0), dot.y + (dot.score.spread ?? 0)]), false)];
  const [width, height] = [byId("cost-chart").clientWidth - 76, byId("cost-chart").clientHeight - 78];
  for (const dot of dots) {
    dot.px = (((log ? Math.log10(dot.x) : dot.x) - rangeX[0]) / (rangeX[1] - rangeX[0])) * width;
    dot.py = (1 - (dot.y - rangeY[0]) / (rangeY[1] - rangeY[0])) * height;
  }
  const labels = placeLabels(dots, width, height);
  const edge = front(dots, price !== "images/s", HIGHER_IS_BETTER.test(gain));
  const traces = [
    { x: edge.map((dot) => dot.x), y: edge.map((dot) => dot.y), mode: "lines", line: { color: css("--strong-line"), width: 1.5, dash: "dot" }, hoverinfo: "skip" },
    {
      x: dots.map((dot) => dot.x), y: dots.map((dot) => dot.y), mode: "markers+text",
      text: labels.map((label) => plain(label.text)), textposition: labels.map((label) => label.position || "top center"),
      marker: { size: 11, color: dots.map((dot) => look(dot.unit).color), symbol: dots.map((dot) => look(dot.unit).symbol), line: { color: css("--page"), width: 1.5 } },
      error_y: { type: "data", array: dots.map((dot) => dot.score.spread ?? 0), visible: grouping(), color: css("--strong-line"), thickness: 1.5, width: 5 },
      hovertext: dots.map((dot) => plain(dot.unit.label) + (dot.score.spread == null ? "" : ` (n = ${dot.score.n}, ± ${dot.score.spread.toFixed(4)})`)),
      hovertemplate: "%{hovertext}<br>%{y:.4f} · %{x:.4~s}<extra></extra>",
    },
  ];
  return draw("cost-chart", traces, {
    xaxis: axis(byId("price").selectedOptions[0].text, { type: log ? "log" : "linear", range: rangeX, tickformat: log ? ".2~s" : "~s" }),
    yaxis: axis(plain(gain), { range: rangeY }),
    hovermode: "closest",
  });
}

fillGains();
for (const id of ["gain", "price", "cost-log"]) byId(id).addEventListener("change", drawCost);
drawings.push(drawCost);
