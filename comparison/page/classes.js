// Per class: the heat map of IoU over runs, and the confusion matrix of one run.

const CELL = { narrowest: 46, widest: 84, height: 30 };
const classesOf = (run) => Object.keys(run.best).filter((key) => key.startsWith("val/iou/")).map((key) => key.slice("val/iou/".length));
const SETS = new Map(); // list of classes, as JSON -> the runs that have it
for (const run of runs) {
  const key = JSON.stringify(classesOf(run));
  if (key !== "[]") SETS.set(key, [...(SETS.get(key) ?? []), run]);
}

/** The run or group that an option stands for: `3` is a run, `g3` a group. */
const unitNamed = (value) => (value.startsWith("g") ? groups[value.slice(1)] : runs[value]);

/** The sum of the members' confusion matrices; null if one has none, or has other classes. */
function confusionOf(unit) {
  const [first, ...others] = unit.members.map((run) => run.confusion);
  if (!first || others.some((other) => JSON.stringify(other?.classes) !== JSON.stringify(first.classes))) return null;
  const counts = first.counts.map((row, i) => row.map((count, j) => others.reduce((sum, other) => sum + other.counts[i][j], count)));
  return { classes: first.classes, counts };
}

function drawClasses() {
  const classes = JSON.parse(byId("class-set").value || "[]");
  const fits = (run) => JSON.stringify(classesOf(run)) === byId("class-set").value;
  const miou = (unit) => average(unit, (run) => run.mIoU)?.mean ?? -1;
  const ranked = units().map((unit) => ({ ...unit, members: unit.members.filter(fits) })).filter((unit) => unit.members.length).sort((a, b) => miou(b) - miou(a));
  const base = unitNamed(byId("relative").value);
  const lacking = units().length - ranked.length;
  byId("classes-note").textContent = lacking ? `${plural(lacking, grouping() ? "shown group" : "shown run")} without IoU of these classes.` : "";
  if (!ranked.length) return drawNothing("classes-chart");
  const columns = [["mIoU", "val/miou"], ...classes.map((name) => [name, `val/iou/${name}`])];
  const value = (unit, key) => {
    const [own, other] = [unit, base].map((each) => each && average(each, (run) => run.best[key])?.mean);
    return own == null || (base && other == null) ? null : base ? own - other : own;
  };
  const z = ranked.map((run) => columns.map(([, key]) => value(run, key)));
  const largest = Math.max(0.01, ...z.flat().map((number) => Math.abs(number ?? 0)));
  const signed = (number, digits) => (number == null ? "–" : `${base && number > 0 ? "+" : ""}${number.toFixed(digits)}`);
  const trace = {
    type: "heatmap", z, xgap: 2, ygap: 2, showscale: false, zmin: base ? -largest : 0, zmax: base ? largest : 1,
    colorscale: base ? [[0, css("--negative")], [0.5, css("--neutral")], [1, css("--positive")]] : [[0, css("--low")], [1, css("--high")]],
    text: z.map((row) => row.map((number) => signed(number, 2))), texttemplate: "%{text}", textfont: { size: 12, color: css("--text") },
    hovertext: z.map((row, i) => row.map((number, j) => `${plain(ranked[i].label)}<br>${plain(columns[j][0])}: ${signed(number, 4)}`)),
    hovertemplate: "%{hovertext}<extra></extra>",
  };
  const names = ranked.map((run) => shortened(run.label, innerWidth < 640 ? 14 : 34));
  const left = Math.min(270, 22 + 7.4 * Math.max(...names.map((name) => name.length)));
  const top = 24 + 5.5 * Math.max(...columns.map(([name]) => Math.min(name.length, 24)));
  const right = top * 0.75; // for the last slanted name
  const room = (byId("classes-chart").parentElement.clientWidth - left - right) / columns.length;
  const cell = Math.max(CELL.narrowest, Math.min(CELL.widest, room));
  return draw("classes-chart", [trace], {
    width: left + right + cell * columns.length, height: top + 8 + CELL.height * ranked.length, margin: { l: left, r: right, t: top, b: 8 },
    xaxis: { side: "top", tickvals: columns.map((_, j) => j), ticktext: columns.map(([name]) => plain(shortened(name, 24))), tickangle: -45, showgrid: false, zeroline: false, fixedrange: true, ticks: "" },
    yaxis: { autorange: "reversed", tickvals: ranked.map((_, i) => i), ticktext: names.map(plain), showgrid: false, zeroline: false, fixedrange: true, ticks: "", ticklabelstandoff: 4 },
  });
}

