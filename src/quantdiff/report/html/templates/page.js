"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();

  // A tag "fill_color:accent" says which colour of the page a model's property takes; axes and grids need no tag.
  const COMMON = {
    Axis: { axis_label_text_color: "text", major_label_text_color: "text", axis_line_color: "quiet", major_tick_line_color: "quiet", minor_tick_line_color: "line", group_text_color: "text" },
    Grid: { grid_line_color: "line" },
    Title: { text_color: "text" },
    Legend: { label_text_color: "text", background_fill_color: "page", border_line_color: "line" },
  };
  const paint = () => {
    if (typeof Bokeh === "undefined" || paper.matches) return;
    for (const document of Bokeh.documents) {
      for (const model of document._all_models.values()) {
        const wanted = {};
        for (const [kind, colours] of Object.entries(COMMON)) {
          if (model.type.endsWith(kind)) Object.assign(wanted, colours);
        }
        for (const tag of model.tags) {
          const [property, name] = String(tag).split(":");
          if (name) wanted[property] = name;
        }
        for (const [property, name] of Object.entries(wanted)) {
          if (property in model.properties) model.setv({ [property]: colour(name) });
        }
      }
    }
  };

  const cells = (row, column) => row.children[column];
  const key = (cell) => {
    const order = cell.dataset.order;
    if (order === undefined) return cell.textContent.trim();
    return order === "inf" ? Infinity : order === "-inf" ? -Infinity : Number(order);
  };
  const compare = (a, b) => (typeof a === "number" ? (a < b ? -1 : a > b ? 1 : 0) : a.localeCompare(b, "en", { numeric: true }));
  const sortable = (box) => {
    const body = box.querySelector("tbody");
    const heads = [...box.querySelectorAll("thead th")];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        // Numbers are asked for by their largest first.
        const numbers = head.classList.contains("number");
        const before = head.getAttribute("aria-sort");
        const up = before === "none" ? !numbers : before === "descending";
        heads.forEach((each) => each.hasAttribute("aria-sort") && each.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [key(cells(row, column)), row]);
        rows.sort((a, b) => (up ? compare(a[0], b[0]) : compare(b[0], a[0])));
        body.append(...rows.map(([, row]) => row));
      });
    });
  };
  const filterable = (box) => {
    const input = box.querySelector(".filter input");
    if (!input) return;
    const output = box.querySelector(".filter output");
    const rows = [...box.querySelectorAll("tbody tr")];
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
  };

  // A row and its mark in the plot are chosen together, from either side.
  const linked = (box) => {
    if (!box.dataset.plot || typeof Bokeh === "undefined") return;
    const rows = [...box.querySelectorAll("tbody tr")];
    const source = Bokeh.documents.map((each) => each.get_model_by_name(box.dataset.plot)).find(Boolean);
    if (!source) return;
    const choose = () => {
      const chosen = new Set(source.selected.indices);
      rows.forEach((row, i) => row.classList.toggle("chosen", chosen.has(i)));
      return rows.find((row, i) => chosen.has(i));
    };
    rows.forEach((row, i) => {
      row.querySelector(".mark").addEventListener("click", () => {
        source.selected.indices = source.selected.indices[0] === i ? [] : [i];
        choose();
      });
    });
    source.selected.properties.indices.change.connect(() => {
      const row = choose();
      const frame = box.querySelector(".scroll");
      if (row) frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
    });
  };

  // What the pointer reads of a mark, the keys read, too, in words below the plot.
  const keyed = (plot, view) => {
    const tool = view.model.toolbar?.tools.find((each) => each.type === "HoverTool");
    if (!plot || !tool) return;
    const source = tool.renderers[0].data_source;
    const lines = [...new DOMParser().parseFromString(tool.tooltips, "text/html").body.children];
    const said = plot.parentNode.insertBefore(document.createElement("output"), plot.nextSibling);
    said.className = "said";
    plot.tabIndex = 0;
    plot.setAttribute("role", "application");
    plot.setAttribute("aria-label", `${plot.getAttribute("aria-label")} Arrow keys, Home and End read it mark by mark.`);
    const field = (i) => (_, name, format) => {
      const value = source.data[name][i];
      return format && typeof value === "number" ? Number(value.toPrecision(6)) : value;
    };
    const words = (i) => lines.map((line) => line.textContent.replace(/@(\w+)({[^}]*})?/g, field(i))).join(", ");
    let at = -1;
    plot.addEventListener("keydown", (event) => {
      const last = source.get_length() - 1;
      const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
      if (!(event.key in steps) && event.key !== "Escape") return;
      event.preventDefault();
      at = event.key === "Escape" ? -1 : Math.max(0, Math.min(last, steps[event.key]));
      source.selected.indices = at < 0 ? [] : [at];
      said.textContent = at < 0 ? "" : words(at);
    });
  };

  const boxes = [...document.querySelectorAll(".table")];
  boxes.forEach(sortable);
  boxes.forEach(filterable);
  const items = JSON.parse(document.getElementById("plots").textContent);
  Promise.all(items.map((item) => Bokeh.embed.embed_item(item))).then(() => {
    paint();
    boxes.forEach(linked);
    if (items.length) [...Bokeh.index.roots].forEach((view) => keyed(view.el.closest(".plot"), view));
    dispatchEvent(new Event("quantdiff-drawn"));
    root.dataset.ready = "yes";
  });
  dark.addEventListener("change", paint);
  // A plot cannot be drawn anew while a page is printed: what was drawn for a dark page is turned round by the style.
  addEventListener("beforeprint", () => root.classList.toggle("was-dark", dark.matches));
  addEventListener("afterprint", () => { root.classList.remove("was-dark"); paint(); });
})();
