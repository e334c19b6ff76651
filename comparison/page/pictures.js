// Predictions for the same samples side by side, with image and truth; a click enlarges one.

let grid = []; // rows of { source, mask, caption, button }; the arrow keys walk through them
let place = [0, 0];

async function pixels(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = element("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { canvas, context, values: context.getImageData(0, 0, image.width, image.height) };
}

/** The pale photo with wrong pixels in red and ignored pixels in white. */
async function wrongPixels(photo, truth, prediction) {
  const [below, there, said] = await Promise.all([photo, truth, prediction].map(pixels));
  const [to, a, b] = [below.values.data, there.values.data, said.values.data];
  for (let i = 0; i < to.length; i += 4) {
    const ignored = a[i] === 255 && a[i + 1] === 255 && a[i + 2] === 255;
    const wrong = a[i] !== b[i] || a[i + 1] !== b[i + 1] || a[i + 2] !== b[i + 2];
    for (let part = 0; part < 3; part += 1) to[i + part] = ignored ? 255 : wrong ? [200, 30, 30][part] : to[i + part] / 3 + 150;
  }
  below.context.putImageData(below.values, 0, 0);
  return below.canvas.toDataURL();
}

function pictureCell(entry, row, column) {
  if (!entry) return element("td", { class: "caption" }, "–");
  const image = element("img", { src: entry.source, alt: entry.caption, class: entry.mask ? "mask" : null });
  entry.button = element("button", { type: "button", "aria-label": `Enlarge: ${entry.caption}`, onclick: () => enlarge(row, column) }, image);
  return element("td", {}, entry.button, entry.note ? element("div", { class: "caption" }, entry.note) : null);
}

let drawing = 0;
async function drawPictures() {
  const turn = ++drawing; // a slow drawing must not replace a later one
  const withPictures = shownRuns().filter((run) => Object.keys(run.predictions).length);
  const samples = data.samples.filter((sample) => withPictures.some((run) => run.predictions[sample.id]));
  const made = await Promise.all(samples.map(async (sample) => {
    const [photo, truth] = [data.pictures[sample.image], data.pictures[sample.truth]];
    const predictions = withPictures.map(async (run) => {
      const prediction = run.predictions[sample.id];
      if (!prediction) return null;
      const mask = data.pictures[prediction.picture];
      const source = byId("errors").checked ? await wrongPixels(photo, truth, mask).catch(() => mask) : mask;
      const note = `mIoU ${fixed(prediction.mIoU, 3)}, wrong ${percent(prediction.wrong)}`;
      return { source, mask: true, note, caption: `${sample.name}: ${run.label}, ${note}` };
    });
    return [{ source: photo, caption: `${sample.name}: image` }, { source: truth, mask: true, caption: `${sample.name}: truth` }, ...(await Promise.all(predictions))];
  }));
  if (turn !== drawing) return;
  grid = made;
  const heads = ["sample", "image", "truth", ...withPictures.map((run) => element("span", {}, swatch(run), run.label))];
  byId("gallery").tHead.rows[0].replaceChildren(...(grid.length ? heads.map((head) => element("th", { scope: "col" }, head)) : []));
  byId("gallery").tBodies[0].replaceChildren(...grid.map((entries, row) => element("tr", {}, element("th", { scope: "row" }, samples[row].name), ...entries.map((entry, column) => pictureCell(entry, row, column)))));
  byId("gallery").parentElement.hidden = !grid.length;
  const none = shownRuns().filter((run) => !Object.keys(run.predictions).length);
  const left = none.filter((run) => run.pictures_left_out);
  byId("pictures-note").textContent = [
    none.length > left.length ? `${plural(none.length - left.length, "shown run")} without figures/samples: failed, interrupted or still running.` : "",
    left.length ? `The pictures of ${plural(left.length, "shown run")} are omitted to keep this file small; a report of fewer runs includes them.` : "",
  ].filter(Boolean).join(" ");
}

function enlarge(row, column) {
  const entry = grid[row]?.[column];
  if (!entry) return;
  place = [row, column];
  const image = byId("enlarged").querySelector("img");
  image.src = entry.source;
  image.alt = entry.caption;
  image.className = entry.mask ? "mask" : "";
  byId("enlarged-caption").textContent = entry.caption;
  if (!byId("enlarged").open) byId("enlarged").showModal();
}

/** Enlarge the next picture in a direction. */
function walk(down, right) {
  let [row, column] = [place[0] + down, place[1] + right];
  while (grid[row] && column >= 0 && column < grid[row].length) {
    if (grid[row][column]) return enlarge(row, column);
    [row, column] = [row + down, column + right];
  }
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
byId("enlarged").addEventListener("keydown", (event) => {
  if (!STEPS[event.key]) return;
  event.preventDefault();
  walk(...STEPS[event.key]);
});
byId("enlarged").addEventListener("click", (event) => { if (event.target === byId("enlarged")) byId("enlarged").close(); });
byId("enlarged").addEventListener("close", () => grid[place[0]]?.[place[1]]?.button.focus());
byId("previous").addEventListener("click", () => walk(0, -1));
byId("next").addEventListener("click", () => walk(0, 1));
byId("close").addEventListener("click", () => byId("enlarged").close());
byId("errors").addEventListener("change", drawPictures);
byId("errors").closest("label").hidden = !data.samples.length;
byId("colors").append(...data.classes.map(({ name, color }) => {
  const box = element("i");
  box.style.background = `rgb(${color.join(",")})`;
  return element("li", {}, box, name);
}));
if (data.samples.length) byId("colors").append(element("li", {}, Object.assign(element("i"), { style: "background: white" }), "ignored"));
drawings.push(drawPictures);
