/** A plot of periods, with a summary above it and a table behind it. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { t } from "../language/operators/texts.js";
import { button, element, replace } from "../widgets/dom.js";
import type { Period } from "./periods.js";

export interface Series {
  readonly label: string;
  /** The colour, a custom property such as "--lake". */
  readonly colour: string;
  /** A value for each period; undefined where there is none. */
  readonly values: readonly (number | undefined)[];
  /** A line to compare bars with. */
  readonly limit?: boolean;
}

export interface Plotted {
  readonly title: string;
  /** The figure of the whole time, such as "128". */
  readonly figure: string;
  /** A sentence about the whole time. */
  readonly summary: string;
  /** Bars stand on each other; lines do not. */
  readonly bars: boolean;
  /** What the reader can do about the figure. */
  readonly act?: HTMLElement;
  readonly series: readonly Series[];
  readonly write: (value: number) => string;
}

const HEIGHT = 150; // pixels

export class Plot {
  readonly root = element("section", { class: "plot" });
  readonly #pick: (period: Period) => void;
  #drawn: uPlot | undefined;

  /** `pick`: the reader wants to see what lies behind a period. */
  constructor(pick: (period: Period) => void) {
    this.#pick = pick;
  }

  /** Draw again, because the width or the colours have changed. */
  redraw(): void {
    if (this.#drawn?.width === this.#width) this.#drawn.redraw(); // the paths of bars keep their colours
    else this.#drawn?.setSize({ width: this.#width, height: HEIGHT });
  }

  get #width(): number {
    return Math.max(this.root.clientWidth - 32, 200);
  }

  show(periods: readonly Period[], { title, figure, summary, bars, series, act, write }: Plotted): void {
    this.#drawn?.destroy();
    this.#drawn = undefined;
    const empty = series.every(({ limit, values }) => limit || values.every((value) => !value));
    const acts = act ? [act] : [];
    const about = element("p", { class: "note" }, summary);
    const key = element("ul", { class: "key" }, ...series.map((one) => element("li", {}, element("span", { class: `dot ${one.colour.slice(2)}` }), one.label)));
    const host = element("div", { class: "canvas", "aria-hidden": "true" });
    const head = element("div", { class: "plot-head" }, element("h3", {}, title), element("strong", { class: "figure" }, figure), about);
    const held = this.root.contains(document.activeElement);
    replace(this.root, head, ...(empty ? acts : [host, element("div", { class: "row plot-foot" }, key, ...acts, this.#table(title, periods, series, write))]));
    if (held) act?.focus();
    if (empty) return;
    const text = (index: number | null | undefined) =>
      index === null || index === undefined ? summary : `${periods[index]!.name}: ${series.map(({ label, values }) => `${label} ${written(values[index], write)}`).join(", ")}`;
    this.#drawn = new uPlot(
      {
        width: this.#width,
        height: HEIGHT,
        padding: [8, 14, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: !bars } },
        scales: { x: { time: false, range: [-0.6, periods.length - 0.4] }, y: { range: (_, _low, high) => [0, (high || 1) * 1.1] } },
        axes: [
          { ...axis(this.root), grid: { show: false }, incrs: [1, 2, 3, 4, 5, 6, 7, 10, 14], space: 55, size: 26, values: (_, splits) => splits.map((one) => periods[one]?.tick ?? "") },
          { ...axis(this.root), grid: { stroke: () => colour(this.root, "--line"), width: 1 }, space: 36, size: axisWidth, values: (_, splits) => splits.map(write) },
        ],
        series: [{}, ...layers(series, bars).map((one) => drawing(this.root, one, bars))],
        hooks: { setCursor: [({ cursor }) => (about.textContent = text(cursor.idx))] },
      },
      [periods.map((_, index) => index), ...layers(series, bars).map(({ values }) => values.map((value) => value ?? null))],
      host,
    );
    const drawn = this.#drawn;
    drawn.over.addEventListener("click", () => {
      const period = periods[drawn.cursor.idx ?? -1];
      if (period) this.#pick(period);
    });
  }

  #table(title: string, periods: readonly Period[], series: readonly Series[], write: (value: number) => string): HTMLElement {
    const rows = periods.map((period, index) => {
      const values = series.map((one) => element("td", {}, written(one.values[index], write)));
      return element("tr", {}, element("th", { scope: "row" }, button(period.name, () => this.#pick(period))), ...values);
    });
    const heads = [t("time"), ...series.map((one) => one.label)].map((label) => element("th", { scope: "col" }, label));
    const table = element("table", { class: "amounts", "aria-label": title }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows.reverse()));
    return element("details", { class: "raw" }, element("summary", { "aria-label": t("asTable", { title }) }, t("table")), element("div", { class: "table", tabindex: "0", role: "region", "aria-label": title }, table));
  }
}

/** The series in the order of drawing. Bars hide parts of the bars behind them, so the first to be drawn has the sum of all. */
function layers(series: readonly Series[], bars: boolean): readonly Series[] {
  if (!bars) return series;
  const stacked = series.filter(({ limit }) => !limit);
  const sums = stacked.map((one, place) => ({ ...one, values: one.values.map((_, index) => stacked.slice(0, place + 1).reduce((sum, { values }) => sum + (values[index] ?? 0), 0)) }));
  return [...sums.reverse(), ...series.filter(({ limit }) => limit)];
}

function drawing(root: Element, one: Series, bars: boolean): uPlot.Series {
  const stroke = () => colour(root, one.colour);
  if (one.limit) return { stroke, width: 2, dash: [6, 4], points: { show: false } };
  return bars ? { fill: stroke, width: 0, points: { show: false }, paths: uPlot.paths.bars!({ size: [0.7, 36], radius: 0.15 }) } : { stroke, width: 2, spanGaps: true, points: { show: true, size: 5, fill: stroke } };
}

function axis(root: Element): uPlot.Axis {
  return { stroke: () => colour(root, "--quiet"), font: `12px ${getComputedStyle(document.documentElement).fontFamily}`, ticks: { show: false }, gap: 6 };
}

/** As wide as the longest label. */
function axisWidth(_: uPlot, labels: readonly string[] | null): number {
  return 16 + 7 * Math.max(3, ...(labels ?? []).map((one) => one.length));
}

/** A custom property as the browser resolves it now, in the light or the dark theme. */
function colour(root: Element, property: string): string {
  const probe = element("span", {});
  probe.style.color = `var(${property})`;
  root.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function written(value: number | undefined, write: (value: number) => string): string {
  return value === undefined ? "–" : write(value);
}
