// The table of runs: sorting, filtering, and selecting runs for the charts.

const status = (run) => (run.status === "running?" ? "silent" : ["finished", "running", "failed", "interrupted", "killed", "pruned"].includes(run.status) ? run.status : "unknown");

const COLUMNS = [
  { title: "run", value: (run) => run.label, kind: "name", cell: nameCell },
  { title: "mIoU", value: (run) => run.mIoU, best: Math.max, text: (run) => fixed(run.mIoU), note: (run) => run.epoch && `epoch ${run.epoch}` },
  { title: "Dice", value: (run) => run.Dice, best: Math.max, text: (run) => fixed(run.Dice) },
  { title: "status", value: (run) => run.status, cell: statusCell },
  { title: "parameters", value: (run) => run.parameters, best: Math.min, text: (run) => millions(run.parameters) },
  { title: "MACs", value: (run) => run.MACs, best: Math.min, text: (run) => billions(run.MACs) },
  { title: "images/s", value: (run) => run["images/s"], best: Math.max, text: (run) => fixed(run["images/s"], 1) },
  { title: "duration", value: (run) => run.seconds, kind: "number", text: (run) => duration(run.seconds) },
  { title: "model", value: (run) => run.model },
  { title: "data", value: (run) => run.data },
  ...data.keys.map((key) => ({ title: key, value: (run) => run.values[key], kind: "value", text: (run) => asText(run.values[key] ?? "–") })),
];
if (runs.some((run) => run.notes)) COLUMNS.splice(4, 0, { title: "notes", value: (run) => run.notes, kind: "notes" });
const isNumber = (column) => column.kind === "number" || Boolean(column.best);

const words = runs.map((run) => {
  const config = run.config ? { ...data.common, ...run.config } : {};
  const keys = Object.entries(config).map(([key, value]) => `${key}=${asText(value)}`);
  const cells = COLUMNS.filter((column) => column.value(run) != null).map((column) => `${column.title}=${asText(column.value(run))}`);
  return [run.label, run.run, run.name, run.notes, run.status, run.error, run.model, run.data, ...cells, ...keys].join("\n").toLowerCase();
});

let sortColumn = null;
let ascending = true;

function nameCell(run) {
  const box = element("input", { type: "checkbox", onchange: (event) => show(run, event.target.checked) });
  box.checked = shown.has(run.index);
  box.dataset.run = run.index;
  const folder = element("span", { class: "folder", title: run.folder }, run.run);
  return element("th", { scope: "row", class: "name" }, element("label", {}, box, swatch(run), element("span", {}, run.label)), folder);
}

/** The error that ended a run; a long one is folded. */
function errorOf(run) {
  if (!run.error || run.status === "finished") return null;
  if (run.error.length <= 90) return element("span", { class: "error" }, run.error);
  return element("details", { class: "error" }, element("summary", {}, shortened(run.error.split("\n")[0], 70)), run.error);
}

function statusCell(run) {
  const hint = run.status === "running?" ? element("span", { class: "of" }, "has not written anything for a while") : null;
  return element("td", {}, element("span", { class: `status ${status(run)}` }, run.status), errorOf(run), hint);
}

function rowOf(run, best) {
  const cells = COLUMNS.map((column) => {
    if (column.cell) return column.cell(run);
    const value = column.value(run);
    const kind = [isNumber(column) ? "number" : column.kind ?? "", value != null && value === best.get(column) ? "best" : ""];
    const text = column.text ? column.text(run) : value ?? "";
    const note = column.note?.(run);
    return element("td", { class: kind.join(" ").trim() || null }, text, note ? element("span", { class: "of" }, note) : null);
  });
  return element("tr", {}, ...cells);
}

const best = new Map(COLUMNS.filter((column) => column.best).map((column) => {
  const values = runs.map(column.value).filter((value) => value != null);
  return [column, new Set(values).size > 1 ? column.best(...values) : undefined];
}));
const rows = runs.map((run) => rowOf(run, best));

for (const column of COLUMNS) {
  const button = element("button", { type: "button", onclick: () => sortBy(column) }, column.title);
  const kind = isNumber(column) ? "number" : column.kind === "name" ? "name" : null;
  column.head = element("th", { scope: "col", class: kind }, button);
  byId("table").tHead.rows[0].append(column.head);
}

/** Sort by a column, best first; a second time in reverse. Missing values stay last. */
function sortBy(column) {
  ascending = sortColumn === column ? !ascending : column.best !== Math.max;
  sortColumn = column;
  COLUMNS.forEach(({ head }) => head.removeAttribute("aria-sort"));
  column.head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  listRows();
}

function compare(a, b) {
  const [first, second] = [sortColumn.value(a), sortColumn.value(b)];
  if ((first ?? "") === "" || (second ?? "") === "") return ((first ?? "") === "") - ((second ?? "") === "");
  const numbers = typeof first === "number" && typeof second === "number";
  const order = numbers ? first - second : asText(first).localeCompare(asText(second), "en", { numeric: true });
  return ascending ? order : -order;
}

/** The runs that match every word or "quoted phrase" of the filter, in the order of the table. */
function listed() {
  const wanted = [...byId("filter").value.toLowerCase().matchAll(/"([^"]+)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
  const found = runs.filter((run) => wanted.every((word) => words[run.index].includes(word)));
  return sortColumn ? found.sort(compare) : found;
}

function listRows() {
  const found = listed();
  byId("table").tBodies[0].replaceChildren(...found.map((run) => rows[run.index]));
  countRuns(found);
}

function countRuns(found) {
  const which = found.length === runs.length ? plural(runs.length, "run") : `${found.length} of ${plural(runs.length, "run")}`;
  byId("count").textContent = `${which}, ${shown.size} in the charts${shown.size >= MOST ? ", the most at once" : ""}`;
}

byId("filter").addEventListener("input", listRows);
byId("show-all").addEventListener("click", () => showOnly(listed()));
byId("show-none").addEventListener("click", () => showOnly([]));
byId("show-best").addEventListener("click", () => {
  const ranked = listed().filter((run) => run.mIoU != null).sort((a, b) => b.mIoU - a.mIoU);
  showOnly(ranked.slice(0, Math.max(1, byId("best-count").valueAsNumber || 1)));
});
const TITLES = new Map([[null, "mIoU"], ["val/miou", "mIoU"], ["val/dice", "Dice"], ["seconds", "duration"]]);
const sortedBy = COLUMNS.find((column) => column.title === (TITLES.get(data.sort) ?? data.sort)); // the order of the runs in the data
if (sortedBy) sortBy(sortedBy);
else listRows();
drawings.push(() => {
  rows.forEach((row, index) => { row.querySelector("input").checked = shown.has(index); });
  countRuns(listed());
});

byId("title").textContent = `Comparison of ${plural(runs.length, "run")}`;
document.title = `${byId("title").textContent}: ${data.source}`;
byId("summary").textContent = [`${data.source}, as of ${data.made}`, ...(runs.some((run) => run.mIoU != null) ? [`best mIoU ${fixed(Math.max(...runs.map((run) => run.mIoU ?? 0)))}`] : [])].join(" · ");
if (data.skipped.length) {
  const box = byId("skipped");
  box.hidden = false;
  box.querySelector("summary").textContent = `${plural(data.skipped.length, "folder")} skipped`;
  box.querySelector("ul").append(...data.skipped.map((reason) => element("li", {}, reason)));
}
