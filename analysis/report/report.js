"use strict";

// What only works with this script is shown by it.
document.documentElement.classList.add("scripted");

// In the viewer of MLflow's artifacts nothing lies beside the page, no other page opens, and the page
// has no address that a link to a part of it could add to.
if (["blob:", "about:", "data:"].includes(location.protocol)) {
  for (const link of document.querySelectorAll('a:not([href^="#"])')) link.removeAttribute("href");
  for (const link of document.querySelectorAll("a[href]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById(link.hash.slice(1)).scrollIntoView();
    });
  }
  document.querySelector(".elsewhere").hidden = false;
}

// Sorting: a click or a key on a column's head; what is missing stays last in both directions.
const collator = new Intl.Collator("en", { numeric: true });

function sortBy(head) {
  const table = head.closest("table");
  const place = [...head.parentNode.children].indexOf(head);
  const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const sign = order === "ascending" ? 1 : -1;
  const isNumeric = head.classList.contains("number");
  const rows = [...table.tBodies[0].rows].map((row) => {
    const cell = row.cells[place];
    const isMissing = cell.textContent === "–";
    return { row, isMissing, key: isNumeric ? Number(cell.dataset.sort) : cell.textContent };
  });
  rows.sort((a, b) => {
    if (a.isMissing || b.isMissing) return a.isMissing - b.isMissing;
    return sign * (isNumeric ? Math.sign(a.key - b.key) || 0 : collator.compare(a.key, b.key));
  });
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  table.tBodies[0].append(...rows.map((entry) => entry.row));
}

for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// A figure, large, in one dialog for all; Escape closes it and the focus goes back by itself.
const dialog = document.getElementById("enlarged");

for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure");
    dialog.querySelector("h2").textContent = figure.querySelector("h3").textContent;
    dialog.querySelector(".sheet").replaceChildren(figure.querySelector("img").cloneNode());
    dialog.showModal();
  });
}

dialog.addEventListener("click", (event) => {
  const isOutside = event.target === dialog; // its content fills it, so this is the backdrop
  if (isOutside || event.target.closest("button")) dialog.close();
});

// Paper has no summary to click on; what is too long for a line of facts stays closed.
let opened = [];

window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open], dd *)")];
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