function drawConfusion() {
  const unit = unitNamed(byId("confusion-run").value);
  const lacking = runs.filter((other) => !other.confusion);
  const left = lacking.filter((other) => other.confusion_left_out).length;
  byId("confusion-note").textContent = [
    lacking.length > left ? `${plural(lacking.length - left, "run")} without figures/confusion_matrix.csv: failed, interrupted or still running.` : "",
    left ? `That of ${plural(left, "more run")} is omitted to keep this file small.` : "",
  ].filter(Boolean).join(" ");
  if (!unit) return drawNothing("confusion-chart");
  const { classes, counts } = confusionOf(unit);
  const sums = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const share = byId("confusion-unit").value === "share";
  const shares = counts.map((row, i) => row.map((count) => (sums[i] ? (100 * count) / sums[i] : 0)));
  const whole = sums.reduce((sum, count) => sum + count, 0);
  const text = counts.map((row, i) => row.map((count, j) => {
    if (classes.length > 30) return "";
    if (share) return shares[i][j] >= 0.5 ? shares[i][j].toFixed(0) : "";
    return count ? (count < 1000 ? `${count}` : `${(count / (count < 1e6 ? 1e3 : 1e6)).toPrecision(2).replace(/e.*/, "")}${count < 1e6 ? "k" : "M"}`) : "";
  }));
  const trace = {
    type: "heatmap", z: share ? shares : counts, xgap: 1, ygap: 1, showscale: false, zmin: 0, ...(share ? { zmax: 100 } : {}),
    colorscale: [[0, css("--low")], [1, css("--high")]], text, texttemplate: "%{text}", textfont: { size: 12, color: css("--text") },
    hovertext: counts.map((row, i) => row.map((count, j) => `true ${plain(classes[i])}, predicted ${plain(classes[j])}<br>${count.toLocaleString("en")} pixels<br>${shares[i][j].toFixed(2)} % of the true class, ${(100 * count / (whole || 1)).toFixed(2)} % of all`)),
    hovertemplate: "%{hovertext}<extra></extra>",
  };
  const cell = classes.length > 30 ? 18 : classes.length > 15 ? 34 : 46;
  const names = classes.map((name) => plain(shortened(name, 22)));
  const room = 40 + 7.5 * Math.max(...classes.map((name) => Math.min(name.length, 22)));
  const ticks = { tickvals: classes.map((_, i) => i), ticktext: names, ticks: "", ticklabelstandoff: 4, showgrid: false, zeroline: false, fixedrange: true, tickfont: { size: cell < 20 ? 10 : 13 } };
  return draw("confusion-chart", [trace], {
    width: room + 40 + cell * classes.length, height: room * 0.8 + 24 + cell * classes.length, margin: { l: room, r: 40, t: 8, b: room * 0.8 + 16 },
    xaxis: { ...ticks, title: { text: "predicted class" }, tickangle: -45 },
    yaxis: { ...ticks, title: { text: "true class" }, autorange: "reversed" },
  });
}

byId("class-set-label").hidden = SETS.size < 2;
byId("class-set").append(...[...SETS].map(([key, members]) => option(key, `${[...new Set(members.map((run) => run.data))].join(", ")} (${JSON.parse(key).length})`)));
byId("relative").append(option("", "IoU"), ...groups.map((group) => option(`g${group.place}`, `difference to ${group.label}`)), ...runs.filter((run) => classesOf(run).length).map((run) => option(run.index, `difference to ${run.label}`)));
if (data.baseline != null) byId("relative").value = groups.length ? `g${runs[data.baseline].place}` : data.baseline;
const sums = groups.filter((group) => group.members.length > 1 && confusionOf(group));
byId("confusion-run").append(...sums.map((group) => option(`g${group.place}`, `${group.label}: sum of ${group.members.length} runs`)), ...runs.filter((run) => run.confusion).map((run) => option(run.index, run.label)));
for (const id of ["class-set", "relative"]) byId(id).addEventListener("change", drawClasses);
for (const id of ["confusion-run", "confusion-unit"]) byId(id).addEventListener("change", drawConfusion);
drawings.push(drawClasses, drawConfusion);
