// The differences of two configs.

function drawDifference() {
  const [a, b] = [runs[byId("first").value], runs[byId("second").value]];
  const body = byId("difference").tBodies[0];
  const unread = [a, b].filter((run) => run && !run.config);
  body.replaceChildren();
  byId("difference").parentElement.hidden = true;
  byId("config-note").textContent = unread.map((run) => `${run.label} has no readable config.yaml.`).join(" ");
  if (!a || !b || unread.length) return;
  [a, b].forEach((run, place) => { byId("difference").tHead.rows[0].cells[place + 1].textContent = run.label; });
  const [first, second] = [a, b].map((run) => Object.assign(Object.create(null), data.common, run.config)); // no inherited names
  const keys = [...new Set([...Object.keys(first), ...Object.keys(second)])].sort();
  const differing = keys.filter((key) => asText(first[key]) !== asText(second[key]));
  const all = byId("all-keys").checked;
  body.append(...(all ? keys : differing).map((key) => element("tr", { class: all && differing.includes(key) ? "differs" : null },
    element("th", { scope: "row" }, key),
    ...[first, second].map((config) => element("td", {}, key in config ? asText(config[key]) : "–")))));
  byId("difference").parentElement.hidden = !body.rows.length;
  byId("config-note").textContent = differing.length ? `${plural(differing.length, "key")} of ${keys.length} ${differing.length === 1 ? "differs" : "differ"}.` : "The configs are equal.";
}

for (const id of ["first", "second"]) byId(id).append(...runs.map((run) => option(run.index, run.label)));
byId("first").value = data.baseline ?? 0;
byId("second").value = runs.findIndex((run) => run.index !== Number(byId("first").value));
if (!byId("second").value) byId("second").value = 0;
for (const id of ["first", "second", "all-keys"]) byId(id).addEventListener("change", drawDifference);
drawDifference();
