// Draws what is in a report. Everything that was said by a script or is called somehow is put in as text, never as HTML.
"use strict";

const ENDINGS = ["succeeded", "failed", "interrupted"];
const css = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const many = number => number.toLocaleString("en");

async function decoded(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const run = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  for (let index = 1; index < run.start.length; index++) run.start[index] += run.start[index - 1];
  run.shown = shortHosts(run.hosts);
  return run;
}

function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${milliseconds.toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
}

// The numbers of an axis: round ones, in units that people count in, as many as have room.
const ROUND = [1, 2, 5].flatMap(one => [1e-3, 1e-2, 0.1, 1].map(unit => one * unit)).concat(10, 15, 20, 30,
  [1, 2, 5, 10, 15, 20, 30].map(minutes => minutes * 60), [1, 2, 3, 6, 12, 24, 48, 96, 192, 384, 768, 1536].map(hours => hours * 3600)).sort((one, other) => one - other);

function timeText(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 0.9999) return `${+(seconds * 1000).toPrecision(4)} ms`;
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([unit]) => seconds >= unit * 0.9999);
  let text = [], rest = seconds;
  for (const [unit, name] of parts.slice(first, first + 2)) {
    const number = unit === 1 ? +rest.toFixed(3) : Math.floor(rest / unit + 1e-6);
    if (number > 0) text.push(`${number} ${name}`);
    rest -= number * unit;
  }
  return text.join(" ");
}

const sizeText = megabytes => megabytes < 1000 ? `${+megabytes.toPrecision(3)} MB` : `${+(megabytes / 1000).toPrecision(3)} GB`;

function timeTicks(from, to, most) {
  const step = ROUND.find(one => (to - from) / one <= most) ?? (to - from) / most;
  const ticks = [];
  for (let number = Math.ceil(from / step - 1e-9); number * step <= to * (1 + 1e-9); number++) ticks.push(number * step);
  return ticks;
}

// Of a logarithmic axis: one, two, five, or what is round in minutes and hours; where these are too many, fewer.
function ratioTicks(low, high, times, most) {
  const decades = Array.from({ length: 13 }, (_, power) => 10 ** (power - 4));
  const all = times ? ROUND.filter(one => one >= 1 || decades.some(unit => [1, 2, 5].some(first => Math.abs(one / unit / first - 1) < 1e-6)))
    : decades.flatMap(unit => [unit, 2 * unit, 5 * unit]);
  let ticks = all.filter(one => one >= low * 0.999 && one <= high * 1.001);
  while (ticks.length > most) ticks = ticks.filter((_, number) => number % 2 === 0);
  if (ticks.length <= 2 && ticks.length !== most) {
    const step = 10 ** Math.floor(Math.log10((high - low) / 3 || low / 100));  // of a narrow range
    const wide = [1, 2, 5, 10].map(one => one * step).find(one => (high - low) / one <= most) ?? step;
    ticks = Array.from({ length: Math.max(0, Math.floor(high / wide) - Math.ceil(low / wide) + 1) }, (_, number) => (Math.ceil(low / wide) + number) * wide);
  }
  const apart = 0.7 * Math.log(high / low) / most;  // or their texts would touch
  return ticks.reduce((kept, one) => kept.length && Math.log(one / kept.at(-1)) < apart ? kept : [...kept, one], []);
}

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

// What hosts are called where there is little room: without the domain that all have in common.
function shortHosts(hosts) {
  const domain = host => host.slice((host + ".").indexOf("."));
  return hosts.length > 1 && hosts.every(host => domain(host) === domain(hosts[0]) && host[0] !== ".") ? hosts.map(host => host.split(".")[0]) : hosts;
}

function fitting(draw, text, width) {
  if (draw.measureText(text).width <= width) return text;
  while (text && draw.measureText(text + "…").width > width) text = text.slice(0, -1);
  return text + "…";
}

// ---- when each script ran: a row for each slot of each host, a bar for each attempt

