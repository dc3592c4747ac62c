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

// The page of a run: the figures of every epoch, of which a slider shows one; it stays when the page loads again.
function epochSlider(block) {
  const { recommended } = JSON.parse(block.textContent), epochs = [], parts = [], key = `epoch ${document.title}`;
  for (let heading = block.parentElement.nextElementSibling; heading && heading.tagName === "H4"; heading = parts.at(-1).nextElementSibling) {
    epochs.push(Number(heading.textContent.match(/\d+/)[0]));
    parts.push(heading.nextElementSibling);
    heading.hidden = true;
  }
  const newest = epochs.length - 1, bar = document.createElement("p");
  bar.className = "slider";
  bar.innerHTML = `<label>Epoch <output></output> <input type="range" min="0" max="${newest}" step="1"></label> ${epochs.includes(recommended) ? `<button type="button" value="${epochs.indexOf(recommended)}">recommended: ${recommended}</button> ` : ""}<button type="button" value="${newest}">newest: ${epochs[newest]}</button>`;
  block.parentElement.replaceWith(bar);
  const slider = bar.querySelector("input");
  function show(position) {
    slider.value = position;
    slider.setAttribute("aria-valuetext", `epoch ${epochs[position]}`);
    bar.querySelector("output").textContent = epochs[position];
    parts.forEach((part, i) => { part.hidden = i !== position; });
    try { position === newest ? sessionStorage.removeItem(key) : sessionStorage.setItem(key, epochs[position]); } catch { /* not kept */ }
  }
  slider.addEventListener("input", () => show(Number(slider.value)));
  bar.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => show(Number(button.value))));
  let kept = -1;
  try { kept = epochs.indexOf(Number(sessionStorage.getItem(key) ?? -1)); } catch { /* not kept */ }
  show(kept < 0 ? newest : kept);
}
document.querySelectorAll("code.language-epochs").forEach(epochSlider);

// A page of a run in training loads itself again; one that nobody has renewed for long says so.
for (const block of document.querySelectorAll("code.language-updated")) {
  const { updated, every } = JSON.parse(block.textContent), late = (Date.now() - Date.parse(updated)) / 1000;
  const said = document.createElement("p");
  said.className = "late";
  said.textContent = `Not renewed for ${Math.round(late / 60)} minutes: the training may have been killed.`;
  if (late > Math.max(20 * every, 1800)) block.parentElement.replaceWith(said); else block.parentElement.remove();
  setTimeout(() => location.reload(), 1000 * every);
}

const enlarged = document.getElementById("enlarged");
const large = enlarged.querySelector("img");
let shown = null;
function show(image) {
  shown = image;
  large.src = image.src;
  large.alt = image.alt;
  enlarged.querySelector(".caption").textContent = image.alt;
  if (!enlarged.open) enlarged.showModal();
}
// The next figure, without those of other epochs than the one shown.
function step(by) {
  const images = [...document.querySelectorAll("main img")].filter((image) => !image.closest("[hidden]"));
  show(images.at((images.indexOf(shown) + by) % images.length));
}
for (const image of document.querySelectorAll("main img")) {
  image.setAttribute("role", "button");
  image.setAttribute("aria-label", `${image.alt}: enlarge`);
  image.addEventListener("click", () => show(image));
  image.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    show(image);
  });
}
for (const button of enlarged.querySelectorAll("button")) {
  button.addEventListener("click", (event) => { event.stopPropagation(); step(Number(button.value)); });
}
enlarged.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
enlarged.addEventListener("click", () => enlarged.close());
// Back to where one was, which may be another figure than the one that was opened.
enlarged.addEventListener("close", () => { unfold(shown); shown.focus(); });
