"use strict";
// Draws the data in #data, and redraws them when other variables are chosen or the width changes.

const FEW = 10; // up to this many lines can be distinguished by color, and all are named
const NAMED = 3; // of more lines, this many that end highest and lowest are named
const LETTER = 6.2; // pixels, the width of a letter of a label
const LINE = 14; // pixels from one label to the next
const VIRIDIS = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
const LINES = ["local_learning_rate", "weight_norm", "gradient_norm"];

const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const { variables, updates } = data;
for (const name of ["weight_norm", "gradient_norm", "trust_ratio"])
  // null was not recorded. Numbers that are not finite are strings in JSON.
  data[name] = data[name].map((row) => row.map((x) => (x === null ? undefined : Number(x))));
data.local_learning_rate = data.trust_ratio.map((row) =>
  row.map((ratio, j) => (ratio === undefined ? undefined : data.learning_rate[j] * ratio)),
);

// The chosen variables: those of a kind with a text in their names, except the unchecked ones.

const unchecked = new Set();

function matching() {
  const [text, kind] = [by("text").value.trim(), by("kind").value];
  const isWhole = variables.some(({ name }) => name === text);
  const isNamed = ({ name }) => (isWhole ? name === text : name.includes(text));
  const isKind = (variable) => kind === "all" || variable.kind === kind;
  return variables.flatMap((each, i) => (isNamed(each) && isKind(each) ? [i] : []));
}

function choose(text) {
  unchecked.clear();
  by("text").value = text;
  by("kind").value = "all";
  draw();
}

function draw() {
  const listed = new Set(matching());
  const chosen = [...listed].filter((i) => !unchecked.has(i));
  items.forEach((item, i) => {
    item.hidden = !listed.has(i);
    item.querySelector("input").checked = !unchecked.has(i);
  });
  by("count").textContent = `${chosen.length} of ${variables.length}`;
  for (const row of document.querySelectorAll("tr[data-variable]"))
    row.hidden = !chosen.includes(Number(row.dataset.variable));
  LINES.forEach((id) => drawLines(id, chosen));
  drawMap(chosen.filter((i) => variables[i].adapted));
}

// Texts and elements.

// A name without the shared folder. A long one shows its end, where paths differ.
function short(i, most) {
  const text = variables[i].name.slice(data.shared).replace(/[\n\r]/g, " ");
  return text.length > most ? "…" + text.slice(1 - most) : text;
}

const rounded = (x) => (Number.isFinite(x) ? String(Number(x.toPrecision(4))) : String(x));
const longest = (texts) => LETTER * Math.max(0, ...texts.map((text) => text.length));

function element(parent, tag, attributes = {}, text = "") {
  const made = document.createElementNS(parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

function label(svg, i, text, attributes) {
  element(svg, "text", { class: "label", ...attributes }, text).onclick = () =>
    choose(variables[i].name);
}

// Empties a chart. It has a viewBox, because the width differs in print.
function cleared(figure, isEmpty, height) {
  const svg = figure.querySelector("svg");
  svg.replaceChildren();
  svg.onpointermove = svg.onpointerdown = svg.onpointerleave = null;
  figure.querySelector("p").hidden = !isEmpty;
  svg.style.height = `${isEmpty ? 0 : height}px`;
  svg.setAttribute("viewBox", `0 0 ${svg.clientWidth} ${height}`);
  return svg;
}

// Numbers for an axis: 1, 2 and 5 times powers of 10, or powers alone if these are many.
function logTicks(low, high) {
  const first = Math.floor(Math.log10(low));
  const powers = Array.from(
    { length: Math.ceil(Math.log10(high)) - first + 1 },
    (_, n) => first + n,
  );
  const times = (digits) =>
    powers
      .flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)))
      .filter((x) => low <= x && x <= high);
  const ticks = times([1, 2, 5]);
  const step = Math.ceil(powers.length / 8);
  return ticks.length <= 8 ? ticks : times([1]).filter((_, n) => n % step === 0);
}

// Limits of a logarithmic axis or of colors. Nearly equal numbers do not fill the whole range.
function limits(values) {
  const low = values.reduce((x, y) => Math.min(x, y));
  const high = values.reduce((x, y) => Math.max(x, y));
  return high < 2 * low ? [low / 1.5, high * 1.5] : [low / 1.1, high * 1.1];
}

function updateTicks(width) {
  const last = updates.length - 1;
  const count = Math.max(1, Math.min(last, Math.floor(width / 80)));
  const places = Array.from({ length: count + 1 }, (_, n) => Math.round((n * last) / count));
  return [...new Set(places)];
}

// Lines.

const positive = (x) => (x > 0 && Number.isFinite(x) ? x : NaN);
const color = (rank, count) =>
  count <= FEW ? `var(--line-${rank})` : `hsl(${250 - (210 * rank) / count} 60% 50%)`;

function nearest(distances) {
  const found = distances.map((x) => (Number.isNaN(x) ? Infinity : x));
  return found.indexOf(Math.min(...found));
}

