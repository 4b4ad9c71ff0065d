"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const GROUPS = [
    ["every", "loaded by every page of a router"],
    ["some", "loaded by several routes"],
    ["one", "loaded by one route"],
    ["later", "loaded on demand, or by old browsers"],
  ];
  let kind = data.kind;
  let chosen = -1;

  function make(name, attributes, ...children) {
    const plain = !["svg", "rect", "text", "g", "title"].includes(name);
    const node = plain ? document.createElement(name) : document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  function size(bytes) {
    const kb = bytes / 1000;
    if (kb >= 1000) return `${(kb / 1000).toFixed(kb >= 10000 ? 1 : 2)} MB`;
    return kb >= 100 ? `${kb.toFixed(0)} kB` : `${kb.toFixed(1)} kB`;
  }

  const last = (path) => path.slice(path.lastIndexOf("/") + 1);
  const of = (file) => file.sizes[kind];
  const sum = (files) => files.reduce((total, file) => total + of(file), 0);
  const scripts = (route) => route.files.map((at) => data.files[at]).filter((f) => f.kind === "js");

  function group(file) {
    if (file.shared) return "every";
    if (file.routes.length > 1) return file.routes.length === data.routes.length ? "every" : "some";
    return file.routes.length === 1 ? "one" : "later";
  }

  // Squarified treemap (Bruls, Huizing, van Wijk 2000).
  function squarify(items, x, y, width, height) {
    const placed = [];
    const todo = items.filter((item) => item.value > 0).sort((a, b) => b.value - a.value);
    let total = todo.reduce((all, item) => all + item.value, 0);
    let start = 0;
    while (start < todo.length && width > 0.5 && height > 0.5) {
      const side = Math.min(width, height);
      const scale = (width * height) / total;
      let row = 0;
      let end = start;
      let worst = Infinity;
      while (end < todo.length) {
        const next = row + todo[end].value;
        const area = next * scale;
        const big = todo[start].value * scale;
        const small = todo[end].value * scale;
        const ratio = Math.max((side * side * big) / (area * area), (area * area) / (side * side * small));
        if (ratio > worst) break;
        worst = ratio;
        row = next;
        end += 1;
      }
      const thick = (row * scale) / side;
      let at = 0;
      for (const item of todo.slice(start, end)) {
        const long = (item.value / row) * side;
        placed.push(
          width >= height
            ? { item, x, y: y + at, width: thick, height: long }
            : { item, x: x + at, y, width: long, height: thick },
        );
        at += long;
      }
      if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
      total -= row;
      start = end;
    }
    return placed;
  }

  const ruler = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  const widths = new Map();

  function measure(text, weight) {
    const key = `${weight} ${text}`;
    if (!widths.has(key)) {
      ruler.font = `${weight} 12px ${family}`;
      widths.set(key, ruler.measureText(text).width);
    }
    return widths.get(key);
  }

  // As much of a text as fits, or nothing where that would be hardly any.
  function fit(text, width, weight) {
    const room = width - 13;
    if (room < 24) return "";
    if (measure(text, weight) <= room) return text;
    let low = 0;
    let high = Math.min(text.length, 200);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (measure(`${text.slice(0, middle)}…`, weight) <= room) low = middle; else high = middle - 1;
    }
    return low < 2 ? "" : `${text.slice(0, low)}…`;
  }

  function nameOf(file) {
    const modules = file.modules[0];
    return file.label || (modules ? short(modules[0]) : last(file.name));
  }

  function short(module) {
    const at = module.lastIndexOf("node_modules/");
    return at < 0 ? module : module.slice(at + 13);
  }

  // Packages, and of one that fills most of its file the modules.
  function partsOf(file) {
    const rows = file.modules.map(([module, value]) => {
      const path = short(module);
      const parts = path.split("/");
      const own = path === module;
      return { package: own ? "" : parts.slice(0, path[0] === "@" ? 2 : 1).join("/"), path, value };
    });
    const total = rows.reduce((all, row) => all + row.value, 0);
    const sums = new Map();
    for (const row of rows) sums.set(row.package, (sums.get(row.package) || 0) + row.value);
    const found = new Map();
    for (const row of rows) {
      const whole = row.package && sums.get(row.package) < total / 2;
      const key = whole ? row.package : row.path;
      const name = whole ? row.package : row.package ? last(row.path) : row.path;
      const entry = found.get(key) || { name, path: key, value: 0 };
      entry.value += row.value;
      found.set(key, entry);
    }
    return [...found.values()];
  }

  const detail = make("div", { class: "detail", "aria-live": "polite" });

  function tell(file, part) {
    const routes = file.routes.map((at) => data.routes[at].name);
    const shown = routes.slice(0, 6).join(", ") + (routes.length > 6 ? ` and ${routes.length - 6} more` : "");
    const sizes = data.kinds.map((name, at) => `${name} ${size(file.sizes[at])}`).join(" · ");
    detail.replaceChildren(
      make("b", null, part ? part.path : nameOf(file)),
      make("p", null, part ? `${size(part.value)} before compression, in ${last(file.name)}` : file.name),
      make("p", null, sizes),
      make("p", null, routes.length ? `loaded by ${shown}` : "loaded on demand, or by old browsers"),
    );
  }

  function treemap(width) {
    const height = Math.max(360, Math.min(640, width * (width < 600 ? 1.35 : 0.62)));
    const files = chosen < 0 ? data.files : data.routes[chosen].files.map((at) => data.files[at]);
    const items = files.filter((file) => file.kind !== "other").map((file) => ({ file, value: of(file) }));
    const svg = make("svg", {
      class: "map", viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
      "aria-label": "Sizes of files as areas",
    });
    for (const box of squarify(items, 0, 0, width, height)) {
      const file = box.item.file;
      const show = (event) => { event.stopPropagation(); tell(file); };
      const cell = make(
        "g", { tabindex: "0", onmouseenter: show, onfocus: show, onclick: show },
        make("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 4, class: group(file) }),
      );
      const label = fit(nameOf(file), box.width, 600);
      const roomy = box.height > 20 && label;
      let top = roomy ? 22 : 3;
      if (roomy) {
        cell.append(make("text", { x: box.x + 7, y: box.y + 16, class: "title" }, label));
        const number = size(of(file));
        const beside = box.width - 14 - measure(label, 600);
        if (beside > measure(number, 400) + 10) {
          cell.append(make("text", { x: box.x + box.width - 7, y: box.y + 16, class: "size", "text-anchor": "end" }, number));
        } else if (box.height > 36) {
          cell.append(make("text", { x: box.x + 7, y: box.y + 31, class: "size" }, number));
          top = 38;
        }
      }
      if (file.modules.length > 1 && box.width > 40 && box.height > top + 24) {
        const inner = squarify(partsOf(file).map((part) => ({ part, value: part.value })),
          box.x + 4, box.y + top, box.width - 8, box.height - top - 4);
        for (const small of inner) {
          const part = small.item.part;
          const tellPart = (event) => { event.stopPropagation(); tell(file, part); };
          const within = make(
            "g", { onmouseenter: tellPart, onclick: tellPart },
            make("rect", { x: small.x, y: small.y, width: small.width, height: small.height, rx: 2, class: `inner ${group(file)}` }),
          );
          const text = small.height > 15 ? fit(part.name, small.width, 400) : "";
          if (text) within.append(make("text", { x: small.x + 5, y: small.y + 14 }, text));
          cell.append(within);
        }
      }
      svg.append(cell);
    }
    return svg;
  }

  function bar(route, most) {
    const parts = { every: 0, some: 0, one: 0 };
    for (const file of scripts(route)) parts[group(file)] += of(file);
    const svg = make("svg", { class: "bar", viewBox: "0 0 1000 6", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("rect", { class: "none", width: 1000, height: 6 }));
    let x = 0;
    for (const name of ["every", "some", "one"]) {
      const width = (parts[name] / most) * 1000;
      svg.append(make("rect", { class: name, x, width, height: 6 }));
      x += width;
    }
    return svg;
  }

  function change(route) {
    if (route.before === null || kind !== data.kind) return [];
    const delta = sum(scripts(route)) - route.before;
    if (Math.abs(delta) < 50) return [];
    return [make("i", { class: delta > 0 ? "more" : "less" }, `${delta > 0 ? "+" : "−"}${size(Math.abs(delta))}`)];
  }

  function routeList() {
    const sizes = data.routes.map((route) => sum(scripts(route)));
    const most = Math.max(...sizes, 1);
    const order = data.routes.map((_, at) => at).sort((a, b) => sizes[b] - sizes[a]);
    return make("ul", { class: "routes" }, ...order.map((at) => make("li", null,
      make("button", {
        class: "route", type: "button", "aria-pressed": String(chosen === at),
        onclick: () => { chosen = chosen === at ? -1 : at; draw(); },
      },
      make("span", { class: "name" }, data.routes[at].name),
      make("span", { class: "size" }, size(sizes[at]), ...change(data.routes[at])),
      bar(data.routes[at], most)))));
  }

  function numbers() {
    const js = data.files.filter((file) => file.kind === "js");
    const css = data.files.filter((file) => file.kind === "css");
    const sizes = data.routes.map((route) => ({ route, value: sum(scripts(route)) })).sort((a, b) => b.value - a.value);
    const heaviest = sizes[0];
    const median = sizes[Math.floor(sizes.length / 2)];
    const cards = [
      [size(heaviest.value), `heaviest first load: ${heaviest.route.name}`],
      [size(median.value), `median first load of ${sizes.length} routes`],
      [size(sum(js)), `JavaScript in ${js.length} files`],
      [size(sum(css)), `CSS in ${css.length} files`],
    ];
    return make("div", { class: "numbers" }, ...cards.map(([number, text]) =>
      make("div", { class: "number" }, make("b", null, number), make("span", null, text))));
  }

  const page = document.getElementById("page");

  function draw() {
    const scrolled = page.querySelector(".routes")?.scrollTop || 0;
    const holder = make("div");
    const head = make("div", { class: "head" },
      make("h2", null, chosen < 0 ? "All files" : `First load of ${data.routes[chosen].name}`));
    if (chosen >= 0) head.append(make("button", { type: "button", onclick: () => { chosen = -1; draw(); } }, "show all files"));
    detail.replaceChildren(make("p", null, "Point at a file, or tap it, to see what it is; choose a route to see what it loads."));
    page.replaceChildren(
      make("header", null,
        make("h1", null, "Bundles"),
        make("span", { class: "tool" }, data.tool),
        make("div", { class: "kinds", role: "group", "aria-label": "kind of size" }, ...data.kinds.map((name, at) =>
          make("button", { type: "button", "aria-pressed": String(at === kind), onclick: () => { kind = at; draw(); } }, name)))),
      numbers(),
      make("div", { class: "columns" },
        make("section", { class: "card" }, make("h2", null, "JavaScript of each first load"), routeList()),
        make("section", { class: "card" }, head, holder,
          make("ul", { class: "legend" }, ...GROUPS.map(([name, text]) => make("li", null,
            make("svg", { viewBox: "0 0 10 10" }, make("rect", { class: name, width: 10, height: 10, rx: 2 })), text))),
          detail)),
      make("footer", null, `1 kB is 1000 bytes. Measured with ${data.methods.join(", ")}.`
        + (data.left_out ? ` ${data.left_out} small files are not drawn.` : "")),
    );
    page.querySelector(".routes").scrollTop = scrolled;
    holder.append(treemap(Math.max(240, Math.floor(holder.clientWidth))));
  }

  let before = 0;
  addEventListener("resize", () => {
    if (innerWidth !== before) { before = innerWidth; draw(); }
  });
  before = innerWidth;
  draw();
})();
