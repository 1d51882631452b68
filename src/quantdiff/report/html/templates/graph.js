"use strict";
// Draws the graphs of the page. dagre says where boxes are; what is chosen in a graph is chosen in its table and plot, too.
(() => {
  const HALF = 168, GAP = 14, LINE = 15, PAD = 6, MARGIN = 10, FIGURE = 46;
  const SPACES = { nodesep: 18, ranksep: 22, edgesep: 10, ranker: "tight-tree" };
  const BARS = { width: 300, height: 110, foot: 16 };
  const SMALLEST = 0.05, LARGEST = 2.5, READABLE = 0.7;

  const element = (made, attributes, children) => {
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const svg = (name, attributes, ...children) => element(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  const html = (name, attributes, ...children) => element(document.createElement(name), attributes, children);

  const pen = document.createElement("canvas").getContext("2d");
  const fitting = (text, room, bold) => {
    pen.font = `${bold ? "600 " : ""}12px system-ui, sans-serif`;
    if (pen.measureText(text).width <= room) return text;
    let low = 1, high = text.length; // the end of a name tells it from its neighbours
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pen.measureText("…" + text.slice(middle)).width <= room) high = middle;
      else low = middle + 1;
    }
    return "…" + text.slice(low);
  };

  // A network is mostly a chain of blocks: what lies between two boxes through which everything goes is laid out by itself.
  const blocksOf = (count, edges) => {
    const below = Array.from({ length: count }, () => []), waits = new Array(count).fill(0), order = [], done = new Set();
    for (const [from, to] of edges) { below[from].push(to); waits[to] += 1; }
    const ready = [...waits.keys()].filter((box) => !waits[box]).reverse();
    while (order.length < count) {
      const box = ready.length ? ready.pop() : waits.findIndex((_, i) => !done.has(i)); // a circle has no first box
      if (done.has(box)) continue;
      done.add(box);
      order.push(box);
      for (const next of below[box]) if (--waits[next] === 0) ready.push(next);
    }
    const place = [], covered = new Array(count + 1).fill(0);
    order.forEach((box, i) => { place[box] = i; });
    for (const pair of edges) {
      const [first, last] = pair.map((box) => place[box]).sort((a, b) => a - b);
      covered[first + 1] += 1;
      covered[last] -= 1;
    }
    const blocks = [[]];
    let over = 0;
    order.forEach((box, i) => {
      over += covered[i];
      blocks.at(-1).push(box);
      if (!over && i && i < count - 1) blocks.push([box]);
    });
    return blocks;
  };

  const layout = (sizes, edges) => {
    const at = [], routes = new Map(), blocks = blocksOf(sizes.length, edges);
    blocks.forEach((block, number) => {
      const graph = new dagre.graphlib.Graph(), inside = new Set(block), top = block[0], end = block.at(-1);
      graph.setGraph({ ...SPACES });
      for (const box of block) graph.setNode(box, { ...sizes[box] });
      const own = edges.filter(([from, to]) => inside.has(from) && inside.has(to));
      for (const [from, to] of own) graph.setEdge(from, to, {});
      for (const box of block) { // the boxes that two blocks share stand alone at their ends
        if (number && box !== top && !own.some((edge) => edge[1] === box)) graph.setEdge(top, box, {});
        if (number < blocks.length - 1 && box !== end && !own.some((edge) => edge[0] === box)) graph.setEdge(box, end, {});
      }
      dagre.layout(graph);
      const first = graph.node(top), moved = (point) => ({ x: point.x - first.x + (at[top]?.x ?? 0), y: point.y - first.y + (at[top]?.y ?? 0) });
      const placed = block.map((box) => [box, { ...sizes[box], ...moved(graph.node(box)) }]);
      for (const [from, to] of own) routes.set(`${from} ${to}`, graph.edge(from, to).points.map(moved));
      for (const [box, where] of placed) at[box] = where;
    });
    const points = [...routes.values()].flat();
    const ends = (axis, size) => {
      let low = Infinity, high = -Infinity;
      for (const box of at) { low = Math.min(low, box[axis] - box[size] / 2); high = Math.max(high, box[axis] + box[size] / 2); }
      for (const point of points) { low = Math.min(low, point[axis]); high = Math.max(high, point[axis]); }
      return [low - MARGIN, high - low + 2 * MARGIN];
    };
    const [x, width] = ends("x", "width"), [y, height] = ends("y", "height");
    return { at, routes, x, y, width, height };
  };

  const bars = (found) => {
    const sides = [["accent", found.accumulated], ["second", found.local]].filter(([, each]) => each);
    const reach = Math.max(...sides.map(([, h]) => Math.max(-h.first, h.first + h.width * (h.counts.length - 1)) + h.width / 2), 1);
    const most = Math.max(...sides.flatMap(([, h]) => h.counts)), tall = BARS.height - BARS.foot;
    const drawn = svg("svg", { viewBox: `0 0 ${BARS.width} ${BARS.height}`, class: "bars", role: "img", "aria-label": found.words });
    const x = (steps) => BARS.width / 2 + (steps / reach) * (BARS.width / 2 - 6);
    sides.forEach(([colour, h], side) => h.counts.forEach((count, i) => {
      if (!count) return;
      const middle = h.first + h.width * i, height = Math.max(2, tall * Math.log1p(count) / Math.log1p(most));
      const wide = x(h.width) - x(0), left = x(middle) - wide / 2 + (side * wide) / sides.length;
      drawn.append(svg("rect", { x: left, y: tall - height, width: Math.max(wide / sides.length - 0.5, 0.6), height, class: `bar-${colour}` }));
    }));
    drawn.append(svg("path", { d: `M0 ${tall}H${BARS.width}`, class: "axis" }));
    for (const [steps, anchor] of [[-reach, "start"], [0, "middle"], [reach, "end"]]) {
      drawn.append(svg("text", { x: x(steps), y: BARS.height - 3, "text-anchor": anchor }, `${+steps.toPrecision(3)}`.replace("-", "−")));
    }
    return drawn;
  };

  // The first path of a name without the end that all paths share: it tells none from another.
  const telling = (boxes) => {
    const first = (name) => name.split(";")[0].split("/");
    const names = boxes.flatMap((box) => [...box.reference, ...box.candidate]).map(([, name]) => name);
    const paths = [...new Set(names)].map(first).filter((path) => path.length > 1);
    let shared = 0;
    while (paths.length > 1 && paths.every((path) => path.length > shared + 1 && path.at(-1 - shared) === paths[0].at(-1 - shared))) shared += 1;
    return (name) => (shared && name.includes("/") ? [...first(name).slice(0, -shared), "…"] : first(name)).join("/");
  };

  const draw = (place, data) => {
    const frame = place.querySelector(".frame"), search = place.querySelector("input[type=search]"), said = place.querySelector("output");
    const views = place.querySelector("select"), beside = place.querySelector("input[type=checkbox]");
    const panel = place.querySelector(".about"), legend = place.querySelector(".legend");
    const source = Bokeh.documents.map((each) => each.get_model_by_name(place.dataset.plot)).find(Boolean);
    const table = document.getElementById(`${place.dataset.plot}-table`);
    const told = telling(data.boxes);
    let scale = 1, size, groups, order, chosen = null, shown;

    const half = (box, side, left, height) => {
      const values = box[side], room = HALF - 2 * PAD, drawn = svg("g", { class: side });
      drawn.append(svg("title", {}, values.map(([op, name]) => `${op} ${name}`).join("\n")));
      drawn.append(svg("rect", { x: left, y: -height / 2, width: HALF, height, rx: 5 }));
      values.forEach(([op, name], i) => {
        const y = -height / 2 + PAD + LINE * (i + 0.8), last = i === values.length - 1;
        const free = side === "candidate" ? room - FIGURE : room;
        drawn.append(svg("text", { x: left + PAD, y, class: last ? "op" : "inner" }, fitting(op, room, last)));
        if (last) drawn.append(svg("text", { x: left + PAD, y: y + LINE, class: "name" }, fitting(told(name), free, false)));
      });
      if (side === "candidate") drawn.append(svg("text", { x: left + HALF - PAD, y: -height / 2 + PAD + LINE * (values.length + 0.8), class: "value", "text-anchor": "end" }));
      return drawn;
    };

    const route = (side, from, to, between) => {
      const shift = !beside.checked ? 0 : ((side ? 1 : -1) * (HALF + GAP)) / 2, aside = side ? 3 : -3;
      const inner = between.slice(1, -1).map(({ x, y }) => [x + aside, y]);
      const far = inner.length > 1 ? inner : []; // past other boxes
      const points = [[from.x + shift, from.y + from.height / 2], ...far, [to.x + shift, to.y - to.height / 2]];
      return points.slice(1).reduce((path, [x, y], i) => {
        const [x0, y0] = points[i], middle = (y0 + y) / 2;
        return `${path}C${x0} ${middle} ${x} ${middle} ${x} ${y}`;
      }, `M${points[0].join(" ")}`);
    };

    const build = () => {
      const two = beside.checked, sides = two ? ["reference", "candidate"] : ["candidate"];
      shown = data.boxes.map((box, i) => [box, i]).filter(([box]) => two || box.candidate.length).map(([, i]) => i);
      const numbers = new Map(shown.map((box, i) => [box, i]));
      const sizes = shown.map((i) => ({
        width: two ? 2 * HALF + GAP : HALF,
        height: 2 * PAD + LINE * (1 + Math.max(...sides.map((side) => data.boxes[i][side].length))),
      }));
      const feeds = data.feeds.filter(([side]) => two || side).map(([side, from, to]) => [side, numbers.get(from), numbers.get(to)]);
      const edges = [...new Map(feeds.map(([, from, to]) => [`${from} ${to}`, [from, to]])).values()];
      size = layout(sizes, edges);
      const drawn = svg("svg", { viewBox: `${size.x} ${size.y} ${size.width} ${size.height}`, "aria-hidden": "true" });
      for (const [side, from, to] of feeds) {
        drawn.append(svg("path", { d: route(side, size.at[from], size.at[to], size.routes.get(`${from} ${to}`)), class: side ? "feed" : "feed quieter" }));
      }
      groups = new Map(shown.map((number, i) => {
        const box = data.boxes[number], { x, y, height, width } = size.at[i], group = svg("g", { transform: `translate(${x} ${y})`, class: "box" });
        if (two && box.layer !== null) group.append(svg("path", { d: `M${-GAP / 2} 0h${GAP}`, class: "pair" }));
        for (const side of sides) if (box[side].length) group.append(half(box, side, side === "candidate" ? width / 2 - HALF : -width / 2, height));
        group.addEventListener("click", () => choose(number));
        drawn.append(group);
        return [number, group];
      }));
      order = shown.map((number, i) => [number, size.at[i]]).sort(([, a], [, b]) => a.y - b.y || a.x - b.x).map(([number]) => number);
      frame.replaceChildren(drawn);
      colour();
      mark();
      find();
    };

    const zoom = (wanted, x = frame.clientWidth / 2, y = frame.clientHeight / 2) => {
      const next = Math.min(LARGEST, Math.max(SMALLEST, wanted)), ratio = next / scale;
      const left = (frame.scrollLeft + x) * ratio - x, top = (frame.scrollTop + y) * ratio - y;
      scale = next;
      const drawn = frame.firstChild;
      drawn.style.width = `${size.width * scale}px`;
      drawn.style.height = `${size.height * scale}px`;
      frame.scrollTo({ left, top, behavior: "instant" });
    };
    const start = () => {
      scale = 1;
      zoom(Math.min(1, Math.max(READABLE, (frame.clientWidth - 2) / size.width)));
      frame.scrollTo({ left: (size.width * scale - frame.clientWidth) / 2, top: 0, behavior: "instant" });
    };

    const colour = () => {
      const view = data.views[views.selectedIndex];
      legend.replaceChildren(...view.legend.map((text, shade) => html("span", {}, html("span", { class: `key shade-${shade}` }), ` ${text} `)));
      for (const [number, group] of groups) {
        const side = group.querySelector(".candidate"), layer = data.boxes[number].layer;
        if (!side) continue;
        side.setAttribute("class", layer === null || view.shades[layer] === null ? "candidate" : `candidate shade-${view.shades[layer]}`);
        side.querySelector(".value").textContent = layer === null ? "" : view.texts[layer];
      }
    };

    const find = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = order.filter((number) => words.every((word) => data.boxes[number].words.includes(word)));
      for (const [number, group] of groups) group.classList.toggle("aside", words.length > 0 && !fits.includes(number));
      said.textContent = words.length ? `${fits.length} of ${order.length}` : "";
      return words.length ? fits : [];
    };

    const mark = () => { for (const [number, group] of groups) group.classList.toggle("chosen", number === chosen); };
    const bring = (number) => {
      const { x, y } = size.at[shown.indexOf(number)];
      frame.scrollTo({ left: (x - size.x) * scale - frame.clientWidth / 2, top: (y - size.y) * scale - frame.clientHeight / 2, behavior: "instant" });
    };
    const tell = () => {
      if (chosen === null) return panel.replaceChildren(html("p", { class: "quiet" }, panel.dataset.empty));
      const box = data.boxes[chosen], parts = [];
      for (const side of ["reference", "candidate"]) {
        const words = box[side].flatMap(([op, name]) => [html("strong", {}, op), ` ${name}`, html("br", {})]);
        parts.push(html("p", {}, html("span", { class: "quiet" }, data[side]), html("br", {}), ...(words.length ? words : ["nothing"])));
      }
      if (box.why) parts.push(html("p", {}, box.why));
      if (box.layer !== null) {
        const layer = data.layers[box.layer];
        parts.push(html("dl", {}, ...layer.facts.map(([name, text]) => html("div", {}, html("dt", {}, name), html("dd", {}, text)))));
        if (layer.notes.length) parts.push(html("p", {}, layer.notes.join(", ")));
        if (layer.bars) parts.push(bars(layer.bars), html("p", { class: "quiet" }, layer.bars.words));
        const button = html("button", { type: "button" }, "to its row");
        button.addEventListener("click", () => {
          const row = rows[box.layer];
          row.scrollIntoView({ block: "center" });
          row.querySelector(".mark").focus({ preventScroll: true });
        });
        parts.push(button);
      }
      panel.replaceChildren(...parts);
    };
    const rows = [...table.querySelectorAll("tbody tr")];

    const choose = (number) => {
      chosen = number;
      mark();
      tell();
      if (source) source.selected.indices = number === null || data.boxes[number].layer === null ? [] : [data.boxes[number].layer];
    };
    source?.selected.properties.indices.change.connect(() => {
      const layer = source.selected.indices[0];
      if (chosen !== null && (data.boxes[chosen].layer ?? undefined) === layer) return;
      const number = data.boxes.findIndex((box) => box.layer === layer);
      chosen = number < 0 ? null : number;
      mark();
      tell();
      if (chosen !== null && groups.has(chosen)) bring(chosen);
    });

    frame.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], by = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !(step || by)) return;
      event.preventDefault();
      if (by) return zoom(scale * by);
      const next = order[(order.indexOf(chosen) + step + order.length) % order.length] ?? order[0];
      choose(next);
      bring(next);
    });
    frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const { left, top } = frame.getBoundingClientRect();
      zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button) return;
      const { clientX, clientY } = event, { scrollLeft, scrollTop } = frame;
      const move = (now) => frame.scrollTo({ left: scrollLeft + clientX - now.clientX, top: scrollTop + clientY - now.clientY, behavior: "instant" });
      addEventListener("pointermove", move);
      addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
    });
    for (const button of place.querySelectorAll("button[data-zoom]")) {
      button.addEventListener("click", () => {
        if (button.dataset.zoom === "all") zoom(Math.min(frame.clientWidth / size.width, frame.clientHeight / size.height));
        else zoom(scale * Number(button.dataset.zoom));
      });
    }
    views.addEventListener("change", colour);
    beside.addEventListener("change", () => { build(); start(); if (groups.has(chosen)) bring(chosen); });
    search.addEventListener("input", () => { const [first] = find(); if (first !== undefined) bring(first); });
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const fits = find(), next = fits[(fits.indexOf(chosen) + 1) % fits.length];
      if (next !== undefined) { choose(next); bring(next); }
    });
    tell();
    build();
    start();
  };

  addEventListener("quantdiff-drawn", () => {
    for (const data of JSON.parse(document.getElementById("graphs").textContent)) {
      const place = document.getElementById(data.target);
      try {
        draw(place, data);
      } catch (error) {
        place.querySelector(".frame").textContent = `This graph cannot be drawn here (${error.message}); the table below has all of it.`;
      }
    }
  });
})();
