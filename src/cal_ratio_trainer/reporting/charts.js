// Each block of code in the language "chart" is a figure, drawn here as SVG; consecutive ones stand side by side.
const WIDTH = 460, LEFT = 62, RIGHT = 20, TOP = 8, GAP = 12, BOTTOM = 44, MAIN = 240, LOWER = 84;
const SUPERSCRIPT = { "-": "\u207b", 0: "\u2070", 1: "\u00b9", 2: "\u00b2", 3: "\u00b3", 4: "\u2074", 5: "\u2075", 6: "\u2076", 7: "\u2077", 8: "\u2078", 9: "\u2079" };
let clips = 0;

const safe = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// What an axis has to show; on a logarithmic one the lower ends of errors may go below it.
function valuesOf(panel) {
  const ends = (s) => (panel.log ? [] : [...(s.low || []), ...(s.high || [])]);
  const all = panel.series.flatMap((s) => (s.kind === "rule" ? [s.y] : [...(s.y || []), ...ends(s)]));
  return all.filter((value) => isNumber(value) && (!panel.log || value > 0));
}

function rangeOf(panel) {
  const values = valuesOf(panel);
  let low = Math.min(...values), high = Math.max(...values);
  if (!values.length) [low, high] = panel.log ? [0.1, 1] : [0, 1];
  if (panel.log) {
    low = panel.decades ? 10 ** Math.floor(Math.log10(low / 1.5)) : low / 1.15;
    high = panel.decades ? 10 ** Math.ceil(Math.log10(high * 1.1)) : high * 1.15;
  } else {
    const height = Math.max(high - low, 0.002 * Math.abs(high), panel.min_height || 0) || 1;
    const spare = (height - (high - low)) / 2 + 0.06 * height;
    [low, high] = [low - spare, high + spare];
  }
  return [panel.low ?? low, panel.high ?? high];
}

function ticksOf(low, high, log, room) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9), found = [];
    const every = Math.ceil((last - first + 1) / room);
    if (last - first >= 2) {
      for (let power = first; power <= last; power += every) found.push([10 ** power, "10" + [...String(power)].map((c) => SUPERSCRIPT[c]).join("")]);
      return found;
    }
    for (let power = first - 1; power <= last; power++) for (const m of [1, 2, 5]) {
      const value = m * 10 ** power;
      if (value >= low && value <= high) found.push([value, String(+value.toPrecision(1))]);
    }
    if (found.length > 1) return found;
  }
  const rough = (high - low) / room, size = 10 ** Math.floor(Math.log10(rough));
  const step = size * [1, 2, 5, 10].find((m) => m * size >= rough), found = [];
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) found.push([n * step, (n * step).toFixed(digits).replace("-", "\u2212")]);
  return found;
}

