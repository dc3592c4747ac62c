"use strict";

// The number a cell begins with; text and cells without one come after all numbers.
function numberIn(text) {
  const found = text.replace(/[,\u202f\s](?=\d{3}\b)/g, "").match(/^[<>\u2264\u2265]?\s*([-+\u2212]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)/i);
  return found ? parseFloat(found[1].replace("\u2212", "-")) : NaN;
}

function compareCells(first, second) {
  const [a, b] = [numberIn(first), numberIn(second)];
  if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
  if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
  return first.localeCompare(second);
}

function sortBy(table, column) {
  const headings = [...table.tHead.rows[0].cells];
  const down = headings[column].getAttribute("aria-sort") === "ascending";
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
  rows.sort((a, b) => (down ? -1 : 1) * compareCells(a.text, b.text));
  for (const { row } of rows) body.append(row);
  headings.forEach((heading, i) => heading.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
}

for (const table of document.querySelectorAll("main table")) {
  const frame = document.createElement("div");
  frame.className = "scroll";
  table.replaceWith(frame);
  frame.append(table);
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, column));
  });
}

const enlarged = document.getElementById("enlarged");
for (const image of document.querySelectorAll("main img")) {
  image.addEventListener("click", () => {
    enlarged.firstElementChild.src = image.src;
    enlarged.firstElementChild.alt = image.alt;
    enlarged.showModal();
  });
}
enlarged.addEventListener("click", () => enlarged.close());