class Timeline {
  constructor(place, run) {
    this.run = run;
    this.rows = Timeline.rows(run);
    this.end = Math.max(1, ...Timeline.ends(run));
    [this.from, this.to] = [0, this.end];
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${many(run.start.length)} attempts on ${many(this.rows.length)} slots`);
    this.told = element("div", { className: "told" });
    this.told.setAttribute("aria-live", "polite");
    const button = (text, act) => element("button", { type: "button", textContent: text, onclick: act });
    const legend = ENDINGS.map(ending => {
      const colour = element("i");
      colour.style.background = `var(--${ending})`;
      return element("span", {}, colour, ending === "failed" ? "failed (taller)" : ending);
    });
    place.append(
      element("div", { className: "tools" }, button("+", () => this.zoom(0.5)), button("−", () => this.zoom(2)),
        button("all of it", () => this.show(0, this.end)), ...legend,
        element("span", { className: "how", textContent: "wheel: zoom · drag: move · point: what it is" })),
      this.canvas, this.told);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  static ends(run) {
    let last = 0;
    for (let index = 0; index < run.start.length; index++) last = Math.max(last, run.start[index] + run.length[index]);
    return [last];
  }

  // The columns are in order of host, slot and start: each row is a range of them.
  static rows(run) {
    const rows = [];
    for (let index = 0; index < run.start.length; index++) {
      const last = rows[rows.length - 1];
      if (last && last.host === run.host[index] && last.lane === run.lane[index]) last.end = index + 1;
      else rows.push({ host: run.host[index], lane: run.lane[index], begin: index, end: index + 1 });
    }
    return rows;
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.offsetX));
    }, { passive: false });
    let grip = null;
    canvas.addEventListener("pointerdown", event => { grip = this.time(event.offsetX); canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { grip = null; });
    canvas.addEventListener("pointermove", event => {
      if (grip === null) { this.tell(event.offsetX, event.offsetY); return; }
      const moved = grip - this.time(event.offsetX);
      this.show(this.from + moved, this.to + moved);
    });
    canvas.addEventListener("keydown", event => {
      const step = (this.to - this.from) / 5;
      const acts = { "+": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.show(0, this.end),
        ArrowLeft: () => this.show(this.from - step, this.to - step), ArrowRight: () => this.show(this.from + step, this.to + step) };
      if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
    });
  }

  get left() { return this.run.hosts.length > 1 ? Math.min(120, this.canvas.clientWidth / 4) : 8; }
  time(x) { return this.from + (x - this.left) / (this.canvas.clientWidth - this.left) * (this.to - this.from); }

  zoom(factor, around = (this.from + this.to) / 2) {
    const width = Math.min(this.end, Math.max(5, (this.to - this.from) * factor));
    const part = (around - this.from) / (this.to - this.from);
    this.show(around - width * part, around + width * (1 - part));
  }

  show(from, to) {
    const width = Math.min(this.end, to - from);
    this.from = Math.max(0, Math.min(from, this.end - width));
    this.to = this.from + width;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    const { canvas, rows, run } = this;
    const width = canvas.clientWidth, axis = 22;
    if (!width) return;
    const height = Math.max(1.5, Math.min(16, 520 / Math.max(1, rows.length)));  // of one row
    canvas.style.height = `${Math.max(60, rows.length * height + axis)}px`;
    const scale = devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = canvas.clientHeight * scale;
    const draw = canvas.getContext("2d");
    draw.scale(scale, scale);
    this.height = height;
    const left = this.left, perPixel = (this.to - this.from) / (width - left);
    const colours = ENDINGS.map(css);
    rows.forEach((row, number) => {
      const top = number * height;
      let drawn = -1, worst = 0;
      for (let index = this.firstVisible(row); index < row.end && run.start[index] <= this.to; index++) {
        const x = left + (run.start[index] - this.from) / perPixel;
        const end = Math.max(x + 0.7, left + (run.start[index] + run.length[index] - this.from) / perPixel);
        const ending = run.ending[index];
        if (end <= drawn && ending <= worst) continue;  // it would hide behind what this pixel shows already
        const begin = Math.max(left, x), inset = ending === 1 || height < 4 ? 0 : height * 0.18;
        draw.fillStyle = colours[ending];
        draw.fillRect(begin, top + inset, Math.max(0.7, end - begin - (end - begin > 3 ? 1 : 0)), height - 2 * inset - (height < 4 ? 0 : 1));
        worst = end > drawn ? ending : Math.max(worst, ending);
        drawn = Math.max(drawn, Math.ceil(end));
      }
    });
    this.names(draw, rows, height, left);
    this.axis(draw, rows.length * height, left, width);
  }

  // The first attempt of a row that ends after the left edge: a slot has one at a time, so their ends are in order, too.
  firstVisible(row) {
    let [low, high] = [row.begin, row.end];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.run.start[middle] + this.run.length[middle] < this.from) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  names(draw, rows, height, left) {
    if (this.run.hosts.length < 2) return;
    draw.fillStyle = css("dim");
    draw.font = "12px system-ui, sans-serif";
    draw.textBaseline = "top";
    let free = 0;
    rows.forEach((row, number) => {
      if (number && rows[number - 1].host === row.host) return;
      const top = number * height;
      draw.fillRect(0, top, left, 0.5);
      if (top >= free) {
        draw.fillText(fitting(draw, this.run.shown[row.host], left - 6), 0, top + 1);
        free = top + 13;
      }
    });
  }

  axis(draw, top, left, width) {
    draw.fillStyle = css("dim");
    draw.font = "12px system-ui, sans-serif";
    draw.textBaseline = "top";
    draw.textAlign = "center";
    let free = 0;
    for (const time of timeTicks(this.from / 1000, this.to / 1000, Math.max(2, Math.floor((width - left) / 90)))) {
      const x = left + (time * 1000 - this.from) / (this.to - this.from) * (width - left);
      const text = timeText(time), half = draw.measureText(text).width / 2;
      const middle = Math.min(Math.max(x, half), width - half);
      draw.fillRect(Math.min(x, width - 1), top + 1, 1, 4);
      if (middle - half < free) continue;
      draw.fillText(text, middle, top + 6);
      free = middle + half + 8;
    }
    draw.textAlign = "left";
  }

  tell(x, y) {
    const row = this.rows[Math.floor(y / this.height)], time = this.time(x), run = this.run;
    if (!row) return;
    const near = (this.to - this.from) / this.canvas.clientWidth * 2;
    for (let index = this.firstVisible(row); index < row.end && run.start[index] <= time + near; index++) {
      if (run.start[index] + run.length[index] < time - near) continue;
      const again = run.attempt[index] > 1 ? `, attempt ${run.attempt[index]}` : "";
      const memory = run.memory[index] ? `, ${many(Math.round(run.memory[index] / 1000))} MB` : "";
      this.told.textContent = `${run.cases[run.case[index]] ?? "?"}: ${ENDINGS[run.ending[index]]}${again}, ${duration(run.length[index])} ` +
        `from ${new Date(run.first * 1000 + run.start[index]).toLocaleString()}, CPU ${duration(run.cpu[index])}${memory}, ` +
        `on ${run.hosts[run.host[index]]}`;
      return;
    }
    this.told.textContent = "";
  }
}

// ---- distributions, by a library

function layout(x, y, more = {}) {
  const line = css("line");
  return {
    margin: { l: 55, r: 10, t: 10, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("text"), size: 12 }, barmode: "stack", bargap: 0, showlegend: more.legend ?? false,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { title: { text: x }, gridcolor: line, zerolinecolor: line, tickangle: 0, ...more.xaxis },
    yaxis: { title: { text: y }, gridcolor: line, zerolinecolor: line, rangemode: "tozero", ...(more.most < 6 ? { dtick: 1 } : {}) },
  };
}

// Counts of values in bins of equal width, or of equal ratio, by environment: the largest five, and the rest together.
function histogram(run, values, logarithmic) {
  const kept = [];
  for (let index = 0; index < values.length; index++) if (values[index] > 0 && run.ending[index] < 2) kept.push(index);
  if (!kept.length) return null;
  const scaled = index => logarithmic ? Math.log10(values[index]) : values[index];
  let [low, high] = [Infinity, -Infinity];
  for (const index of kept) { low = Math.min(low, scaled(index)); high = Math.max(high, scaled(index)); }
  if (!logarithmic) low = 0;
  const bins = 50, width = (high - low) / bins || (logarithmic ? 0.02 : 1);
  const counts = new Map();
  for (const index of kept) {
    const of = counts.get(run.environment[index]) ?? counts.set(run.environment[index], new Array(bins).fill(0)).get(run.environment[index]);
    of[Math.min(bins - 1, Math.floor((scaled(index) - low) / width))]++;
  }
  const total = of => of.reduce((sum, one) => sum + one, 0);
  const sorted = [...counts].sort((one, other) => total(other[1]) - total(one[1]));
  const shown = sorted.slice(0, 5).map(([environment, of]) => [run.environments[environment], of]);
  if (sorted.length > 5) {
    const rest = new Array(bins).fill(0);
    for (const [, of] of sorted.slice(5)) of.forEach((one, bin) => { rest[bin] += one; });
    shown.push([`${sorted.length - 5} others`, rest]);
  }
  const edges = Array.from({ length: bins + 1 }, (_, bin) => low + bin * width).map(edge => logarithmic ? 10 ** edge : edge);
  const palette = [css("succeeded"), "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999999"];
  return shown.map(([name, of], number) => ({
    type: "bar", name, x: edges.slice(0, -1).map((edge, bin) => (edge + edges[bin + 1]) / 2),
    width: edges.slice(0, -1).map((edge, bin) => edges[bin + 1] - edge), y: of, marker: { color: palette[number] },
    hovertemplate: "%{y:,} near %{x:.3~s}<extra></extra>",
  }));
}

// The number at work over time, and of the slots that were there: at most 1,500 steps, each the most in it.
function atOnce(run) {
  const end = Math.max(1, ...Timeline.ends(run), ...run.slots.map(([, until]) => until));
  const steps = 1500, count = changes => {
    const most = new Array(steps).fill(0);
    changes.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    let now = 0, position = 0;
    for (let step = 0; step < steps; step++) {
      most[step] = now;
      while (position < changes.length && changes[position][0] <= (step + 1) * end / steps) {
        now += changes[position++][1];
        most[step] = Math.max(most[step], now);
      }
    }
    return most;
  };
  const working = [];
  for (let index = 0; index < run.start.length; index++) {
    const after = index + 1;  // what took its place may have begun a moment before its end was put down
    const taken = run.lane[after] === run.lane[index] && run.host[after] === run.host[index] ? run.start[after] : Infinity;
    working.push([run.start[index], 1], [Math.max(run.start[index], Math.min(taken, run.start[index] + Math.max(1, run.length[index]))), -1]);
  }
  const there = run.slots.flatMap(([from, until, jobs]) => [[Math.max(0, from), jobs], [until, -jobs]]);
  const x = Array.from({ length: steps }, (_, step) => step * end / steps / 1000);
  return [
    { type: "scatter", mode: "lines", name: "slots", x, y: count(there), line: { shape: "hv", color: css("dim"), dash: "dot", width: 1.5 } },
    { type: "scatter", mode: "lines", name: "scripts at work", x, y: count(working), fill: "tozeroy", line: { shape: "hv", color: css("succeeded"), width: 1 } },
  ];
}

function ratioAxis(traces, times, most) {
  const all = traces ? traces[0].x : [1, 10];
  const ticks = ratioTicks(all[0], all[all.length - 1], times, most);
  return { type: "log", tickvals: ticks, ticktext: ticks.map(times ? timeText : sizeText) };
}

function most(traces) {  // of stacked bars
  return traces ? Math.max(...traces[0].y.map((_, bin) => traces.reduce((sum, trace) => sum + trace.y[bin], 0))) : 0;
}

function figure(kind, run, width) {
  const ticks = Math.max(2, Math.floor(width / 90));  // as many as have room
  if (kind === "at-once") {
    const traces = atOnce(run), times = timeTicks(0, traces[0].x[traces[0].x.length - 1], ticks);
    const highest = Math.max(...traces.map(trace => trace.y.reduce((one, other) => Math.max(one, other), 0)));
    const xaxis = { tickvals: times, ticktext: times.map(timeText) };
    return [traces, layout("since the first began", "at once", { legend: true, xaxis, most: highest })];
  }
  if (kind === "share") {
    const share = histogram(run, run.cpu.map((one, index) => run.length[index] ? one / run.length[index] : 0), false);
    return [share, layout("CPU time / time taken", "attempts", { legend: share?.length > 1, most: most(share) })];
  }
  const times = kind === "length";
  const traces = histogram(run, (times ? run.length : run.memory).map(one => one / 1000), true);
  const text = times ? "each took" : "the largest process of each took";
  return [traces, layout(text, "attempts", { legend: traces?.length > 1, xaxis: ratioAxis(traces, times, ticks), most: most(traces) })];
}

function plot(place, run) {
  const [traces, design] = figure(place.dataset.plot, run, place.clientWidth);
  if (!traces) {
    place.classList.add("empty");
    place.textContent = "Nothing was measured.";
    return;
  }
  if (document.documentElement.matches(".printing")) design.width = place.clientWidth;  // else it goes by the window
  Plotly.react(place, traces, design, { responsive: true, displayModeBar: false });
}

async function main() {
  const runs = [];
  for (const data of document.querySelectorAll("script.data")) runs[data.dataset.run] = await decoded(data.textContent);
  const timelines = [...document.querySelectorAll(".timeline")].map(place => new Timeline(place, runs[place.dataset.run]));
  const plots = [...document.querySelectorAll(".plot")];
  const draw = () => {
    for (const timeline of timelines) timeline.draw();
    for (const place of plots) plot(place, runs[place.dataset.run]);
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let closed = [];
  const print = printing => {
    document.documentElement.classList.toggle("printing", printing);
    if (printing) closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = printing;  // nobody opens them on paper
    draw();
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  document.body.dataset.ready = Math.round(performance.now());  // milliseconds since it was opened
}

main();
