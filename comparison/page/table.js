// The table of runs: sorting, filtering, and selecting runs for the charts.

const status = (run) => (run.status === "running?" ? "silent" : ["finished", "running", "failed", "interrupted", "killed", "pruned"].includes(run.status) ? run.status : "unknown");

const COLUMNS = [
  { title: "run", value: (run) => run.label, kind: "name", cell: nameCell },
  { title: "mIoU", value: (run) => run.mIoU, best: Math.max, format: fixed, note: (run) => run.epoch && `epoch ${run.epoch}` },
  ...data.columns.filter((column) => column.score).map(({ name, higher }) => ({ title: name, value: (run) => run.values[name], best: higher ? Math.max : Math.min, format: fixed })),
  { title: "Dice", value: (run) => run.Dice, best: Math.max, format: fixed },
  { title: "status", value: (run) => run.status, cell: statusCell },
  { title: "parameters", value: (run) => run.parameters, best: Math.min, format: millions },
  { title: "MACs", value: (run) => run.MACs, best: Math.min, format: billions },
  { title: "images/s", value: (run) => run["images/s"], best: Math.max, format: (value) => fixed(value, 1) },
  { title: "duration", value: (run) => run.seconds, kind: "number", format: duration },
  { title: "model", value: (run) => run.model },
  { title: "data", value: (run) => run.data },
  ...[...data.keys, ...data.columns.filter((column) => !column.score).map((column) => column.name)].map((key) => ({ title: key, value: (run) => run.values[key], kind: "value", format: (value) => asText(value ?? "–") })),
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
  const box = element("input", { type: "checkbox", onchange: (event) => show([run], event.target.checked) });
  box.checked = shown.has(run.index);
  box.dataset.run = run.index;
  const folder = element("span", { class: "folder", title: run.folder }, run.run);
  return element("th", { scope: "row", class: "name" }, element("label", {}, box, swatch(run), element("span", {}, run.label)), folder);
}

const unfolded = new Set();

/** The name of a group, with a button that unfolds its runs. */
function groupNameCell(group) {
  const on = group.members.filter((run) => shown.has(run.index)).length;
  const box = element("input", { type: "checkbox", onchange: (event) => show(group.members, event.target.checked) });
  box.checked = on > 0;
  box.indeterminate = on > 0 && on < group.members.length;
  const open = unfolded.has(group.place);
  const toggle = element("button", { type: "button", class: "toggle", "aria-expanded": String(open), "aria-label": `Runs of ${group.label}`, onclick: () => {
    if (!unfolded.delete(group.place)) unfolded.add(group.place);
    listRows();
    byId("table").querySelector(`tr[data-group="${group.place}"] .toggle`)?.focus();
  } }, open ? "▾" : "▸");
  const name = element("label", {}, box, swatch(group), element("span", {}, group.label));
  return element("th", { scope: "row", class: "name" }, element("span", { class: "line" }, toggle, name), element("span", { class: "folder" }, plural(group.members.length, "run")));
}

/** The group without runs that have no mIoU, unless none has one: they may have ended after a moment. */
function counted(group) {
  const members = group.members.filter((run) => run.mIoU != null);
  return members.length ? { ...group, members } : group;
}

/** Whether all counted members have a value: a mean of some of them is not the best one. */
const isComplete = (group, column) => counted(group).members.every((run) => column.value(run) != null);

/** The mean of a column of numbers, else what all members have in common; null if there is neither. */
function groupValue(group, column) {
  if (column.kind === "name") return group.label;
  if (isNumber(column)) return average(counted(group), column.value)?.mean ?? null;
  const values = [...new Set(group.members.map((run) => asText(column.value(run) ?? "")))];
  return values.length === 1 ? column.value(group.members[0]) : null;
}

