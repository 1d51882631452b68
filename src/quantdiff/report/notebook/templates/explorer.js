// Layers of a comparison: pick one in any plot, and all of them show it. No request leaves the page.
// `model` is anywidget's: data (JSON), report, layer and metric are shared with Python.

const SVG = "http://www.w3.org/2000/svg";
const METRICS = {
  share: ["share of elements that differ", (f) => (f.differing === null ? null : (100 * f.differing) / f.count), "%"],
  max_steps: ["largest difference", (f) => f.max_steps, "steps"],
  rmse_steps: ["RMSE", (f) => f.rmse_steps, "steps"],
  sqnr_db: ["SQNR", (f) => f.sqnr_db, "dB"],
  max_abs_error: ["largest error", (f) => f.max_abs_error, ""],
};
const ROWS = [
  ["elements", (f) => text(f.count)],
  ["differ", (f) => text(f.differing)],
  ["largest difference, steps", (f) => text(f.max_steps)],
  ["mean error, steps", (f) => text(f.mean_steps)],
  ["RMSE, steps", (f) => text(f.rmse_steps)],
  ["SQNR, dB", (f) => text(f.sqnr_db)],
  ["cosine", (f) => text(f.cosine)],
  ["largest error", (f) => text(f.max_abs_error)],
  ["clipped low, high", (f) => `${percent(f.clipped_low)}, ${percent(f.clipped_high)}`],
  ["at the end of the integers, low, high", (f) => `${percent(f.at_low)}, ${percent(f.at_high)}`],
  ["one step", (f) => text(f.step)],
  ["sample with the largest error", (f) => text(f.worst_sample)],
];

const number = (value) => (value === null ? null : Number(value)); // infinities come as strings
const text = (value) => {
  const x = number(value);
  if (x === null) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  return Number.isInteger(x) ? x.toLocaleString("en") : String(Number(x.toPrecision(7)));
};
const percent = (value) => (value === null ? "–" : `${text(100 * value)} %`);

function make(parent, name, attributes = {}, said = "") {
  const svg = parent.namespaceURI === SVG || name === "svg";
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (said !== "") element.textContent = said; // names from files stay text
  parent.append(element);
  return element;
}

function picker(parent, label, options, chosen, pick) {
  const select = make(make(parent, "label", {}, `${label} `), "select", { "aria-label": label });
  for (const [value, said] of options) make(select, "option", { value }, said);
  select.value = chosen;
  select.addEventListener("change", () => pick(select.value));
}

function bars(parent, layers, metric, picked, pick) {
  const [title, figure, unit] = METRICS[metric];
  const values = layers.map((layer) => [layer.figures, layer.local].map((f) => f && number(figure(f))));
  const most = Math.max(...values.flat().filter((v) => v !== null && Number.isFinite(v)), 0);
  const height = 26, wide = 640, left = 210, room = wide - left - 90;
  make(parent, "p", { class: "title" }, unit ? `${title} (${unit})` : title);
  const legend = make(parent, "p", { class: "legend" });
  make(legend, "span", { class: "mark as-it-happens" }, "■ ");
  make(legend, "span", {}, "as it happens  ");
  make(legend, "span", { class: "mark alone" }, "■ ");
  make(legend, "span", {}, "this layer alone");
  const svg = make(parent, "svg", { viewBox: `0 0 ${wide} ${height * layers.length + 4}`, width: wide, role: "listbox", tabindex: 0 });
  svg.dataset.lmSuppressShortcuts = true; // or JupyterLab takes the arrow keys for its cells
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    pick(Math.min(Math.max(picked + step, 0), layers.length - 1));
  });
  layers.forEach((layer, i) => {
    const row = make(svg, "g", { class: i === picked ? "row picked" : "row", role: "option", "aria-selected": i === picked });
    row.addEventListener("click", () => pick(i));
    make(row, "rect", { class: "ground", x: 0, y: i * height + 2, width: wide, height: height - 2 });
    make(make(row, "text", { x: 4, y: i * height + 18 }, short(layer.reference, 30)), "title", {}, layer.reference);
    values[i].forEach((value, which) => {
      if (value === null) return;
      const size = !Number.isFinite(value) ? (value > 0 ? room : 0) : most ? (room * Math.max(value, 0)) / most : 0;
      const y = i * height + 4 + 11 * which;
      make(row, "rect", { class: which ? "bar alone" : "bar as-it-happens", x: left, y, width: size, height: 9 });
      make(row, "text", { class: "value", x: left + size + 4, y: y + 8 }, text(value));
    });
  });
}

