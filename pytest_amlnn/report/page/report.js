"use strict";
document.documentElement.classList.add("scripted");
const all = (query, from = document) => [...from.querySelectorAll(query)];
const tip = document.getElementById("tip");
let off = new Set(); // numbers of models that are switched off

// sorting: a button in each head, so that a keyboard reaches it
for (const head of all("section th[scope=col][aria-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => sort(head));
}
function sort(head) {
  const table = head.closest("table"), place = [...head.parentNode.children].indexOf(head);
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of all("th", table)) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const order = (a, b) => {
    const [x, y] = [a, b].map((row) => row.children[place]);
    const numbers = [x, y].map((cell) => Number(cell.dataset.value ?? NaN));
    if (!numbers.some(Number.isNaN)) return (up ? 1 : -1) * (numbers[0] - numbers[1]);
    // a dash, or nothing, comes last both ways
    const none = [x, y].map((cell) => ["", "-"].includes(cell.textContent));
    if (none[0] || none[1]) return none[0] - none[1];
    return (up ? 1 : -1) * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(order));
}

// filtering, and models on and off
const filter = document.getElementById("filter");
const boxes = all("form.models input");
function show() {
  const plain = (text) => text.toLowerCase().replaceAll(",", "");
  const words = plain(filter ? filter.value : "").split(/\s+/).filter(Boolean);
  const names = new Set(boxes.filter((box) => !box.checked).map((box) => box.dataset.name));
  let shown = 0, rows = 0;
  for (const row of all("tr[data-model]")) {
    const text = [...row.cells].map((cell) => plain(cell.textContent)).join(" ");
    row.hidden = names.has(row.dataset.model) || !words.every((word) => text.includes(word));
    if (row.closest("#results")) { rows += 1; shown += row.hidden ? 0 : 1; }
  }
  if (filter) document.getElementById("count").textContent = shown < rows ? `${shown} of ${rows} rows` : "";
  for (const box of boxes)
    for (const part of all(`svg .model-${box.value}`)) part.style.display = box.checked ? "" : "none";
}
if (filter) filter.addEventListener("input", show);
for (const box of boxes)
  box.addEventListener("change", () => {
    off = new Set(boxes.filter((b) => !b.checked).map((b) => Number(b.value)));
    show();
  });

// pointing at curves and points
const marks = JSON.parse(document.getElementById("marks").textContent);
const scaled = (value, [low, high], log) =>
  log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
function placeOf(axis, x, y) {
  const [across, up] = [scaled(x, axis.limits[0], axis.log[0]), scaled(y, axis.limits[1], axis.log[1])];
  return [axis.x[0] + across * (axis.x[1] - axis.x[0]), axis.y[0] + up * (axis.y[1] - axis.y[0])];
}
function nearest(figure, at) {
  let best = "", least = 150;
  const look = (axis, x, y, text) => {
    const [px, py] = placeOf(axis, x, y), away = (px - at.x) ** 2 + (py - at.y) ** 2;
    if (away < least) { least = away; best = text(); }
  };
  for (const line of figure.lines)
    if (!off.has(line.m))
      line.v.forEach((v, i) => { if (v !== null) look(figure.axes[line.a], i + 1, v, () => `${line.t}, epoch ${i + 1}: ${v}`); });
  for (const point of figure.points)
    if (!off.has(point.m) && point.x !== null && point.y !== null) look(figure.axes[point.a], point.x, point.y, () => point.t);
  return best;
}
for (const drawing of all(".drawing")) {
  const figure = marks[Number(drawing.dataset.figure)], svg = drawing.querySelector("svg");
  if (!figure || !figure.axes.length) continue;
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    tip.textContent = nearest(figure, at);
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - 330))}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.textContent = ""; });
}

// copying commands
for (const code of all("#reproduce code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); }
  });
  code.after(button);
}

// paper has no folds
addEventListener("beforeprint", () => { for (const fold of all("details")) fold.open = true; });
