"use strict";

/* A line chart on a canvas: a few series over time, with a bound, a crosshair and gaps where nothing is
   known. It draws what it is given and keeps no data of its own. */
class Chart {
  /* series: [{ key, name, colour: "--in", thin, fill }]; format: number -> [text, unit]; scale: { least,
     bound: () => number or null } */
  constructor(into, title, series, format, scale) {
    this.series = series;
    this.format = format;
    this.scale = scale;
    this.samples = [];
    this.span = 900;
    this.cursor = null;

    const card = element("div", "card chart");
    card.append(element("h3", "", title));
    const legend = element("dl", "legend");
    this.values = series.map((one) => {
      const group = element("div");
      const key = element("span", one.thin ? "key thin" : "key");
      key.style.borderColor = `var(${one.colour})`;
      const name = element("dt");
      name.append(key, one.name);
      const value = element("dd", "", "–");
      value.dataset.series = one.key;
      group.append(name, value);
      legend.append(group);
      return value;
    });
    this.canvas = element("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.title = title;
    this.at = element("p", "at");
    card.append(legend, this.canvas, this.at);
    into.append(card);

    this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("blur", () => this.point(null));
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  show(samples, span, end) {
    this.samples = samples;
    this.span = span;
    this.end = end;
    const last = samples.at(-1);
    this.series.forEach((one, i) => {
      const [text, unit] = this.format(last ? last[one.key] : null);
      this.values[i].replaceChildren(text, element("small", "", unit));
      this.values[i].dataset.raw = last?.[one.key] ?? "";
    });
    const said = this.series.map((one, i) => `${one.name} ${this.values[i].textContent}`);
    this.canvas.setAttribute("aria-label", `${this.title} over time. Now: ${said.join(", ")}`);
    this.draw();
  }

  point(x) {
    this.cursor = x === null ? null : this.end - (1 - (x - LEFT) / (this.canvas.clientWidth - LEFT - RIGHT)) * this.span * 1000;
    this.draw();
  }

  walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || this.samples.length === 0) return;
    event.preventDefault();
    const at = this.cursor === null ? this.samples.length : this.nearest(this.cursor) + step;
    const sample = this.samples[Math.max(0, Math.min(this.samples.length - 1, at))];
    this.cursor = sample.time_ms;
    this.draw();
    say(this.at.textContent);
  }

  nearest(time) {
    let best = 0;
    this.samples.forEach((sample, i) => {
      if (Math.abs(sample.time_ms - time) < Math.abs(this.samples[best].time_ms - time)) best = i;
    });
    return best;
  }

