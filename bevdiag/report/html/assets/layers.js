"use strict";

// The layer table folds: a module's button hides and shows the rows inside it. Without scripts
// every row is there.

(() => {
  const rows = [...document.querySelectorAll("#layers tbody tr")];
  if (!rows.length) return;
  const depthOf = (row) => Number(row.dataset.depth);
  const isOpen = (row) => row.querySelector("button")?.getAttribute("aria-expanded") === "true";

  function refresh() {
    let hiddenBelow = Infinity;
    for (const row of rows) {
      if (depthOf(row) <= hiddenBelow) hiddenBelow = Infinity;
      row.hidden = depthOf(row) > hiddenBelow;
      if (!row.hidden && row.querySelector("button") && !isOpen(row)) hiddenBelow = depthOf(row);
    }
  }

  function setOpen(row, open) {
    row.querySelector("button")?.setAttribute("aria-expanded", String(open));
  }

  for (const row of rows) {
    setOpen(row, depthOf(row) < 1);
    row.querySelector("button")?.addEventListener("click", () => {
      setOpen(row, !isOpen(row));
      refresh();
    });
  }
  const all = document.querySelector("[data-layers=all]");
  all.hidden = false;
  all.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", String(open));
    rows.forEach((row) => setOpen(row, open || depthOf(row) < 1));
    refresh();
  });
  refresh();
})();
