// Draws what is in a report. Everything that was said by a script or is called somehow is put in as text, never as HTML.
"use strict";

const ENDINGS = ["succeeded", "failed", "interrupted"];
const css = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const many = number => number.toLocaleString("en");

async function decoded(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const run = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  for (let index = 1; index < run.start.length; index++) run.start[index] += run.start[index - 1];
  return run;
}

function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${milliseconds.toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
}

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
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
        button("all of it", () => this.show(0, this.end)), ...legend, "wheel: zoom · drag: move · point: what it is"),
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
        draw.fillText(this.run.hosts[row.host].slice(0, 40), 0, top + 1, left - 6);
        free = top + 13;
      }
    });
  }

  axis(draw, top, left, width) {
    draw.fillStyle = css("dim");
    draw.font = "12px system-ui, sans-serif";
    draw.textBaseline = "top";
    const steps = Math.max(2, Math.floor((width - left) / 130));
    for (let step = 0; step <= steps; step++) {
      const x = left + (width - left) * step / steps;
      draw.textAlign = step === 0 ? "left" : step === steps ? "right" : "center";
      draw.fillText(duration(this.from + (this.to - this.from) * step / steps), x, top + 6);
      draw.fillRect(Math.min(x, width - 1), top + 1, 1, 4);
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
    legend: { orientation: "h", y: 1.12 },
    xaxis: { title: { text: x }, gridcolor: line, zerolinecolor: line, ...more.xaxis },
    yaxis: { title: { text: y }, gridcolor: line, zerolinecolor: line, rangemode: "tozero", ...more.yaxis },
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
    hovertemplate: "%{y:,} near %{x:.3s}<extra></extra>",
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
    working.push([run.start[index], 1], [run.start[index] + Math.max(1, run.length[index]), -1]);
  }
  const there = run.slots.flatMap(([from, until, jobs]) => [[Math.max(0, from), jobs], [until, -jobs]]);
  const x = Array.from({ length: steps }, (_, step) => step * end / steps / 1000);
  return [
    { type: "scatter", mode: "lines", name: "slots", x, y: count(there), line: { shape: "hv", color: css("dim"), dash: "dot", width: 1.5 } },
    { type: "scatter", mode: "lines", name: "scripts at work", x, y: count(working), fill: "tozeroy", line: { shape: "hv", color: css("succeeded"), width: 1 } },
  ];
}

function figure(kind, run) {
  if (kind === "at-once") return [atOnce(run), layout("seconds since the first began", "at once", { legend: true })];
  const legend = run.environments.length > 1;
  if (kind === "length") {
    const seconds = run.length.map(one => one / 1000);
    return [histogram(run, seconds, true), layout("seconds", "attempts", { legend, xaxis: { type: "log" } })];
  }
  if (kind === "share") {
    const share = run.cpu.map((one, index) => run.length[index] ? one / run.length[index] : 0);
    return [histogram(run, share, false), layout("CPU time / time taken", "attempts", { legend })];
  }
  const megabytes = run.memory.map(one => one / 1000);
  return [histogram(run, megabytes, true), layout("MB, the largest process of each", "attempts", { legend, xaxis: { type: "log" } })];
}

function plot(place, run) {
  const [traces, design] = figure(place.dataset.plot, run);
  if (!traces) {
    place.classList.add("empty");
    place.textContent = "Nothing was measured.";
    return;
  }
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
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", draw);
  document.body.dataset.ready = Math.round(performance.now());  // milliseconds since it was opened
}

main();
