"use strict";

// The number that a cell begins with: "1,234 (3 %)" is 1234.
function numberIn(text) {
  const found = text.replace(/[,\u202f\s](?=\d{3}(?!\d))/g, "").match(/^[<>\u2264\u2265]?\s*([-+\u2212]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)/i);
  return found ? parseFloat(found[1].replace("\u2212", "-")) : NaN;
}

// Numbers stand before text.
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
  // Cells that say nothing come last, whichever way the others go.
  const blank = ({ text }) => /^(|nan|[-\u2013\u2014])$/i.test(text);
  rows.sort((a, b) => blank(a) - blank(b) || (down ? -1 : 1) * compareCells(a.text, b.text));
  for (const { row } of rows) body.append(row);
  headings.forEach((heading, i) => heading.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending"));
}

for (const table of document.querySelectorAll("main table")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (table.tBodies.length === 0 || !heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, column));
  });
}

// A folded part opens when something in it is linked to, and for printing.
function unfold(place) {
  for (let part = place; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
}
function unfoldLinked() {
  const heading = document.getElementById(location.hash.slice(1));
  const next = heading && heading.nextElementSibling;
  if (next && next.matches("details.long")) next.open = true;
  unfold(heading);
}
addEventListener("hashchange", unfoldLinked);
unfoldLinked();
addEventListener("beforeprint", () => document.querySelectorAll("details.long").forEach((part) => { part.open = true; }));

const enlarged = document.getElementById("enlarged");
const large = enlarged.querySelector("img");
const images = [...document.querySelectorAll("main img")];
let shown = 0;
function show(place) {
  shown = (place + images.length) % images.length;
  large.src = images[shown].src;
  large.alt = images[shown].alt;
  enlarged.querySelector(".caption").textContent = images[shown].alt;
  if (!enlarged.open) enlarged.showModal();
}
images.forEach((image, place) => {
  image.setAttribute("role", "button");
  image.setAttribute("aria-label", `${image.alt}: enlarge`);
  image.addEventListener("click", () => show(place));
  image.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    show(place);
  });
});
for (const button of enlarged.querySelectorAll("button")) {
  button.addEventListener("click", (event) => { event.stopPropagation(); show(shown + Number(button.value)); });
}
enlarged.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") show(shown - 1);
  if (event.key === "ArrowRight") show(shown + 1);
});
enlarged.addEventListener("click", () => enlarged.close());
// Back to where one was, which may be another figure than the one that was opened.
enlarged.addEventListener("close", () => { unfold(images[shown]); images[shown].focus(); });
