// The chart: levels on a log scale, the back-tested part shaded.

import { byId, decimal, drawn, show } from "./elements.js";

const MARGIN = { left: 56, right: 12, top: 12, bottom: 24 };

let levels = [];

// Shows levels, the oldest first.
export function showChart(shown) {
  levels = shown;
  draw();
}

function draw() {
  const { clientWidth: width, clientHeight: height } = byId("chart");
  if (!width || !levels.length) return;
  const dates = levels.map((row) => Date.parse(row.session));
  const values = levels.map((row) => Math.log(row.level));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = scale(dates[0], dates.at(-1), MARGIN.left, width - MARGIN.right);
  const y = scale(low, high, height - MARGIN.bottom, MARGIN.top);
  const tested = levels.findLastIndex((row) => row.back_tested);
  const said = description(tested);
  const svg = drawn("svg", { width, height, role: "img", "aria-label": said });
  if (tested >= 0) svg.append(...shade(x(dates[tested]), height));
  for (const level of levelTicks(low, high)) {
    svg.append(...levelTick(level, y(Math.log(level)), width - MARGIN.right));
  }
  const room = (width - MARGIN.left - MARGIN.right) / 56;
  for (const year of yearTicks(dates[0], dates.at(-1), room)) {
    const place = { x: x(Date.UTC(year, 0)), y: height - 6, "text-anchor": "middle" };
    svg.append(drawn("text", place, String(year)));
  }
  const points = values.map((value, at) => `${x(dates[at]).toFixed(1)} ${y(value).toFixed(1)}`);
  svg.append(drawn("path", { class: "line", d: `M${points.join("L")}` }));
  const last = { cx: x(dates.at(-1)), cy: y(values.at(-1)), r: 3.5 };
  svg.append(drawn("circle", { class: "last", ...last }));
  byId("chart").replaceChildren(svg);
  show("chart-caption", said);
}

function description(tested) {
  const ends = [levels[0], levels.at(-1)];
  const [from, to] = ends.map((row) => `${decimal(row.level)} on ${row.session}`);
  const shaded = tested < 0 ? "" : ` Up to ${levels[tested].session} it is back-tested (shaded).`;
  return `The level on a log scale, from ${from} to ${to}.${shaded}`;
}

function shade(end, height) {
  const { left, top, bottom } = MARGIN;
  const size = { width: Math.max(end - left, 1), height: height - top - bottom };
  const label = drawn("text", { x: left + 8, y: top + 16 }, "back-tested");
  return [drawn("rect", { class: "shade", x: left, y: top, ...size }), label];
}

function levelTick(level, y, end) {
  const line = drawn("line", { class: "grid", x1: MARGIN.left, x2: end, y1: y, y2: y });
  const place = { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" };
  return [line, drawn("text", place, level.toLocaleString("en-US"))];
}

function scale(from, to, start, end) {
  if (from === to) return () => (start + end) / 2;
  return (value) => start + ((value - from) / (to - from)) * (end - start);
}

function levelTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(low / Math.LN10); power <= high / Math.LN10; power++) {
    ticks.push(...[1, 2, 5].map((step) => step * 10 ** power));
  }
  return ticks.filter((level) => Math.log(level) >= low - 1e-9 && Math.log(level) <= high);
}

function yearTicks(start, end, most) {
  const [first, last] = [new Date(start).getUTCFullYear() + 1, new Date(end).getUTCFullYear()];
  const step = [1, 2, 5, 10, 20].find((years) => (last - first + 1) / years <= most) ?? 50;
  const years = [];
  for (let year = Math.ceil(first / step) * step; year <= last; year += step) years.push(year);
  return years;
}

new ResizeObserver(draw).observe(byId("chart"));