function ranges(parent, figures) {
  const ends = [["reference", figures.reference_min, figures.reference_max], ["candidate", figures.candidate_min, figures.candidate_max]];
  const low = Math.min(...ends.map((e) => e[1])), high = Math.max(...ends.map((e) => e[2]));
  const wide = 420, left = 80, room = wide - left - 6, x = (v) => left + (high > low ? (room * (v - low)) / (high - low) : 0);
  make(parent, "p", { class: "title" }, `values from ${text(low)} to ${text(high)}`);
  const svg = make(parent, "svg", { viewBox: `0 0 ${wide} 40`, width: wide, role: "img" });
  ends.forEach(([name, from, to], i) => {
    make(svg, "text", { x: 0, y: 15 + 18 * i }, name);
    const bar = make(svg, "rect", { class: "range", x: x(from), y: 6 + 18 * i, width: Math.max(x(to) - x(from), 1), height: 10 });
    make(bar, "title", {}, `${text(from)} … ${text(to)}`);
  });
  if (low < 0 && high > 0) make(svg, "line", { class: "zero", x1: x(0), x2: x(0), y1: 2, y2: 38 });
}

function details(parent, layer) {
  make(parent, "p", { class: "title" }, `${layer.reference} (${layer.layer})`);
  make(parent, "p", {}, `→ ${layer.candidate} (${layer.op})`);
  if (layer.notes.length) make(parent, "p", { class: "note" }, layer.notes.join(", "));
  const table = make(parent, "table");
  const heading = make(make(table, "thead"), "tr");
  for (const said of ["", "as it happens", "alone"]) make(heading, "th", {}, said);
  const body = make(table, "tbody");
  for (const [name, said] of ROWS) {
    const row = make(body, "tr");
    make(row, "td", {}, name);
    for (const figures of [layer.figures, layer.local]) make(row, "td", {}, figures ? said(figures) : "–");
  }
  ranges(parent, layer.figures);
}

const short = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

function render({ model, el }) {
  const reports = JSON.parse(model.get("data"));
  const pick = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const draw = () => {
    const before = el.querySelector("svg[role=listbox]"), focused = before !== null && before === el.getRootNode().activeElement;
    const top = el.querySelector(".bars")?.scrollTop ?? 0;
    const report = reports[model.get("report")], metric = model.get("metric");
    const layer = Math.min(model.get("layer"), report.layers.length - 1);
    const said = make(document.createElement("div"), "div", { class: "quantdiff-explorer" });
    const pickers = make(said, "div", { class: "pickers" });
    picker(pickers, "engines", reports.map((r, i) => [i, `${r.reference} vs ${r.candidate}`]), model.get("report"), (v) => pick("report", Number(v)));
    picker(pickers, "layer", report.layers.map((l, i) => [i, short(l.reference, 60)]), layer, (v) => pick("layer", Number(v)));
    picker(pickers, "figure", Object.entries(METRICS).map(([name, [title]]) => [name, title]), metric, (v) => pick("metric", v));
    const plots = make(said, "div", { class: "plots" });
    bars(make(plots, "div", { class: "bars" }), report.layers, metric, layer, (i) => pick("layer", i));
    details(make(plots, "div", { class: "details" }), report.layers[layer]);
    el.replaceChildren(said);
    el.querySelector(".bars").scrollTop = top;
    if (!focused) return;
    el.querySelector("svg[role=listbox]").focus({ preventScroll: true });
    el.querySelector(".picked").scrollIntoView({ block: "nearest" });
  };
  for (const name of ["report", "layer", "metric"]) model.on(`change:${name}`, draw);
  draw();
}

export default { render };
