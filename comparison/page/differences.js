// Differences between groups, or to a baseline, as dots with their confidence intervals.

const intervalText = (ends, note) => (ends ? `${ends.slice(0, 2).map((end) => `${end > 0 ? "+" : ""}${end.toFixed(4)}`).join(" to ")}` : note);
const isClear = (ends) => Boolean(ends) && (ends[0] > 0 || ends[1] < 0);

function drawDifferences() {
  const found = data.differences.find((entry) => entry.data_set === dataSet);
  byId("differences").hidden = !found;
  document.querySelector('nav a[href="#differences"]').hidden = !found;
  if (!found) return drawNothing("differences-chart");
  const rows = found.rows.filter((row) => row.value != null).sort((a, b) => b.value - a.value);
  byId("differences-title").textContent = `Differences in ${found.metric} to ${found.reference}`;
  byId("intervals").tHead.rows[0].cells[0].textContent = `compared with ${found.reference}`;
  byId("intervals").tBodies[0].replaceChildren(...rows.map((row) => element("tr", {},
    element("th", { scope: "row" }, row.label),
    element("td", { class: "number" }, `${row.value > 0 ? "+" : ""}${row.value.toFixed(4)}`),
    ...[[row.seeds, row.seeds_note], [row.photos, row.photos_note]].map(([ends, note]) => element("td", { class: isClear(ends) ? "clear" : ends ? null : "muted" }, intervalText(ends, note))))));
  if (!rows.length) return drawNothing("differences-chart");
  const bars = (name, shift, dash, symbol) => rows.flatMap((row, index) => (row[name] ? [{
    x: [row[name][0], row[name][2], row[name][1]], y: [index + shift, index + shift, index + shift], mode: "lines+markers", line: { color: look(row).color, width: 2.5, dash },
    marker: { color: look(row).color, size: [9, 9, 9], symbol: ["line-ns-open", symbol, "line-ns-open"], line: { width: 2, color: look(row).color } },
    name: `${plain(row.label)}, over ${name}`, hovertemplate: `%{x:+.4f}<extra>${plain(row.label)}, over ${name}</extra>`,
  }] : []));
  const without = rows.flatMap((row, index) => (row.seeds || row.photos ? [] : [index]));
  const dots = {
    x: without.map((index) => rows[index].value), y: without, mode: "markers", marker: { size: 10, color: without.map((index) => look(rows[index]).color) },
    hovertext: without.map((index) => plain(rows[index].label)), hovertemplate: "%{x:+.4f}<extra>%{hovertext}</extra>",
  };
  const narrow = innerWidth < 640;
  const names = rows.map((row) => plain(shortened(row.label, narrow ? 14 : 34)));
  byId("differences-chart").style.height = `${110 + 58 * rows.length}px`;
  return draw("differences-chart", [...bars("seeds", -0.14, "solid", "circle"), ...bars("photos", 0.14, "dot", "diamond"), dots], {
    xaxis: axis(narrow ? "difference" : `difference in ${plain(found.metric)}: solid over seeds, dotted over photos`, { rangemode: "tozero", zeroline: true, zerolinecolor: css("--strong-line"), zerolinewidth: 2, tickformat: "+~r", nticks: narrow ? 4 : 10 }),
    yaxis: { tickvals: rows.map((_, index) => index), ticktext: names, range: [rows.length - 0.5, -0.5], automargin: true, showgrid: false, zeroline: false, ticklabelstandoff: 4 },
    hovermode: "closest", margin: { l: 20, r: 16, t: 12, b: 44 },
  });
}

drawings.push(drawDifferences);