// Position of a value between `from` and `to`; what is beyond the axis stays at its end, with a little to spare.
function scaleOf([low, high], log, from, to) {
  const place = log ? (v) => (Math.log(Math.max(v, low * 1e-3)) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (v) => (v - low) / (high - low);
  return (v) => +(from + (to - from) * Math.min(Math.max(place(v), -0.2), 1.2)).toFixed(1);
}

function outline(edges, y, Y, X, bottom, closed) {
  let path = "", open = false;
  y.forEach((value, i) => {
    if (!isNumber(value)) { if (open && closed) path += `V${bottom}`; open = false; return; }
    path += open ? `V${Y(value)}H${X(edges[i + 1])}` : `M${X(edges[i])} ${closed ? `${bottom}V${Y(value)}` : Y(value)}H${X(edges[i + 1])}`;
    open = true;
  });
  return open && closed ? `${path}V${bottom}` : path;
}

// A triangle, a square or a circle, so that classes differ without colour too.
function mark(s, x, y, r, looks = "", inside = "") {
  const of = `class="${s.hollow ? "hollow" : "dot"}"${looks}`;
  if (s.marker === "^") return `<path ${of} d="M${x} ${+(y - 1.2 * r).toFixed(1)}l${1.2 * r} ${2.2 * r}h${-2.4 * r}Z">${inside}</path>`;
  if (s.marker === "s") return `<rect ${of} x="${+(x - r).toFixed(1)}" y="${+(y - r).toFixed(1)}" width="${2 * r}" height="${2 * r}">${inside}</rect>`;
  return `<circle ${of} cx="${x}" cy="${y}" r="${r}">${inside}</circle>`;
}

function drawn(s, X, Y, bottom, [left, right]) {
  const at = s.x || (s.edges || []).slice(1).map((edge, i) => (edge + s.edges[i]) / 2);
  const known = at.map((_, i) => i).filter((i) => isNumber((s.y || s.low)[i]) && isNumber(at[i]));
  const dash = s.dash ? ` stroke-dasharray="${s.dash}"` : "";
  if (s.kind === "rule") return `<path class="line" d="M${left} ${Y(s.y)}H${right}"${dash}/>`;
  if (s.kind === "band") {
    if (s.edges) return known.map((i) => `<path class="area" d="M${X(s.edges[i])} ${Y(s.low[i])}H${X(s.edges[i + 1])}V${Y(s.high[i])}H${X(s.edges[i])}Z"/>`).join("");
    const [up, down] = [s.high, s.low].map((ends) => known.map((i) => `${X(at[i])} ${Y(ends[i])}`));
    return known.length ? `<path class="area" d="M${[...up, ...down.reverse()].join("L")}Z"/>` : "";
  }
  if (s.kind === "step") {
    const area = s.fill ? `<path class="area" d="${outline(s.edges, s.y, Y, X, bottom, true)}"/>` : "";
    return `${area}<path class="line" d="${outline(s.edges, s.y, Y, X, bottom, false)}"${dash}/>`;
  }
  let path = "", before = -2, marks = "";
  for (const i of known) {
    if (s.kind === "line") path += `${before === i - 1 || s.joins ? (path ? "L" : "M") : "M"}${X(at[i])} ${Y(s.y[i])}`;
    if (s.kind === "points" && s.low) marks += `<path class="line" d="M${X(at[i])} ${Y(s.low[i])}V${Y(s.high[i])}"/>`;
    if (s.kind === "points" || s.marked) {
      const said = s.names ? `<title>${safe(s.names[i])}</title>` : "", paled = s.fades ? ` opacity="${(0.25 + 0.75 * i / at.length).toFixed(2)}"` : "";
      marks += mark(s, X(at[i]), Y(s.y[i]), s.radius || 3, paled, said);
    }
    before = i;
  }
  return (path ? `<path class="line" d="${path}"${dash}/>` : "") + marks;
}

function panelSvg(panel, chart, top, height, isLast) {
  const [left, right, bottom] = [LEFT, WIDTH - RIGHT, top + height], [low, high] = rangeOf(panel), x = chart.x;
  const X = scaleOf([x.low, x.high], x.log, left, right), Y = scaleOf([low, high], panel.log, bottom, top), clip = `clip${clips++}`;
  let svg = `<clipPath id="${clip}"><rect x="${left}" y="${top}" width="${right - left}" height="${height}"/></clipPath>`;
  for (const [value, text] of ticksOf(low, high, panel.log, height > 150 ? 6 : 3)) svg += `<path class="grid" d="M${left} ${Y(value)}H${right}"/><text x="${left - 6}" y="${Y(value) + 4}" text-anchor="end">${text}</text>`;
  for (const [value, text] of x.ticks || ticksOf(x.low, x.high, x.log, 7)) {
    svg += `<path class="grid" d="M${X(value)} ${top}V${bottom}"/>`;
    if (isLast) svg += `<text x="${X(value)}" y="${bottom + 16}" text-anchor="middle">${safe(text)}</text>`;
  }
  svg += `<g clip-path="url(#${clip})">${panel.series.map((s) => `<g class="c-${s.colour}">${drawn(s, X, Y, bottom, [left, right])}</g>`).join("")}</g>`;
  svg += `<rect class="frame" x="${left}" y="${top}" width="${right - left}" height="${height}"/>`;
  const middle = top + height / 2;
  return `${svg}<text transform="rotate(-90 13 ${middle})" x="13" y="${middle}" text-anchor="middle">${safe(panel.title)}</text>`;
}

function swatch(s) {
  const inside = s.kind === "band" ? '<rect class="area" y="2" width="26" height="10"/>' : s.kind === "points" ? mark(s, 13, 7, 4)
    : `${s.fill ? '<rect class="area" y="7" width="26" height="6"/>' : ""}<path class="line" d="M0 7H26"${s.dash ? ` stroke-dasharray="${s.dash}"` : ""}/>`;
  return `<svg viewBox="0 0 26 14" width="26" height="14" class="c-${s.colour}" aria-hidden="true">${inside}</svg>`;
}

// Horizontal bars with errors, from above.
function barsHtml({ title, bars }) {
  const row = 19, left = 150, right = WIDTH - RIGHT, bottom = TOP + row * bars.names.length, { y, error } = bars;
  const range = rangeOf({ series: [{ y: [0, ...y], low: y.map((v, i) => v - error[i]), high: y.map((v, i) => v + error[i]) }] }), X = scaleOf(range, false, left, right);
  let svg = ticksOf(...range, false, 5).map(([value, text]) => `<path class="grid" d="M${X(value)} ${TOP}V${bottom}"/><text x="${X(value)}" y="${bottom + 16}" text-anchor="middle">${text}</text>`).join("");
  bars.names.forEach((name, i) => {
    const top = TOP + row * i + 3, middle = top + row / 2 - 3, [from, to] = [X(0), X(y[i])];
    svg += `<text x="${left - 6}" y="${middle + 4}" text-anchor="end">${safe(name)}</text><rect class="bar" x="${Math.min(from, to)}" y="${top}" width="${Math.abs(to - from).toFixed(1)}" height="${row - 6}"/><path class="line" d="M${X(y[i] - error[i])} ${middle}H${X(y[i] + error[i])}"/>`;
  });
  svg += `<path class="line" d="M${X(0)} ${TOP}V${bottom}"/>`;
  return `<figcaption>${safe(title)}</figcaption><svg class="plot c-qcd" viewBox="0 0 ${WIDTH} ${bottom + 24}" role="img" aria-label="${safe(title)}">${svg}</svg>`;
}

function figureHtml(chart) {
  if (chart.bars) return barsHtml(chart);
  const panels = chart.panels, height = TOP + MAIN + BOTTOM + (panels[1] ? GAP + LOWER : 0);
  const named = panels[0].series.filter((s) => s.name);
  let svg = panelSvg(panels[0], chart, TOP, MAIN, !panels[1]);
  if (panels[1]) svg += panelSvg(panels[1], chart, TOP + MAIN + GAP, LOWER, true);
  svg += `<text x="${WIDTH - RIGHT}" y="${height - 6}" text-anchor="end">${safe(chart.x.title)}</text>`;
  const legend = named.length ? `<ul class="legend">${named.map((s) => `<li>${swatch(s)} ${safe(s.name)}</li>`).join("")}</ul>` : "";
  return `<figcaption>${safe(chart.title)}${chart.text ? `<small>${safe(chart.text)}</small>` : ""}</figcaption>${legend}<svg class="plot" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${safe(chart.title)}">${svg}</svg>`;
}

// One output by class: data as points over simulation as a filled histogram or lines, and the ratio of data and simulation.
const CLASSES = { sig: { fill: true }, qcd: { dash: "6 3" }, bib: { kind: "points" }, mc: { fill: true }, data: { kind: "points" } };
function scoreChart(fixed, [classes, text]) {
  const names = fixed.classes.map((each) => each[0]);
  const series = classes.flatMap(([y, errors], i) => {
    const style = CLASSES[names[i]] || {}, [low, high] = [-1, 1].map((sign) => y.map((value, bin) => value + sign * errors[bin]));
    const positive = y.map((value) => ((fixed.log_y || style.kind === "points") && !(value > 0) ? null : value));
    const of = { edges: fixed.edges, colour: names[i], name: fixed.classes[i][1], kind: "step", ...style, y: positive };
    if (of.kind === "points") return [{ ...of, low, high, x: fixed.x.log ? fixed.edges.slice(1).map((e, bin) => Math.sqrt(e * Math.max(fixed.edges[bin], fixed.x.low))) : undefined }];
    return [of, { kind: "band", edges: fixed.edges, colour: names[i], low: low.map((v, bin) => (y[bin] > 0 ? Math.max(v, y[bin] * 1e-3) : null)), high }];
  });
  const panels = [{ title: "fraction of jets / bin", log: fixed.log_y, decades: true, series, ...(fixed.log_y ? {} : { low: 0 }) }];
  const [data, mc] = ["data", "mc"].map((name) => names.indexOf(name));
  if (data >= 0 && mc >= 0) {
    const by = (values) => values.map((value, bin) => (classes[mc][0][bin] > 0 ? value / classes[mc][0][bin] : null));
    const [ratio, error, band] = [by(classes[data][0]).map((r) => r || null), by(classes[data][1]), by(classes[mc][1])];
    const ends = (middle, width, sign) => middle.map((value, bin) => (value === null ? null : value + sign * width[bin]));
    const one = band.map((value) => (value === null ? null : 1));
    panels.push({ title: "data / MC", low: 0, high: 2, series: [
      { kind: "band", edges: fixed.edges, colour: "mc", low: ends(one, band, -1), high: ends(one, band, 1) }, { kind: "rule", y: 1, colour: "grey" },
      { kind: "points", edges: fixed.edges, x: series.find((s) => s.kind === "points").x, colour: "data", y: ratio, low: ends(ratio, error, -1), high: ends(ratio, error, 1) }] });
  }
  return { title: fixed.title, text, x: fixed.x, panels };
}

// The figures of every epoch, with a slider; the chosen epoch stays where the page loads again.
function epochSlider(place, { epochs, recommended, figures, frames }) {
  const key = `epoch ${document.title}`, newest = epochs.length - 1;
  place.className = "epochs";
  place.innerHTML = `<p class="slider"><label>Epoch <output></output> <input type="range" min="0" max="${newest}" step="1"></label> ${epochs.includes(recommended) ? `<button type="button" data-place="${epochs.indexOf(recommended)}">recommended: ${recommended}</button> ` : ""}<button type="button" data-place="${newest}">newest: ${epochs[newest]}</button></p><div class="charts">${figures.map(() => '<figure class="chart"></figure>').join("")}</div>`;
  const [slider, output, shownAs] = [place.querySelector("input"), place.querySelector("output"), place.querySelectorAll("figure")];
  function show(position) {
    slider.value = position;
    output.textContent = epochs[position];
    slider.setAttribute("aria-valuetext", `epoch ${epochs[position]}`);
    figures.forEach((fixed, i) => { shownAs[i].innerHTML = figureHtml(scoreChart(fixed, frames[position][i])); });
    try { position === newest ? sessionStorage.removeItem(key) : sessionStorage.setItem(key, epochs[position]); } catch { /* not kept */ }
  }
  slider.addEventListener("input", () => show(Number(slider.value)));
  place.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => show(Number(button.dataset.place))));
  let kept = -1;
  try { kept = epochs.indexOf(Number(sessionStorage.getItem(key) ?? -1)); } catch { /* not kept */ }
  show(kept < 0 ? newest : kept);
}

// A page of a run in training loads itself again; one that nobody has renewed for long says so.
function follow(place, { updated, every }) {
  const late = () => (Date.now() - Date.parse(updated)) / 1000;
  const minutes = Math.round(late() / 60);
  place.innerHTML = late() > Math.max(20 * every, 1800) ? `<p class="late">Not renewed for ${minutes} minutes: the training may have been killed.</p>` : "";
  setTimeout(() => location.reload(), 1000 * every);
}

for (const block of document.querySelectorAll("code.language-chart")) {
  const chart = JSON.parse(block.textContent), before = block.parentElement.previousElementSibling;
  const place = document.createElement(chart.epochs || chart.updated ? "div" : "figure");
  if (chart.epochs || chart.updated) block.parentElement.replaceWith(place);
  if (chart.epochs) { epochSlider(place, chart); continue; }
  if (chart.updated) { follow(place, chart); continue; }
  place.className = "chart";
  place.innerHTML = figureHtml(chart.edges ? scoreChart(chart, chart.frame) : chart);
  if (before && before.matches("div.charts")) {
    before.append(place);
    block.parentElement.remove();
  } else {
    const row = document.createElement("div");
    row.className = "charts";
    row.append(place);
    block.parentElement.replaceWith(row);
  }
}
