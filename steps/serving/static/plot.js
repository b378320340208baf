// Spectrogram and, under it, spoofed stretches and the windows' scores, on one axis of time.
import { clock, number, span } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 12, TOP = 18, PICTURE = 150, GAP = 28, SCORES = 140, BOTTOM = 34;
const LABEL = 64; // room of a label of a lowest window
const LETTER = 6.6; // likewise, of a letter of a stretch's label
const BAR = 5; // height of the marks of what is below the threshold
const PICTURE_END = TOP + PICTURE;
const LANE = 54, LANE_BAR = 12; // height of what has the spoofed stretches, and of their bars
const FEW = 60; // windows that are drawn as long as they are

function make(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The first of the steps, or of them times tens, that cuts a range in at most `most` parts.
function stepFor(range, most, steps) {
  for (const step of steps) if (range / step <= most) return step;
  let step = steps.at(-1);
  while (range / step > most) step *= 2;
  return step;
}

export const stretchCount = ({ length }) => `${length || "no"} spoofed stretch${length === 1 ? "" : "es"}`;

export class Plot {
  // place: an element; select(from, to): called with seconds when the user has chosen by pointer.
  constructor(place, select) {
    this.place = place;
    this.select = select;
    new ResizeObserver(() => this.draw()).observe(place);
  }

  show(answer) {
    this.answer = answer;
    this.range = null;
    this.time = null;
    this.draw();
  }

  valueOf(window) {
    return this.answer.llr === null ? window.score : window.llr;
  }

  draw() {
    const width = this.place.clientWidth, answer = this.answer;
    if (!answer || width < 100) return;
    this.scoresTop = PICTURE_END + (answer.spoofed_stretches ? LANE : 0) + GAP;
    this.scoresEnd = this.scoresTop + SCORES;
    const height = this.scoresEnd + BOTTOM;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": this.words() });
    this.svg = svg;
    this.x = (seconds) => LEFT + (seconds / answer.seconds) * (width - LEFT - RIGHT);
    this.seconds = (x) => Math.max(0, Math.min(answer.seconds, ((x - LEFT) / (width - LEFT - RIGHT)) * answer.seconds));
    this.drawSpectrogram(width);
    if (answer.spoofed_stretches) this.drawSpoofed(width);
    this.drawTimes(width);
    this.drawScores(width);
    this.selections = [
      make("rect", { class: "selection dark", y: TOP, height: PICTURE }),
      make("rect", { class: "selection", y: this.scoresTop, height: SCORES }),
    ];
    this.cursors = [
      make("line", { class: "cursor dark", y1: TOP, y2: PICTURE_END }),
      make("line", { class: "cursor", y1: this.scoresTop, y2: this.scoresEnd }),
    ];
    svg.append(...this.selections, ...this.cursors);
    this.place.replaceChildren(svg);
    this.watch(svg);
    this.mark(this.range);
    this.at(this.time);
  }

  words() {
    const { answer } = this, values = answer.windows.filter((one) => one.counts).map((one) => this.valueOf(one));
    const what = answer.llr === null ? "score" : "LLR";
    const spread = values.length > 1
      ? `${what} of ${values.length} windows, from ${number(Math.min(...values))} to ${number(Math.max(...values))}`
      : `${what} of one window`;
    const low = answer.lowest[0];
    const lowest = values.length > 1 && low ? `, lowest from ${clock(low.begin, answer.seconds)} to ${clock(low.end, answer.seconds)} s` : "";
    const spoofed = answer.spoofed_stretches ? ` Under it ${stretchCount(answer.spoofed_stretches)}.` : "";
    return `${answer.spectrogram.says}${spoofed} Under ${spoofed ? "them" : "it"} the ${spread}${lowest}. The table of all windows has the numbers.`;
  }

  drawSpectrogram(width) {
    const { png, high_hz: high } = this.answer.spectrogram;
    const image = make("image", {
      x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: PICTURE, preserveAspectRatio: "none", href: `data:image/png;base64,${png}`,
    });
    this.svg.append(image);
    for (const [hz, y] of [[high, TOP + 10], [high / 2, TOP + PICTURE / 2 + 4], [0, PICTURE_END]]) {
      this.svg.append(make("text", { x: LEFT - 6, y, "text-anchor": "end" }, `${hz / 1000}${hz ? " kHz" : ""}`));
    }
    if (this.answer.windows.length > 1) this.drawLowest(width);
    if (!this.answer.spoofed_stretches) this.drawBars(this.answer.below_threshold?.stretches ?? [], PICTURE_END + 1, BAR);
  }

  drawBars(stretches, y, height) {
    for (const { begin, end } of stretches) {
      const x = this.x(begin);
      this.svg.append(make("rect", { class: "bar", x, width: Math.max(2, this.x(end) - x), y, height }));
    }
  }

  // Bars of the stretches that the frames find, with their times and lowest scores; the lowest first, where there is room.
  drawSpoofed(width) {
    const { spoofed_stretches: stretches, seconds } = this.answer;
    const y = PICTURE_END + 22;
    this.svg.append(make("text", { class: "name", x: LEFT, y: y - 6 }, stretchCount(stretches)));
    this.svg.append(make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y + LANE_BAR, y2: y + LANE_BAR }));
    this.drawBars(stretches, y, LANE_BAR);
    const taken = [];
    for (const one of [...stretches].sort((a, b) => a.score - b.score)) {
      const text = `${span(one, seconds)}: ${number(one.score)}`, room = LETTER * (text.length + 1);
      const middle = (this.x(one.begin) + this.x(one.end)) / 2;
      const left = Math.max(LEFT, Math.min(width - RIGHT - room, middle - room / 2));
      if (taken.some((other) => Math.abs(other.left - left) < Math.max(other.room, room))) continue;
      taken.push({ left, room });
      this.svg.append(make("text", { class: "spoofed", x: left + room / 2, y: y + LANE_BAR + 15, "text-anchor": "middle" }, text));
    }
  }

  // Numbers of the lowest windows above the spectrogram; those that would lie on one another share a label.
  drawLowest(width) {
    const groups = [];
    const places = this.answer.lowest.map((one, i) => ({ rank: i + 1, from: this.x(one.begin), to: this.x(one.end) }));
    for (const one of places.sort((a, b) => a.from - b.from)) {
      const middle = (one.from + one.to) / 2, last = groups.at(-1);
      if (last && middle - last.middle < LABEL) last.ranks.push(one.rank);
      else groups.push({ middle, ranks: [one.rank] });
      this.svg.append(make("line", { class: "axis", x1: one.from, x2: Math.max(one.to, one.from + 2), y1: TOP - 2, y2: TOP - 2, "stroke-width": 2 }));
    }
    const words = (group) => (width > 500 && group.ranks.includes(1) ? "lowest " : "") + group.ranks.sort((a, b) => a - b).join(", ");
    for (const group of groups) {
      const anchor = group.middle > width - 60 ? "end" : group.middle < LEFT + 40 ? "start" : "middle";
      const x = { end: Math.min(width - RIGHT, group.middle + 8), start: Math.max(LEFT, group.middle - 8), middle: group.middle }[anchor];
      this.svg.append(make("text", { x, y: TOP - 6, "text-anchor": anchor }, words(group)));
    }
  }

  drawTimes(width) {
    const { seconds } = this.answer;
    const step = stepFor(seconds, Math.max(2, (width - LEFT) / 80), [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]);
    for (let i = 0; i * step <= seconds + 1e-6; i++) {
      const x = this.x(i * step), last = x > width - 30;
      this.svg.append(
        make("line", { class: "axis", x1: x, x2: x, y1: this.scoresEnd, y2: this.scoresEnd + 4 }),
        make("text", { x, y: this.scoresEnd + 17, "text-anchor": last ? "end" : "middle" }, clock(i * step, seconds).replace(/\.0$/, "")),
      );
    }
    const unit = seconds < 60 ? "s" : seconds < 3600 ? "min:s" : "h:min:s";
    this.svg.append(
      make("text", { x: LEFT - 18, y: this.scoresEnd + 17, "text-anchor": "end" }, unit),
      make("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: this.scoresEnd, y2: this.scoresEnd }),
    );
  }

  drawScores(width) {
    const { answer } = this, threshold = answer.llr === null ? null : answer.threshold;
    const counted = answer.windows.filter((one) => one.counts), values = counted.map((one) => this.valueOf(one));
    const mean = answer.llr === null ? answer.score : answer.llr;
    const all = [...values, mean, ...(threshold === null ? [] : [threshold])];
    const margin = Math.max(0.5, 0.12 * (Math.max(...all) - Math.min(...all)));
    const low = Math.min(...all) - margin, high = Math.max(...all) + margin;
    const y = (value) => this.scoresEnd - ((value - low) / (high - low)) * SCORES;
    const step = stepFor(high - low, 5, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]);
    for (let i = Math.ceil(low / step); i * step <= high; i++) {
      this.svg.append(make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(i * step), y2: y(i * step) }));
      if (y(i * step) > this.scoresEnd - 4) continue; // there the times begin
      this.svg.append(make("text", { x: LEFT - 6, y: y(i * step) + 4, "text-anchor": "end" }, number(i * step, step < 1 ? 1 : 0)));
    }
    const what = answer.llr === null ? "score" : "LLR";
    this.svg.append(make("text", { class: "name", x: LEFT, y: this.scoresTop - 7 }, `${what} (up: bona fide)`));
    if (threshold !== null) {
      this.svg.append(make("line", { class: "threshold", x1: LEFT, x2: width - RIGHT, y1: y(threshold), y2: y(threshold) }));
    }
    const kind = (one) => (one.below === null ? "plain" : one.below ? "below" : "above");
    const middle = (one) => this.x((one.begin + one.end) / 2);
    if (counted.length <= FEW) {
      counted.forEach((one, i) => this.svg.append(make("line", {
        class: `span ${kind(one)}`, x1: this.x(one.begin), x2: this.x(one.end), y1: y(values[i]), y2: y(values[i]),
      })));
    } else {
      const hop = answer.windows[1].begin - answer.windows[0].begin;
      let path = "", before = -Infinity;
      counted.forEach((one, i) => {
        path += `${one.begin - before > 1.5 * hop ? "M" : "L"}${middle(one).toFixed(1)} ${y(values[i]).toFixed(1)}`;
        before = one.begin;
      });
      this.svg.append(make("path", { class: "trend", d: path }));
    }
    const r = counted.length <= FEW ? 4.5 : 2.2;
    counted.forEach((one, i) => {
      const cx = middle(one), cy = y(values[i]);
      // round above the threshold, square below: not told by colour alone
      this.svg.append(one.below
        ? make("rect", { class: "below", x: cx - r, y: cy - r, width: 2 * r, height: 2 * r })
        : make("circle", { class: kind(one), cx, cy, r }));
    });
    for (const one of answer.windows) {
      if (one.counts || one.score === null) continue;
      const up = this.valueOf(one) > mean, at = up ? this.scoresTop + 4 : this.scoresEnd - 4, tip = up ? -6 : 6;
      this.svg.append(make("path", { class: kind(one), d: `M${middle(one) - 5} ${at}h10l-5 ${tip}z` }));
    }
    if (threshold !== null) { // told above the plot, where nothing is drawn
      this.svg.append(
        make("text", { class: "name", x: width - RIGHT, y: this.scoresTop - 7, "text-anchor": "end" }, `threshold ${number(threshold)}`),
      );
    }
  }

  // range: [from, to] in seconds, or null
  mark(range) {
    this.range = range;
    for (const rect of this.selections ?? []) {
      rect.style.display = range ? "" : "none";
      if (!range) continue;
      rect.setAttribute("x", this.x(range[0]));
      rect.setAttribute("width", Math.max(1, this.x(range[1]) - this.x(range[0])));
    }
  }

  // time: where it plays, seconds, or null
  at(time) {
    this.time = time;
    for (const line of this.cursors ?? []) {
      line.style.display = time === null ? "none" : "";
      if (time === null) continue;
      line.setAttribute("x1", this.x(time));
      line.setAttribute("x2", this.x(time));
    }
  }

  watch(svg) {
    let from = null;
    const at = (event) => this.seconds(event.clientX - svg.getBoundingClientRect().left);
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      from = at(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (from !== null) this.mark([Math.min(from, at(event)), Math.max(from, at(event))]);
    });
    svg.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const to = at(event), far = Math.abs(this.x(to) - this.x(from)) > 4;
      const high = event.clientY - svg.getBoundingClientRect().top;
      const range = far ? [Math.min(from, to), Math.max(from, to)] : (this.spoofedAt(to, high) ?? this.windowAt(to));
      from = null;
      this.select(...range);
    });
    svg.addEventListener("pointercancel", () => { from = null; });
  }

  // The spoofed stretch that was clicked on, if one was. high: of the pointer, in the picture.
  spoofedAt(time, high) {
    if (high < PICTURE_END || high > this.scoresTop - GAP) return undefined;
    const found = this.answer.spoofed_stretches?.find((one) => one.begin <= time && time <= one.end);
    return found && [found.begin, found.end];
  }

  // The window whose middle is nearest.
  windowAt(time) {
    const off = (one) => Math.abs((one.begin + one.end) / 2 - time);
    const nearest = this.answer.windows.reduce((a, b) => (off(b) < off(a) ? b : a));
    return [nearest.begin, nearest.end];
  }
}
