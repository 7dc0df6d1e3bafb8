(() => {
"use strict";
const doc = document, root = doc.documentElement, all = (q, e = doc) => [...e.querySelectorAll(q)],
/* one maker for HTML and SVG: a child lives in its parent's name space */
add = (parent, tag, has = {}, text = "", how = "append") => {
  const e = doc.createElementNS(parent.namespaceURI, tag);
  for (const k in has) e.setAttribute(k, has[k]);
  e.textContent = text;
  parent[how](e);
  return e;
},
button = (parent, text, act) => {
  const e = add(parent, "button", { type: "button" }, text);
  e.onclick = act;
  return e;
};

/* theme: remembered where storage is allowed */
const kept = (v) => { try { return v == null ? localStorage.quantseq : localStorage.quantseq = v; } catch {} },
theme = (v) => v ? root.dataset.theme = v : delete root.dataset.theme,
first = kept() || "";
theme(first);
all(".theme").forEach((e) => { e.hidden = false; });
for (const e of all(".theme input")) {
  e.checked = e.value === first;
  e.onchange = () => { theme(e.value); kept(e.value); };
}

/* tables: sort by any column, copy as CSV */
const plain = (e) => e.textContent.replace(/\u2212/g, "-").replace(/\s+/g, " ").trim(),
key = (e) => {
  const t = plain(e);
  return /^[+-]?[\d.,]+(\s.*)?$/.test(t) ? parseFloat(t.replace(/,/g, "")) : t === "\u2014" ? "" : t;
},
rank = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1) : a < b ? -1 : +(a > b);
for (const table of all("table")) {
  const body = table.tBodies[0], heads = all("thead th", table);
  heads.forEach((th) => {
    const label = th.textContent, i = th.cellIndex;
    if (body.rows.length < 2) return;
    th.textContent = "";
    button(th, label, () => {
      const down = th.ariaSort === "ascending";
      heads.forEach((e) => { e.ariaSort = null; });
      th.ariaSort = down ? "descending" : "ascending";
      const of = (row) => key(row.cells[i]);
      body.append(...[...body.rows].sort((r, s) => {
        const a = of(r), b = of(s);
        return a === "" || b === "" ? (a === "") - (b === "") : down ? rank(b, a) : rank(a, b);
      }));
    });
  });
  const copy = button(add(table.parentNode, "div", { class: "copy" }, "", "after"), "Copy as CSV", async () => {
    const cell = (e) => {
      const t = plain(e).replace(/^[=@]/, "'$&"), q = "\x22";
      return t.includes(",") || t.includes(q) ? q + t.replaceAll(q, q + q) + q : t;
    };
    const csv = [...table.rows].map((r) => [...r.cells].map(cell) + "\n").join("");
    try { await navigator.clipboard.writeText(csv); } catch {
      const area = add(copy.parentNode, "textarea");
      area.value = csv;
      area.select();
      doc.execCommand("copy");
      area.remove();
      copy.focus();
    }
    copy.textContent = "Copied";
  });
}

/* charts over time: daily values are packed as in live.py */
const ABC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
unpack = (packed, scale) => {
  let v = 0;
  return packed.match(/!|[g-z0-9_-]*[A-Za-f]/g).map((t) => {
    if (t === "!") return null;
    const n = [...t].reduceRight((n, c) => n * 32 + ABC.indexOf(c) % 32, 0);
    v += n % 2 ? (1 - n) / 2 : n / 2;
    return v / scale;
  });
},
iso = (d) => new Date(d * 864e5).toISOString().slice(0, 10),
sorted = (a, b) => a < b ? [a, b] : [b, a],
layer = (svg, name) => { all("." + name, svg).forEach((e) => e.remove()); return add(svg, "g", { class: name }); },
boxes = (svg) => svg.dataset.boxes.split(";").map((b) => b.split(" ").map(Number)),
/* last place whose day is not after d */
near = (c, d) => Math.max(c.days.findLastIndex((e) => e <= d + .5), 0),
span = (c) => {
  const a = c.days[0], b = Math.max(c.days.at(-1), a + 1);
  return view ? [Math.max(view[0], a), Math.min(view[1], b)] : [a, b];
};
let days, view = null, at = null;

const charts = all(".live").map((figure) => {
  const script = all("script", figure)[0], c = JSON.parse(script.textContent), caption = all("figcaption", figure)[0];
  days = script.dataset.days ? unpack(script.dataset.days.replaceAll("*", "CCCCG"), 1) : days;
  c.lines.forEach((l) => { l.values = unpack(l.values, l.scale); });
  c.text = (v, tick) => {
    if (v === null) return "\u2014";
    if (c.percent) v *= 100;
    return (tick ? +v.toPrecision(4) + "" : v.toFixed(c.digits)).replace("-", "\u2212") + (c.percent ? "\u00a0%" : "");
  };
  const tools = add(caption, "div", { class: "tools" }, "", "prepend");
  c.days = days;
  c.svgs = all("svg", figure);
  c.scale = all(".scale", figure)[0];
  c.now = c.log;
  c.flip = c.log === null ? null : button(tools, "", () => { c.now = !c.now; draw(c); });
  c.reset = button(tools, "Reset zoom", () => zoom(null));
  c.readout = add(caption, "p", { class: "readout" });
  c.svgs.forEach((svg) => control(c, svg, all("h3", figure)[0].textContent));
  return c;
});

function control(c, svg, title) {
  const pad = svg.parentNode;
  let brush = null;
  const day = (e) => {
    const r = svg.getBoundingClientRect(), [x0, , x1] = boxes(svg)[0], [a, b] = span(c);
    const x = (e.clientX - r.left) * svg.viewBox.baseVal.width / r.width;
    return Math.min(b, Math.max(a, a + (x - x0) / (x1 - x0) * (b - a)));
  };
  const away = () => { brush = null; point(null); };
  pad.tabIndex = 0;
  pad.role = "group";
  pad.ariaLabel = title + ": arrow keys read values, plus and minus zoom, 0 shows all";
  pad.onpointermove = (e) => point(day(e), brush);
  pad.onpointerdown = (e) => { point(day(e)); brush = e.button ? null : at; };
  pad.onpointerup = (e) => {
    const ends = sorted(brush, day(e)), [a, b] = span(c);
    if (brush !== null && ends[1] - ends[0] > (b - a) / 50) zoom(ends);
    brush = null;
    point(at);
  };
  pad.onpointercancel = away;
  pad.onpointerleave = (e) => { if (e.pointerType === "mouse") away(); };
  pad.ondblclick = () => zoom(null);
  pad.onkeydown = (e) => {
    const [a, b] = span(c), k = e.key, mid = at ?? (a + b) / 2, i = near(c, at ?? b);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[k] * (e.shiftKey ? 21 : 1), by = { "+": .25, "=": .25, "-": 1 }[k] * (b - a);
    if (step) point(c.days[Math.min(near(c, b), Math.max(near(c, a), at === null ? i : i + step))]);
    else if (by) zoom([mid - by, mid + by]);
    else if (k === "0") zoom(null);
    else if (k === "Escape") away();
    else return;
    e.preventDefault();
  };
}

function zoom(ends) {
  view = ends && [ends[0], Math.max(ends[1], ends[0] + 5)];
  charts.forEach(draw);
  point(at);
}

/* the crosshair stands at the same date in every chart */
function point(d, brush = null) {
  at = d;
  for (const c of charts) {
    const [a, b] = span(c), i = near(c, d);
    c.readout.textContent = "";
    for (const svg of c.svgs) {
      const g = layer(svg, "cursor");
      if (d !== null) for (const [x0, y0, x1, y1] of boxes(svg)) {
        const X = (e) => x0 + (Math.min(b, Math.max(a, e)) - a) / (b - a) * (x1 - x0), [l, r] = sorted(X(brush ?? d), X(d));
        add(g, "path", { d: `M${X(c.days[i])} ${y0}V${y1}` });
        add(g, "rect", { x: l, y: y0, width: r - l, height: y1 - y0 });
      }
    }
    if (d === null) continue;
    add(c.readout, "b", {}, iso(c.days[i]));
    for (const l of c.lines) add(c.readout, "span", { class: l.role }, l.name + " " + c.text(l.values[i]));
  }
}

/* round values between two numbers */
function ticks(low, high, log) {
  const found = [], e = 10 ** Math.floor(Math.log10((high - low) / 5));
  if (log) for (let k = 10 ** Math.floor(Math.log10(low)); k < high; k *= 10) found.push(...[1, 1.5, 2, 3, 5, 7].map((r) => r * k).filter((v) => v >= low && v <= high));
  if (found.length > 2) return found;
  const step = [1, 2, 5, 10].find((r) => (high - low) / r / e <= 5) * e;
  return Array.from({ length: 6 }, (_, k) => (Math.ceil(low / step) + k) * step).filter((v) => v <= high);
}

function dates(a, b, most) {
  for (const months of [1, 3, 6, 12, 24, 60, 120, 600]) {
    const found = [], d = new Date(a * 864e5);
    for (let m = Math.ceil((d.getUTCFullYear() * 12 - 22800 + d.getUTCMonth() + 1) / months) * months; ; m += months) {
      const day = Date.UTC(1900, m) / 864e5;
      if (day > b) break;
      found.push([day, iso(day).slice(0, months < 12 ? 7 : 4)]);
    }
    if (found.length <= most) return found.length > 1 ? found : [[a, iso(a)], [b, iso(b)]];
  }
}

/* what was drawn before stays; zoomed or on another scale, lines are drawn here in its place */
function draw(c) {
  const [a, b] = span(c), i0 = near(c, a), i1 = near(c, b), still = !view && c.now === c.log;
  c.reset.hidden = !view;
  if (c.flip) c.flip.textContent = c.now ? "Linear scale" : "Log scale";
  if (c.scale) c.scale.textContent = c.now ? "log scale" : "linear scale";
  for (const svg of c.svgs) {
    const g = layer(svg, "now"), all = boxes(svg);
    svg.classList.toggle("redrawn", !still);
    if (!still) all.forEach(([x0, y0, x1, y1], panel) => {
      const own = c.panels, lines = own ? [c.lines[panel]] : c.lines;
      const seen = (own ? c.lines : lines).flatMap((l) => own ? l.values : l.values.slice(i0, i1 + 1)).filter((v) => v !== null);
      if (own || lines.some((l) => l.fill)) seen.push(0);
      const low = Math.min(...seen), high = Math.max(...seen), log = c.now && low > 0, f = log ? Math.log : (v) => v, un = log ? Math.exp : f,
      air = own ? 0 : (f(high) - f(low) || 1) / 20, bottom = f(low) - (low ? air : 0), top = c.top ?? f(high) + air,
      X = (d) => (x0 + (d - a) / (b - a) * (x1 - x0)).toFixed(1), Y = (v) => +(y1 - (f(v) - bottom) / (top - bottom || 1) * (y1 - y0)).toFixed(1),
      rule = (d, has) => add(g, "path", { d, stroke: "var(--line)", ...has }),
      label = (x, y, anchor, t, has) => add(g, "text", { x, y: y + 4, "text-anchor": anchor, ...has }, t);
      if (own) label(x0 - 6, (y0 + y1) / 2, "end", lines[0].name);
      else for (const v of ticks(un(bottom), un(top), log)) {
        rule(`M${x0} ${Y(v)}H${x1}`);
        label(x0 - 6, Y(v), "end", c.text(v, 1));
      }
      for (const m of c.marks) if (m > a && m < b) rule(`M${X(m)} ${y0}V${y1}`, { stroke: "var(--muted)", "stroke-dasharray": "1 3" });
      if (panel === all.length - 1) for (const [d, t] of dates(a, b, svg.viewBox.baseVal.width / 90)) label(X(d), y1 + 14, "middle", t);
      rule(`M${x0} ${own ? Y(0) : y1}H${x1}`);
      let used = -99;
      for (const l of [...lines].reverse()) {
        let d = "", pen = "M", stroke = `var(--${l.role})`;
        for (let i = i0; i <= i1; i++) {
          const v = l.values[i];
          if (v !== null) d += pen + X(Math.max(a, c.days[i])) + " " + Y(v) + (own && i < i1 ? "H" + X(c.days[i + 1]) : "");
          pen = v === null ? "M" : "L";
        }
        if (!d) continue;
        if (l.fill || own) add(g, "path", { d: `M${X(a)} ${Y(0)}L${d.slice(1)}V${Y(0)}z`, style: `fill:${stroke};opacity:${own ? .75 : .16}` });
        if (own) continue;
        rule(d, { stroke, "stroke-width": l.role === "accent" ? 1.7 : 1.3, "stroke-dasharray": l.dash ? "4 2" : "" });
        const v = l.values[i1];
        if (v === null || l.dash) continue;
        const y = Math.abs(Y(v) - used) < 14 ? used + (Y(v) < used ? -14 : 14) : Y(v);
        used = y;
        label(x1 + 6, y, "start", c.text(v), { class: "end", style: `fill:${stroke}` });
      }
    });
  }
}
charts.forEach(draw);
})();
