// A page is complete without this script, which adds: the theme switch, sorting and copying of tables, the
// filter of the index, and crosshair, zoom and scale of charts over time from the plain JSON in #data.
"use strict";
(() => {
const doc = document, root = doc.documentElement;
const all = (query, from = doc) => [...from.querySelectorAll(query)];
const add = (parent, tag, attributes = {}, text = "", how = "append") => {
  const made = doc.createElementNS(parent.namespaceURI, tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  made.textContent = text;
  parent[how](made);
  return made;
};
const button = (parent, text, act) => {
  const made = add(parent, "button", { type: "button" }, text);
  made.onclick = act;
  return made;
};

// Theme: remembered where storage is allowed.
const stored = (value) => {
  try { return value === undefined ? localStorage.quantseq : (localStorage.quantseq = value); } catch { return ""; }
};
const setTheme = (value) => { if (value) root.dataset.theme = value; else delete root.dataset.theme; };
setTheme(stored());
all(".theme").forEach((box) => { box.hidden = false; });
all(".theme input").forEach((input) => {
  input.checked = input.value === (stored() || "");
  input.onchange = () => { setTheme(input.value); stored(input.value); };
});

// Tables: sort by any column, copy as CSV.
const plain = (cell) => cell.textContent.replace(/\u2212/g, "-").replace(/\s+/g, " ").trim();
const sortKey = (cell) => {
  const text = plain(cell);
  return /^[+-]?[\d.,]+(\s.*)?$/.test(text) ? parseFloat(text.replace(/,/g, "")) : text === "\u2014" ? "" : text;
};
const compare = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1) : a < b ? -1 : +(a > b);
for (const table of all("table")) {
  const body = table.tBodies[0], heads = all("thead th", table);
  if (body.rows.length > 1) for (const head of heads) {
    const label = head.textContent, column = head.cellIndex;
    head.textContent = "";
    button(head, label, () => {
      const down = head.ariaSort === "ascending", of = (row) => sortKey(row.cells[column]);
      heads.forEach((other) => { other.ariaSort = null; });
      head.ariaSort = down ? "descending" : "ascending";
      body.append(...[...body.rows].sort((r, s) => {
        const a = of(r), b = of(s);
        return a === "" || b === "" ? (a === "") - (b === "") : down ? compare(b, a) : compare(a, b);
      }));
    });
  }
  const copy = button(add(table.parentNode, "div", { class: "copy" }, "", "after"), "Copy as CSV", async () => {
    const quoted = (cell) => {
      const text = plain(cell).replace(/^[=@]/, "'$&");
      return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const csv = [...table.rows].map((row) => [...row.cells].map(quoted).join(",") + "\n").join("");
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

// The index: show the runs whose text has every word.
for (const table of all("table.index")) {
  const box = add(table.parentNode, "p", {}, "", "before"), label = add(box, "label", {}, "Filter ");
  const field = add(label, "input", { type: "search", placeholder: "symbol, policy, verdict" });
  const told = add(box, "output"), rows = [...table.tBodies[0].rows];
  field.oninput = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    told.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs` : "";
  };
}

// Charts over time. Wealth and drawdown are made from the returns that the page offers as CSV.
const data = JSON.parse(all("#data")[0].textContent), csv = all("#daily")[0];
const rows = csv ? decodeURIComponent(csv.href.replace(/^[^,]*,/, "")).trim().split("\n").map((line) => line.split(",")) : [];
const derived = (of) => {
  const what = of.split(" ", 1)[0], column = rows[0].indexOf(of.slice(what.length + 1));
  let wealth = 1, top = 1;
  return [what === "wealth" ? 1 : 0, ...rows.slice(1).map((row) => {
    wealth *= 1 + Number(row[column]);
    top = Math.max(top, wealth);
    return what === "wealth" ? wealth : 100 * (wealth / top - 1);
  })];
};
const iso = (day) => new Date(day * 864e5).toISOString().slice(0, 10);
const layer = (svg, name) => { all("." + name, svg).forEach((old) => old.remove()); return add(svg, "g", { class: name }); };
const boxes = (svg) => svg.dataset.boxes.split(";").map((box) => box.split(" ").map(Number));
const near = (chart, day) => Math.max(chart.days.findLastIndex((other) => other <= day + .5), 0);
let view = null, at = null;

const charts = all(".live").map((figure) => {
  const chart = { ...data.charts[figure.id] }, caption = all("figcaption", figure)[0];
  chart.days = data.days[chart.days];
  chart.lines = chart.lines.map((line) => line.of ? { ...line, values: derived(line.of) } : line);
  chart.text = (value, tick) => value === null ? "\u2014"
    : (tick ? +value.toPrecision(4) + "" : value.toFixed(chart.digits)).replace("-", "\u2212") + (chart.percent ? "\u00a0%" : "");
  chart.svgs = all("svg", figure);
  chart.scale = all(".scale", figure)[0];
  chart.now = chart.log;
  const tools = add(caption, "div", { class: "tools" }, "", "prepend");
  chart.flip = chart.log === null ? null : button(tools, "", () => { chart.now = !chart.now; draw(chart); });
  chart.reset = button(tools, "Reset zoom", () => zoom(null));
  chart.readout = add(caption, "p", { class: "readout" });
  chart.svgs.forEach((svg) => listen(chart, svg, all("h3", figure)[0].textContent));
  return chart;
});

function span(chart) {
  const first = chart.days[0], last = Math.max(chart.days.at(-1), first + 3);
  return view ? [Math.max(view[0], first), Math.min(view[1], last)] : [first, last];
}

function listen(chart, svg, title) {
  const pad = svg.parentNode;
  let brush = null;
  const dayAt = (event) => {
    const box = svg.getBoundingClientRect(), [x0, , x1] = boxes(svg)[0], [a, b] = span(chart);
    const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    return Math.min(b, Math.max(a, a + (x - x0) / (x1 - x0) * (b - a)));
  };
  const away = () => { brush = null; point(null); };
  Object.assign(pad, { tabIndex: 0, role: "group" });
  pad.ariaLabel = title + ": arrow keys read values, plus and minus zoom, 0 shows all";
  pad.onpointermove = (event) => point(dayAt(event), brush);
  pad.onpointerdown = (event) => { point(dayAt(event)); brush = event.button ? null : at; };
  pad.onpointerup = (event) => {
    const end = dayAt(event), [a, b] = span(chart), start = brush;
    brush = null;
    if (start !== null && Math.abs(end - start) > (b - a) / 50) zoom([Math.min(start, end), Math.max(start, end)]);
    else point(at);
  };
  pad.onpointercancel = away;
  pad.onpointerleave = (event) => { if (event.pointerType === "mouse") away(); };
  pad.ondblclick = () => zoom(null);
  pad.onkeydown = (event) => {
    const [a, b] = span(chart), key = event.key, middle = at ?? (a + b) / 2, place = near(chart, at ?? b);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key] * (event.shiftKey ? 21 : 1);
    const reach = { "+": .25, "=": .25, "-": 1 }[key] * (b - a);
    if (step) point(chart.days[Math.min(near(chart, b), Math.max(near(chart, a), at === null ? place : place + step))]);
    else if (reach) zoom([middle - reach, middle + reach]);
    else if (key === "0") zoom(null);
    else if (key === "Escape") away();
    else return;
    event.preventDefault();
  };
}

function zoom(range) {
  view = range && [range[0], Math.max(range[1], range[0] + 5)];
  charts.forEach(draw);
  point(at);
}

// The crosshair stands at the same date in every chart.
function point(day, brush = null) {
  at = day;
  for (const chart of charts) {
    const [a, b] = span(chart), place = near(chart, day);
    chart.readout.textContent = "";
    for (const svg of chart.svgs) {
      const group = layer(svg, "cursor");
      if (day !== null) for (const [x0, y0, x1, y1] of boxes(svg)) {
        const X = (d) => x0 + (Math.min(b, Math.max(a, d)) - a) / (b - a) * (x1 - x0), ends = [X(brush ?? day), X(day)];
        add(group, "path", { d: `M${X(chart.days[place])} ${y0}V${y1}` });
        add(group, "rect", { x: Math.min(...ends), y: y0, width: Math.abs(ends[0] - ends[1]), height: y1 - y0 });
      }
    }
    if (day === null) continue;
    add(chart.readout, "b", {}, iso(chart.days[place]));
    for (const line of chart.lines) add(add(chart.readout, "span", { class: line.role }, ""), "bdi", {}, line.name).after(` ${chart.text(line.values[place])}`);
  }
}

// Round values between two numbers, and round dates between two days.
function ticks(low, high, log) {
  const found = [], power = 10 ** Math.floor(Math.log10((high - low) / 5));
  if (log) for (let ten = 10 ** Math.floor(Math.log10(low)); ten < high; ten *= 10)
    found.push(...[1, 1.5, 2, 3, 5, 7].map((rung) => rung * ten).filter((value) => value >= low && value <= high));
  if (found.length > 2) return found;
  const step = [1, 2, 5, 10].find((rung) => (high - low) / rung / power <= 5) * power;
  return Array.from({ length: 6 }, (_, k) => (Math.ceil(low / step) + k) * step).filter((value) => value <= high);
}
function dates(a, b, most) {
  for (const months of [1, 3, 6, 12, 24, 60, 120, 600]) {
    const found = [], start = new Date(a * 864e5);
    for (let m = Math.ceil((start.getUTCFullYear() * 12 - 22800 + start.getUTCMonth() + 1) / months) * months; ; m += months) {
      const day = Date.UTC(1900, m) / 864e5;
      if (day > b) break;
      found.push([day, iso(day).slice(0, months < 12 ? 7 : 4)]);
    }
    if (found.length <= most) return found.length > 1 ? found : [[a, iso(a)], [b, iso(b)]];
  }
}

// What was drawn before stays; zoomed or on another scale, lines are drawn here in its place.
function draw(chart) {
  const [a, b] = span(chart), first = near(chart, a), last = near(chart, b), still = !view && chart.now === chart.log;
  chart.reset.hidden = !view;
  if (chart.flip) chart.flip.textContent = chart.now ? "Linear scale" : "Log scale";
  if (chart.scale) chart.scale.textContent = chart.now ? "log scale" : "linear scale";
  for (const svg of chart.svgs) {
    const group = layer(svg, "now"), frames = boxes(svg);
    svg.classList.toggle("redrawn", !still);
    if (!still) frames.forEach((box, panel) => drawPanel(chart, svg, group, box, panel, panel === frames.length - 1, [a, b, first, last]));
  }
}

function drawPanel(chart, svg, group, [x0, y0, x1, y1], panel, lowest, [a, b, first, last]) {
  const strip = chart.panels, lines = strip ? [chart.lines[panel]] : chart.lines;
  const seen = (strip ? chart.lines : lines).flatMap((line) => line.values.slice(first, last + 1)).filter((value) => value !== null);
  if (strip || lines.some((line) => line.fill)) seen.push(0);
  const low = Math.min(...seen), high = Math.max(...seen), log = chart.now && low > 0;
  const f = log ? Math.log : (value) => value, back = log ? Math.exp : f;
  const air = strip ? 0 : (f(high) - f(low) || 1) / 20, bottom = f(low) - (low ? air : 0), top = chart.top ?? f(high) + air;
  const X = (day) => (x0 + (day - a) / (b - a) * (x1 - x0)).toFixed(1);
  const Y = (value) => +(y1 - (f(value) - bottom) / (top - bottom || 1) * (y1 - y0)).toFixed(1);
  const path = (d, attributes) => add(group, "path", { d, stroke: "var(--line)", ...attributes });
  const label = (x, y, anchor, text, attributes) => add(group, "text", { x, y: y + 4, "text-anchor": anchor, ...attributes }, text);
  if (strip) label(x0 - 6, (y0 + y1) / 2, "end", lines[0].name);
  else for (const value of ticks(back(bottom), back(top), log)) {
    path(`M${x0} ${Y(value)}H${x1}`);
    label(x0 - 6, Y(value), "end", chart.text(value, true));
  }
  for (const mark of chart.marks) if (mark > a && mark < b) path(`M${X(mark)} ${y0}V${y1}`, { stroke: "var(--muted)", "stroke-dasharray": "1 3" });
  if (lowest) for (const [day, text] of dates(a, b, svg.viewBox.baseVal.width / 90)) label(X(day), y1 + 14, "middle", text);
  path(`M${x0} ${strip ? Y(0) : y1}H${x1}`);
  let used = -99;
  for (const line of [...lines].reverse()) {
    const stroke = `var(--${line.role})`;
    let d = "", pen = "M";
    for (let i = first; i <= last; i++) {
      const value = line.values[i];
      if (value !== null) d += pen + X(Math.max(a, chart.days[i])) + " " + Y(value) + (strip && i < last ? "H" + X(chart.days[i + 1]) : "");
      pen = value === null ? "M" : "L";
    }
    if (!d) continue;
    if (line.fill || strip) add(group, "path", { d: `M${X(a)} ${Y(0)}L${d.slice(1)}V${Y(0)}z`, style: `fill:${stroke};opacity:${strip ? .75 : .16}` });
    if (strip) continue;
    path(d, { stroke, "stroke-width": line.role === "accent" ? 1.7 : 1.3, "stroke-dasharray": line.dash ? "4 2" : "" });
    const value = line.values[last];
    if (value === null || line.dash) continue;
    used = Math.abs(Y(value) - used) < 14 ? used + (Y(value) < used ? -14 : 14) : Y(value);
    label(+x1 + 6, used, "start", chart.text(value), { class: "end", style: `fill:${stroke}` });
  }
}
charts.forEach(draw);
})();
