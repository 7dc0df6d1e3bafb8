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
})();
