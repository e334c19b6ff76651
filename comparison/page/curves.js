// Learning curves: any column of metrics.csv over epochs, steps or time.

const COMMON = ["val/miou", "val/loss", "train/loss", "val/dice", "val/pixel_accuracy", "lr"];

function fillMetrics() {
  const columns = [...new Set(runs.flatMap((run) => [...Object.keys(run.curves), ...Object.keys(run.validations)]))].filter((name) => !["epoch", "step", "time"].includes(name));
  const groups = new Map([["common", []], ["terms of the loss", []], ["IoU of a class", []], ["other", []]]);
  for (const name of columns) {
    const group = COMMON.includes(name) ? "common" : name.startsWith("val/iou/") ? "IoU of a class" : /^(train|val)\//.test(name) ? "terms of the loss" : "other";
    groups.get(group).push(name);
  }
  groups.get("common").sort((a, b) => COMMON.indexOf(a) - COMMON.indexOf(b));
  for (const [label, names] of groups) {
    if (names.length) byId("metric").append(element("optgroup", { label }, ...names.map((name) => option(name))));
  }
}

/** Exponential moving average, corrected for its bias to zero at the start. */
function smoothed(values, weight) {
  let sum = 0;
  return values.map((value, i) => {
    sum = weight * sum + (1 - weight) * value;
    return sum / (1 - weight ** (i + 1));
  });
}

function points(run, metric, over) {
  const table = metric.startsWith("val/") ? run.validations : run.curves;
  const [xs, ys, epochs] = [over, metric, "epoch"].map((name) => (Object.hasOwn(table, name) ? table[name] : []));
  const known = ys.map((_, i) => i).filter((i) => ys[i] != null && xs[i] != null);
  return { x: known.map((i) => xs[i]), y: known.map((i) => ys[i]), epochs: known.map((i) => epochs[i]) };
}

/** Mean and standard deviation over runs, at each epoch that all runs spanning it have. */
function meanOf(members, metric, over, weight) {
  const at = new Map();
  const spans = [];
  for (const run of members) {
    const { x, y, epochs } = points(run, metric, over);
    spans.push([epochs[0], epochs.at(-1)]);
    smoothed(y, weight).forEach((value, i) => {
      if (!at.has(epochs[i])) at.set(epochs[i], { x: [], y: [] });
      at.get(epochs[i]).x.push(x[i]);
      at.get(epochs[i]).y.push(value);
    });
  }
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const all = [...at.keys()].sort((a, b) => a - b);
  const shared = all.filter((epoch) => at.get(epoch).y.length >= spans.filter(([from, to]) => from <= epoch && epoch <= to).length);
  const steps = (shared.length ? shared : all).map((epoch) => {
    const { x, y } = at.get(epoch);
    const middle = mean(y);
    const spread = y.length > 1 ? Math.sqrt(y.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (y.length - 1)) : 0;
    return { x: mean(x), middle, spread };
  });
  return { x: steps.map((s) => s.x), middle: steps.map((s) => s.middle), spread: steps.map((s) => s.spread) };
}

function faded(color, opacity) {
  const parts = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  return `rgba(${parts.join(",")},${opacity})`;
}

function lineOf(run, name, x, y) {
  const { color, dash, symbol } = look(run);
  const mode = x.length <= 40 ? "lines+markers" : "lines";
  return { x, y, name: plain(name), mode, line: { color, dash, width: 2 }, marker: { color, symbol, size: 5 } };
}

function groupTraces(metric, over, weight) {
  return units().flatMap((group) => {
    const members = group.members.filter((run) => points(run, metric, over).x.length);
    if (!members.length) return [];
    const n = members.length < group.members.length ? `${members.length} of ${group.members.length}` : members.length;
    const { x, middle, spread } = meanOf(members, metric, over, weight);
    const { color } = look(group);
    const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
    return [
      { ...edge, x, y: middle.map((value, i) => value - spread[i]) },
      { ...edge, x, y: middle.map((value, i) => value + spread[i]), fill: "tonexty", fillcolor: faded(color, 0.2) },
      { ...lineOf(group, `${group.label} (n = ${n})`, x, middle), customdata: spread, hovertemplate: "%{y:.4~g} ± %{customdata:.2~g}" },
    ];
  });
}

function runTraces(metric, over, weight) {
  return shownRuns().flatMap((run) => {
    const { x, y } = points(run, metric, over);
    if (!x.length) return [];
    const line = { ...lineOf(run, run.label, x, smoothed(y, weight)), hovertemplate: "%{y:.4~g}" };
    const raw = { x, y, mode: "lines", line: { color: line.line.color, width: 1 }, opacity: 0.3, hoverinfo: "skip" };
    return weight > 0 ? [raw, line] : [line];
  });
}

function drawCurves() {
  const [metric, over, weight] = [byId("metric").value, byId("over").value, byId("smoothing").valueAsNumber];
  byId("smoothing-value").textContent = weight ? weight.toFixed(2) : "off";
  const traces = grouping() ? groupTraces(metric, over, weight) : runTraces(metric, over, weight);
  const most = Math.max(0, ...traces.flatMap((trace) => trace.x));
  const [unit, seconds] = most > 7200 ? ["hours", 3600] : most > 120 ? ["minutes", 60] : ["seconds", 1];
  if (over === "time") traces.forEach((trace) => { trace.x = trace.x.map((value) => value / seconds); });
  const lacking = shownRuns().filter((run) => !points(run, metric, over).x.length);
  const thinned = shownRuns().some((run) => (run.curves.epoch ?? []).length < run.epochs);
  byId("curves-note").textContent = [
    !shown.size ? "No run is shown: select some in the table." : "",
    lacking.length ? `No ${metric || "metrics"} yet: ${lacking.slice(0, 6).map((run) => run.label).join("; ")}${lacking.length > 6 ? ` and ${lacking.length - 6} more` : ""}.` : "",
    thinned ? "Some epochs are omitted to keep this file small; metrics.csv of each run has all of them." : "",
  ].filter(Boolean).join(" ");
  if (!traces.length) return drawNothing("curves-chart");
  return draw("curves-chart", traces, {
    xaxis: axis(over === "time" ? `time in ${unit}` : over, over === "epoch" ? { rangemode: "normal" } : {}),
    yaxis: axis(plain(metric), { type: byId("log").checked ? "log" : "linear" }),
    hovermode: shown.size > 12 ? "closest" : "x unified",
  });
}

function drawLegend() {
  const all = grouping() ? groups.filter((group) => group.members[0].data_set === dataSet) : ofDataSet();
  const listedHere = all.length <= 40 ? all : units();
  const focused = document.activeElement?.closest("#legend button")?.dataset.place;
  byId("legend").replaceChildren(...listedHere.map((unit, index) => {
    const members = groups[unit.place]?.label === unit.label && grouping() ? groups[unit.place].members : unit.members;
    const on = members.some((run) => shown.has(run.index));
    return element("button", {
      type: "button", "aria-pressed": String(on), "data-place": index, title: members.map((run) => run.folder).join("\n"), onclick: () => show(members, !on),
    }, swatch(unit), unit.label);
  }));
  if (focused !== undefined) byId("legend").querySelector(`[data-place="${focused}"]`)?.focus();
}

fillMetrics();
for (const id of ["metric", "over", "log"]) byId(id).addEventListener("change", drawCurves);
byId("smoothing").addEventListener("input", drawCurves);
drawings.push(drawLegend, drawCurves);
