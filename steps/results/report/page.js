"use strict";
// Tables: a heading's button sorts by its column, again the other way round. Rows without a figure stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        const key = "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent.trim();
        return { row, key, empty: key === "-" || key === "" };
      });
      const order = (a, b) =>
        typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      keyed.sort((a, b) => a.empty - b.empty || (a.empty ? 0 : (descending ? -1 : 1) * order(a.key, b.key)));
      body.append(...keyed.map((one) => one.row));
    });
  });
}
// Legends: the classes chosen stand out in all figures of the section.
for (const legend of document.querySelectorAll(".legend")) {
  const section = legend.closest("section");
  for (const button of legend.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      const chosen = [...legend.querySelectorAll('[aria-pressed="true"]')].map((one) => one.dataset.series);
      for (const figure of section.querySelectorAll("figure")) {
        figure.classList.toggle("chosen", chosen.length > 0);
        for (const series of figure.querySelectorAll(".series")) {
          series.classList.toggle("on", chosen.includes(series.dataset.series));
        }
      }
    });
  }
}
// A table that stands in one width needs no place in the order of the Tab key.
const unneeded = () => {
  for (const box of document.querySelectorAll(".scroll, pre")) box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
};
addEventListener("resize", unneeded);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", unneeded);
unneeded();