  draw() {
    const { canvas, samples } = this;
    const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    if (width === 0) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const start = this.end - this.span * 1000;
    const seen = samples.filter((sample) => sample.time_ms >= start - 1500);
    const all = seen.flatMap((sample) => this.series.map((one) => sample[one.key] ?? 0));
    const highest = all.reduce((a, b) => Math.max(a, b), 0);
    const bound = this.scale.bound?.() ?? null;
    const [top, step] = ticks(Math.max(highest * 1.08, this.scale.least), this.scale.binary);
    const x = (time) => LEFT + ((time - start) / (this.span * 1000)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - value / top) * (height - TOP - BOTTOM);

    pen.font = `11px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    for (let value = 0; value <= top * 1.001; value += step) {
      pen.strokeStyle = colour(value === 0 ? "--muted" : "--line");
      pen.globalAlpha = value === 0 ? 0.45 : 1;
      line(pen, LEFT, Math.round(y(value)) + 0.5, width - RIGHT, Math.round(y(value)) + 0.5);
      pen.globalAlpha = 1;
      pen.fillStyle = colour("--muted");
      pen.textAlign = "right";
      pen.fillText(value === 0 ? "0" : this.format(value).join(" ").trim(), LEFT - 8, y(value));
    }
    const minutes = this.span / 60;
    const marks = minutes === 1 ? [60, 40, 20, 0] : minutes === 5 ? [300, 180, 60, 0] : [900, 600, 300, 0];
    for (const ago of marks) {
      const text = ago === 0 ? "now" : ago < 60 ? `−${ago} s` : `−${ago / 60} min`;
      pen.textAlign = ago === this.span ? "left" : ago === 0 ? "right" : "center";
      pen.fillText(text, x(this.end - ago * 1000), height - 7);
    }
    if (bound !== null && bound <= top) {
      pen.strokeStyle = colour("--bad");
      pen.setLineDash([2, 3]);
      line(pen, LEFT, y(bound), width - RIGHT, y(bound));
      pen.setLineDash([]);
    }
    if (seen.length === 0) {
      pen.textAlign = "center";
      pen.fillText("The first second is being measured…", (LEFT + width - RIGHT) / 2, TOP + (height - TOP - BOTTOM) / 2);
    }

    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width - LEFT, height);
    pen.clip();
    for (const one of [...this.series].reverse()) {
      pen.strokeStyle = pen.fillStyle = colour(one.colour);
      for (const run of runs(seen, one.key)) {
        const points = run.map((sample) => [x(sample.time_ms), y(sample[one.key])]);
        if (one.fill) {
          pen.globalAlpha = 0.1;
          pen.beginPath();
          pen.moveTo(points[0][0], y(0));
          points.forEach(([px, py]) => pen.lineTo(px, py));
          pen.lineTo(points.at(-1)[0], y(0));
          pen.fill();
          pen.globalAlpha = 1;
        }
        pen.lineWidth = one.thin ? 1.25 : 1.75;
        pen.lineJoin = "round";
        pen.setLineDash(one.thin ? [4, 3] : []);
        pen.beginPath();
        points.forEach(([px, py], i) => (i === 0 ? pen.moveTo(px, py) : pen.lineTo(px, py)));
        pen.stroke();
        pen.setLineDash([]);
        if (points.length === 1) dot(pen, points[0], 2);
      }
      const last = seen.at(-1);
      if (last && last[one.key] !== null && last[one.key] !== undefined) dot(pen, [x(last.time_ms), y(last[one.key])], 3);
    }
    pen.restore();
    this.tell(pen, seen, x, y, height, colour);
  }

  /* The crosshair, and what it points at in words. */
  tell(pen, seen, x, y, height, colour) {
    this.at.textContent = "";
    if (this.cursor === null || seen.length === 0) return;
    const sample = this.samples[this.nearest(this.cursor)];
    pen.strokeStyle = colour("--muted");
    line(pen, x(sample.time_ms), TOP, x(sample.time_ms), height - BOTTOM);
    const parts = this.series.map((one) => {
      const value = sample[one.key];
      if (value !== null && value !== undefined) {
        pen.fillStyle = colour(one.colour);
        dot(pen, [x(sample.time_ms), y(value)], 3.5);
      }
      return `${one.name} ${this.format(value).join(" ").trim()}`;
    });
    this.at.textContent = `${new Date(sample.time_ms).toLocaleTimeString()}: ${parts.join(", ")}`;
  }
}

const [LEFT, RIGHT, TOP, BOTTOM] = [62, 8, 8, 20];

function line(pen, x1, y1, x2, y2) {
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

function dot(pen, [x, y], radius) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fill();
}

/* Neighbouring samples that have a value; a second or more without one is a gap. */
function* runs(samples, key) {
  let run = [];
  for (const sample of samples) {
    const known = sample[key] !== null && sample[key] !== undefined;
    if (run.length > 0 && (!known || sample.time_ms - run.at(-1).time_ms > 2500)) {
      yield run;
      run = [];
    }
    if (known) run.push(sample);
  }
  if (run.length > 0) yield run;
}

/* The top of an axis that holds `highest`, and the distance of three or four lines below it. */
function ticks(highest, binary) {
  const wanted = highest / 4;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = binary ? 2 ** Math.ceil(Math.log2(wanted)) : [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= wanted);
  return [Math.ceil(highest / step) * step, step];
}

function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text) made.textContent = text;
  return made;
}
