// Shared by all parts: the data, the runs shown, their colours, number formats, charts.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
runs.forEach((run, index) => { Object.assign(run, { index, place: index, members: [run] }); });
// Groups of runs look like runs: a label, a place that decides the colour, and members.
const groups = data.groups.map((group, index) => ({ label: group.label, place: index, members: group.runs.map((number) => runs[number]) }));
groups.forEach((group) => group.members.forEach((run) => { run.place = group.place; run.inGroup = group; }));

const byId = (id) => document.getElementById(id);

/** Create an element. Strings among the children become text nodes, never HTML. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const option = (value, text = value) => element("option", { value }, text);

// The runs that the charts show, and what to redraw when they change.

const STARTS_WITH = 20; // runs; more are hard to tell apart
const MOST = 100; // more take seconds to draw
const dataSets = [...new Set(runs.map((run) => run.data_set))];
let dataSet = dataSets[0]; // runs of different data sets are never ranked together
const ofDataSet = () => runs.filter((run) => run.data_set === dataSet);
const shown = new Set(ofDataSet().slice(0, STARTS_WITH).map((run) => run.index));
const drawings = [];
const shownRuns = () => runs.filter((run) => shown.has(run.index));

const grouping = () => groups.length > 0 && byId("mean").checked;

/** What the charts draw: the runs shown, or their groups with the members that are shown. */
function units() {
  if (!grouping()) return shownRuns();
  const found = groups.map((group) => ({ ...group, members: group.members.filter((run) => shown.has(run.index)) }));
  const first = (group) => group.members[0].index;
  return found.filter((group) => group.members.length).sort((a, b) => first(a) - first(b));
}

/** Mean, sample standard deviation and number of the members' values that are known; null without any. */
function average(unit, value) {
  const known = unit.members.map(value).filter((number) => number != null);
  if (!known.length) return null;
  const mean = known.reduce((sum, number) => sum + number, 0) / known.length;
  const spread = known.length > 1 ? Math.sqrt(known.reduce((sum, number) => sum + (number - mean) ** 2, 0) / (known.length - 1)) : null;
  return { mean, spread, n: known.length };
}

function redraw() {
  drawings.forEach((draw) => draw());
}

function show(some, on) {
  for (const run of some) {
    if (!on) shown.delete(run.index);
    else if (shown.size < MOST) shown.add(run.index);
  }
  redraw();
}

function showOnly(some) {
  shown.clear();
  some.slice(0, MOST).forEach((run) => shown.add(run.index));
  redraw();
}

// Looks: after the last colour, they repeat with another dash and symbol.

const COLORS = 7;
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SVG_DASHES = ["", "6 3", "2 2", "6 2 2 2"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look(unit) {
  const turn = Math.floor(unit.place / COLORS) % DASHES.length;
  return { color: css(`--c${unit.place % COLORS}`), dash: DASHES[turn], symbol: SYMBOLS[turn] };
}

/** A short line in the colour and dash of a run or group. */
function swatch(unit) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const turn = Math.floor(unit.place / COLORS) % DASHES.length;
  for (const [name, value] of Object.entries({ width: 22, height: 8, viewBox: "0 0 22 8", "aria-hidden": true })) svg.setAttribute(name, value);
  for (const [name, value] of Object.entries({ x1: 1, y1: 4, x2: 21, y2: 4 })) line.setAttribute(name, value);
  line.style.stroke = `var(--c${unit.place % COLORS})`;
  line.style.strokeWidth = 3;
  line.style.strokeDasharray = SVG_DASHES[turn];
  svg.append(line);
  return svg;
}

// Number formats.

const fixed = (value, digits = 4) => (value == null ? "–" : value.toFixed(digits));
const percent = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)} %`);
const asText = (value) => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

const millions = (value) => (value == null ? "–" : `${(value / 1e6).toFixed(2)} M`);
const billions = (value) => (value == null ? "–" : `${(value / 1e9).toFixed(2)} G`);

function duration(seconds) {
  if (seconds == null) return "–";
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${Math.round(seconds) % 60} s` : `${Math.round(seconds)} s`;
}

/** Escape a name for Plotly, which interprets some tags. */
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const shortened = (text, length = 30) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

// Theme: the system's, unless the button was used.

const system = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null;
try { chosenTheme = localStorage.getItem("report-theme"); } catch { /* some browsers have no storage for files */ }

function applyTheme() {
  const dark = chosenTheme ? chosenTheme === "dark" : system.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").textContent = dark ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
}

byId("theme").addEventListener("click", () => {
  chosenTheme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("report-theme", chosenTheme); } catch { /* as above */ }
  applyTheme();
  redraw();
});
system.addEventListener("change", () => { applyTheme(); redraw(); });
applyTheme();

// Charts.

function axis(title, more = {}) {
  return {
    title: { text: title, standoff: 12 }, gridcolor: css("--line"), linecolor: css("--strong-line"), zeroline: false,
    automargin: true, ...more,
  };
}

function draw(id, traces, layout) {
  const touch = matchMedia("(pointer: coarse)").matches; // so that a finger on a chart scrolls the page
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: touch ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--text") },
    margin: { l: 50, r: 16, t: 28, b: 44 },
    hoverlabel: { bgcolor: css("--page"), bordercolor: css("--strong-line"), font: { color: css("--text") }, namelength: 40 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
  };
  byId(id).classList.remove("nothing");
  // Listed explicitly: one of the default buttons would send the chart to plotly.com.
  const modeBarButtons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
  const options = { responsive: true, displaylogo: false, displayModeBar: touch ? false : "hover", modeBarButtons, plotlyServerURL: "" };
  return Plotly.react(byId(id), traces, { ...base, ...layout }, options);
}

/** Remove the chart; the note below it says why. */
function drawNothing(id) {
  Plotly.purge(byId(id));
  byId(id).classList.add("nothing");
}
