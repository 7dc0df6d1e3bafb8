"use strict";
(() => {
  const table = document.querySelector("#runs table");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows];
  const box = document.createElement("p");
  box.innerHTML = '<label>Filter <input type="search" placeholder="symbol, policy, verdict"></label> <output></output>';
  table.closest(".scroll").before(box);
  const field = box.querySelector("input"), told = box.querySelector("output");
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = wanted.length ? `${shown} of ${rows.length} runs` : "";
  });
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = /^[+\u2212]?[\d.,]+(?![\d-])/.exec(text); // no date, no run id
    return number ? parseFloat(number[0].replace("\u2212", "-").replace(/,/g, "")) : text;
  };
  [...table.tHead.rows[0].cells].forEach((head, column, heads) => {
    if (head.textContent === "growth") return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const unknown = (x) => x === "\u2014";
      rows.sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        if (unknown(x) || unknown(y)) return unknown(x) - unknown(y);
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
})();