function groupRow(group) {
  const cells = COLUMNS.map((column) => {
    if (column.kind === "name") return groupNameCell(group);
    if (column.title === "status") {
      const states = [...new Set(group.members.map((run) => run.status))];
      return element("td", {}, ...states.map((state) => element("span", { class: `status ${status({ status: state })}` }, `${group.members.filter((run) => run.status === state).length} ${state} `)));
    }
    const value = groupValue(group, column);
    if (!isNumber(column)) return element("td", { class: column.kind ?? null }, value == null ? "" : column.format ? column.format(value) : value);
    const found = average(counted(group), column.value);
    const all = column.title === "mIoU" ? group.members.length : counted(group).members.length;
    const spread = found?.spread != null && column.format === fixed ? ` ± ${fixed(found.spread)}` : "";
    const lacking = found && found.n < all ? element("span", { class: "of" }, `${found.n} of ${all}`) : null;
    return element("td", { class: value != null && isComplete(group, column) && value === bestOf(column).group ? "number best" : "number" }, (column.format ?? asText)(value) + spread, lacking);
  });
  return element("tr", { class: "group", "data-group": group.place }, ...cells);
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

function rowOf(run) {
  const cells = COLUMNS.map((column) => {
    if (column.cell) return column.cell(run);
    const value = column.value(run);
    const kind = [isNumber(column) ? "number" : column.kind ?? "", value != null && value === bestOf(column)[run.data_set] ? "best" : ""];
    const text = column.format ? column.format(value) : value ?? "";
    const note = column.note?.(run);
    return element("td", { class: kind.join(" ").trim() || null }, text, note ? element("span", { class: "of" }, note) : null);
  });
  return element("tr", {}, ...cells);
}

/** The best value of a column in each data set, and of the groups of the one shown. */
function bestOf(column) {
  const pick = (values) => (column.best && new Set(values).size > 1 ? column.best(...values) : undefined);
  const known = (list) => list.filter((value) => value != null);
  column.bests ??= Object.fromEntries(dataSets.map((name) => [name, pick(known(runs.filter((run) => run.data_set === name).map(column.value)))]));
  const here = groups.filter((group) => group.members[0].data_set === dataSet);
  return { ...column.bests, group: pick(known(here.filter((group) => isComplete(group, column)).map((group) => groupValue(group, column)))) };
}

const rows = runs.map((run) => rowOf(run));

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
  const [first, second] = [a, b].map((unit) => (groups.includes(unit) ? groupValue(unit, sortColumn) : sortColumn.value(unit)));
  if ((first ?? "") === "" || (second ?? "") === "") return ((first ?? "") === "") - ((second ?? "") === "");
  const numbers = typeof first === "number" && typeof second === "number";
  const order = numbers ? first - second : asText(first).localeCompare(asText(second), "en", { numeric: true });
  return ascending ? order : -order;
}

/** The runs that match every word or "quoted phrase" of the filter, in the order of the table. */
function listed() {
  const wanted = [...byId("filter").value.toLowerCase().matchAll(/"([^"]+)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
  const found = ofDataSet().filter((run) => wanted.every((word) => words[run.index].includes(word)));
  return sortColumn ? found.sort(compare) : found;
}

function listRows() {
  const found = listed();
  rows.forEach((row) => row.classList.toggle("member", grouping()));
  byId("table").tBodies[0].replaceChildren(...(grouping() ? groupedRows(found) : found.map((run) => rows[run.index])));
  countRuns(found);
}

/** The rows of the groups with a run in the list, each followed by its runs in the list if it is unfolded. */
function groupedRows(found) {
  const here = groups.filter((group) => group.members.some((run) => found.includes(run)));
  if (sortColumn) here.sort(compare);
  return here.flatMap((group) => [groupRow(group), ...(unfolded.has(group.place) ? found.filter((run) => run.inGroup === group).map((run) => rows[run.index]) : [])]);
}

function countRuns(found) {
  const all = ofDataSet().length;
  const which = found.length === all ? plural(all, "run") : `${found.length} of ${plural(all, "run")}`;
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
  if (grouping()) listRows(); // the boxes of groups
  else countRuns(listed());
});

if (groups.length) {
  byId("mean-label").hidden = false;
  byId("mean-label").querySelector("span").textContent = `mean ± deviation over ${data.group_by}`;
  byId("mean").addEventListener("change", () => { listRows(); redraw(); });
}
if (dataSets.length > 1) {
  byId("data-set-label").hidden = false;
  byId("data-set").append(...dataSets.map((name) => option(name)));
  byId("data-set").addEventListener("change", (event) => {
    dataSet = event.target.value;
    listRows();
    showOnly(ofDataSet().slice(0, STARTS_WITH));
  });
}

byId("title").textContent = `Comparison of ${plural(runs.length, "run")}`;
document.title = `${byId("title").textContent}: ${data.source}`;
byId("summary").textContent = [`${data.source}, as of ${data.made}`, ...(dataSets.length === 1 && runs.some((run) => run.mIoU != null) ? [`best mIoU ${fixed(Math.max(...runs.map((run) => run.mIoU ?? 0)))}`] : [])].join(" · ");
byId("unfinished").hidden = !data.unfinished.length;
byId("unfinished").textContent = data.unfinished.join("\n");
if (data.skipped.length) {
  const box = byId("skipped");
  box.hidden = false;
  box.querySelector("summary").textContent = `${plural(data.skipped.length, "folder")} skipped`;
  box.querySelector("ul").append(...data.skipped.map((reason) => element("li", {}, reason)));
}