function median(values) {
  const sorted = values.filter((x) => !Number.isNaN(x)).sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

function drawLines(id, chosen) {
  const isRate = id === "local_learning_rate";
  const rows = chosen.filter((i) => !isRate || variables[i].adapted);
  const lines = rows.map((i) => updates.map((_, j) => positive(data[id][i][j])));
  const rate = isRate ? data.learning_rate.map(positive) : [];
  const all = [...lines, rate].flat().filter((x) => !Number.isNaN(x));
  const isEmpty = !rows.length || !all.length;
  const height = 300;
  const svg = cleared(by(id), isEmpty, height);
  if (isEmpty) return;

  // The ends of the lines, highest first, and those that are named.
  const isMany = rows.length > FEW;
  const ends = lines
    .map((line, n) => ({ n, j: line.findLastIndex((x) => !Number.isNaN(x)) }))
    .filter(({ j }) => j >= 0)
    .sort((a, b) => lines[b.n][b.j] - lines[a.n][a.j]);
  const named = ends.filter((_, k) => !isMany || k < NAMED || k >= ends.length - NAMED);
  const letters = Math.floor(((svg.clientWidth < 600 ? 0.3 : 0.25) * svg.clientWidth) / LETTER);
  const texts = named.map(({ n }) => short(rows[n], letters));

  const [left, right] = [48, svg.clientWidth - 24 - longest(texts)];
  const [top, bottom] = [8, height - 22];
  const [low, high] = limits(all);
  const span = updates[updates.length - 1] - updates[0] || 1;
  const x = (j) => left + ((updates[j] - updates[0]) / span) * (right - left);
  const y = (value) => bottom - (Math.log(value / low) / Math.log(high / low)) * (bottom - top);
  const path = (line) => {
    const isGap = (j) => !(line[j] > 0);
    const points = line.map((value, j) => {
      if (isGap(j)) return "";
      const dot = isGap(j - 1) && isGap(j + 1) ? "h0" : ""; // joined to no other point
      return `${isGap(j - 1) ? "M" : "L"}${x(j).toFixed(1)} ${y(value).toFixed(1)}${dot}`;
    });
    return points.join("");
  };

  for (const tick of logTicks(low, high)) {
    element(svg, "path", { class: "grid", d: `M${left} ${y(tick)}H${right}` });
    const place = { x: left - 6, y: y(tick) + 4, "text-anchor": "end" };
    element(svg, "text", { class: "tick", ...place }, rounded(tick));
  }
  for (const j of updateTicks(right - left)) {
    const place = { x: x(j), y: height - 4, "text-anchor": "middle" };
    element(svg, "text", { class: "tick", ...place }, updates[j]);
  }
  const paths = lines.map((line, n) => {
    const isFaint = isMany && !named.some((end) => end.n === n);
    const style = `stroke: ${color(n, rows.length)}`;
    return element(svg, "path", { class: isFaint ? "line faint" : "line", style, d: path(line) });
  });
  const middle = isMany ? updates.map((_, j) => median(lines.map((line) => line[j]))) : [];
  element(svg, "path", { class: "median", d: path(middle) });
  element(svg, "path", { class: "rate", d: path(rate) });

  // Names at the ends of lines, pushed apart downwards, and up again from the bottom.
  const places = named.map(({ n, j }) => y(lines[n][j]));
  for (let k = 1; k < places.length; k++) places[k] = Math.max(places[k], places[k - 1] + LINE);
  for (let k = places.length - 1, lowest = bottom; k >= 0; k--, lowest -= LINE)
    places[k] = Math.min(places[k], lowest);
  named.forEach(({ n, j }, k) => {
    const stroke = color(n, rows.length);
    const d = `M${x(j)} ${y(lines[n][j])}L${right + 12} ${places[k]}`;
    element(svg, "path", { class: "leader", style: `stroke: ${stroke}`, d });
    const style = isMany ? "" : `fill: ${stroke}`;
    label(svg, rows[n], texts[k], { style, x: right + 16, y: places[k] + 4 });
  });

  svg.onpointermove = svg.onpointerdown = (event) => {
    const box = svg.getBoundingClientRect();
    const j = nearest(updates.map((_, k) => Math.abs(x(k) - event.clientX + box.left)));
    const near = nearest(lines.map((line) => Math.abs(y(line[j]) - event.clientY + box.top)));
    paths.forEach((line, n) => line.classList.toggle("hot", n === near));
    const shown = isMany ? [near] : rows.map((_, n) => n);
    shown.sort((a, b) => (lines[b][j] || 0) - (lines[a][j] || 0));
    const values = shown.map((n) => ({
      name: short(rows[n], 60),
      value: data[id][rows[n]][j],
      isNear: n === near,
      background: color(n, rows.length),
    }));
    if (isRate)
      values.push({
        name: "learning rate",
        value: data.learning_rate[j],
        background: "var(--quiet)",
      });
    tell(event, j, values);
  };
  svg.onpointerleave = () => {
    paths.forEach((line) => line.classList.remove("hot"));
    by("tip").hidden = true;
  };
}

// The heat map: a pixel for each variable and update, scaled up.

function drawMap(rows) {
  const row = rows.length > 40 ? Math.max(4, 640 / rows.length) : 16;
  const bottom = row * rows.length;
  const svg = cleared(by("trust_ratio"), !rows.length, bottom + 20);
  if (!rows.length) return;
  const texts = rows.map((i) => short(i, Math.floor((0.35 * svg.clientWidth) / LETTER)));
  const left = 10 + longest(texts);
  const width = svg.clientWidth - left - 16;

  const ratios = rows.flatMap((i) => data.trust_ratio[i]).filter((x) => positive(x) > 0);
  const [low, high] = ratios.length ? limits(ratios) : [1, 2];
  const fill = (ratio) => {
    if (!Number.isFinite(ratio)) return "#e6194b";
    return ratio > 0 ? viridis(Math.log(ratio / low) / Math.log(high / low)) : "#000";
  };
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [updates.length, rows.length];
  const context = canvas.getContext("2d");
  rows.forEach((i, k) => {
    data.trust_ratio[i].forEach((ratio, j) => {
      if (ratio === undefined) return;
      context.fillStyle = fill(ratio);
      context.fillRect(j, k, 1, 1);
    });
    const place = { x: left - 6, y: (k + 0.5) * row + 4, "text-anchor": "end" };
    if (k % Math.ceil(LINE / row) === 0) label(svg, i, texts[k], place);
  });
  const box = { x: left, width, height: bottom, preserveAspectRatio: "none" };
  element(svg, "image", { ...box, href: canvas.toDataURL() });
  for (const j of updateTicks(width)) {
    const x = left + ((j + 0.5) / updates.length) * width;
    const place = { x, y: bottom + 16, "text-anchor": "middle" };
    element(svg, "text", { class: "tick", ...place }, updates[j]);
  }
  by("low").textContent = rounded(low);
  by("high").textContent = rounded(high);
  by("scale").style.background = `linear-gradient(to right, ${VIRIDIS})`;

  svg.onpointermove = svg.onpointerdown = (event) => {
    const place = svg.getBoundingClientRect();
    const i = rows[Math.floor((event.clientY - place.top) / row)];
    const j = Math.floor(((event.clientX - place.left - left) / width) * updates.length);
    by("tip").hidden = true;
    if (i === undefined || updates[j] === undefined) return;
    tell(event, j, [{ name: short(i, 60), value: data.trust_ratio[i][j], isNear: true }]);
  };
  svg.onpointerleave = () => (by("tip").hidden = true);
}

function viridis(share) {
  const place = Math.min(0.9999, share) * (VIRIDIS.length - 1);
  const stop = Math.floor(place);
  const channel = (at, k) => parseInt(VIRIDIS[at].slice(1 + 2 * k, 3 + 2 * k), 16);
  const mixed = [0, 1, 2].map((k) => {
    const [from, to] = [channel(stop, k), channel(stop + 1, k)];
    return Math.round(from + (place - stop) * (to - from));
  });
  return `rgb(${mixed})`;
}

// The values at the pointer.

function tell(event, j, values) {
  const tip = by("tip");
  tip.replaceChildren();
  const epoch = data.epochs[j] === null ? "" : `, epoch ${rounded(data.epochs[j])}`;
  element(tip, "b", {}, `update ${updates[j]}${epoch}`);
  for (const { name, value, isNear, background = "none" } of values) {
    const line = element(tip, "div", { class: isNear ? "near" : "" });
    element(line, "i").style.background = background;
    element(line, "span", {}, name);
    element(line, "span", {}, value === undefined ? "none" : rounded(value));
  }
  tip.hidden = false;
  const within = (place, most) => `${Math.max(4, Math.min(place + 14, most - 4))}px`;
  tip.style.left = within(event.clientX, innerWidth - tip.offsetWidth);
  tip.style.top = within(event.clientY, innerHeight - tip.offsetHeight);
}

// The page when it is opened.

const items = variables.map(({ name }, i) => {
  const item = element(by("names"), "li", { title: name });
  const box = element(element(item, "label"), "input", { type: "checkbox" });
  box.after(short(i, 34));
  box.onchange = () => {
    if (box.checked) unchecked.delete(i);
    else unchecked.add(i);
    draw();
  };
  const layer = name.slice(0, name.lastIndexOf("/") + 1) || name;
  const only = element(item, "button", { type: "button", "aria-label": `only ${layer}` }, "only");
  only.onclick = () => choose(layer);
  return item;
});
by("text").oninput = by("kind").oninput = draw;
by("all").onclick = () => choose("");
by("none").onclick = () => {
  matching().forEach((i) => unchecked.add(i));
  draw();
};
for (const button of document.querySelectorAll("button[data-variable]"))
  button.onclick = () => {
    choose(variables[button.dataset.variable].name);
    by("charts").scrollIntoView();
  };
// With many variables only kernels are shown at first: other norms are far from theirs.
if (variables.length > FEW && variables.some(({ kind }) => kind === "kernel"))
  by("kind").value = "kernel";
by("chooser").open = innerWidth >= 900;
addEventListener("resize", draw);
draw();
