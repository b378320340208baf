import { Plot, stretchCount } from "./plot.js";
import { canRecord, record } from "./recorder.js";
import { clock, number, span } from "./words.js";

const by = (id) => document.getElementById(id);
const give = by("give").dataset;
const maxBytes = Number(give.maxBytes), maxSeconds = Number(give.maxSeconds);
const standing = by("standing-caution");
const audio = by("audio"), from = by("from"), to = by("to"), slider = by("window");

function element(name, attributes = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

// What goes on

// quiet: for screen readers alone, where the page shows it already
function say(text, { busy = false, quiet = false } = {}) {
  by("status").textContent = text;
  by("status").classList.toggle("quiet", quiet);
  by("spinner").hidden = by("cancel").hidden = !busy;
}

function complain(title, detail) {
  say("");
  by("error").replaceChildren(element("p", {}, element("strong", {}, `${title}. `), detail));
}

let asking = null; // the request that is on its way
let given = null; // what was scored last, to score its channels otherwise

async function judge(blob, name) {
  given = { blob, name };
  asking?.abort();
  const mine = (asking = new AbortController());
  by("error").replaceChildren();
  by("result").hidden = true;
  if (standing) standing.hidden = false;
  audio.pause();
  if (blob.size > maxBytes) {
    const size = (blob.size / 2 ** 20).toFixed(1);
    complain("Too large", `It has ${size} MiB; up to ${give.maxMib} MiB are taken. Cut out the part in question.`);
    return;
  }
  say(`Scoring ${name} …`, { busy: true });
  let answer;
  try {
    const headers = { "Content-Type": "application/octet-stream" };
    const response = await fetch(`/api/verdict?channels=${by("channels").value}`, { method: "POST", body: blob, headers, signal: mine.signal });
    answer = await response.json();
    if (!response.ok) {
      if (mine === asking) complain(answer.title, answer.detail);
      return;
    }
  } catch (error) {
    if (mine !== asking) return;
    if (error.name === "AbortError") say("Cancelled.");
    else complain("No answer", "The server cannot be reached, or the file cannot be read any more. Is the server still running?");
    return;
  }
  if (mine === asking) showAll([answer].flat(), blob, name);
}

by("channels").addEventListener("change", () => {
  if (given && !by("result").hidden && given.several) judge(given.blob, given.name);
});

by("cancel").addEventListener("click", () => asking?.abort());

// Files

by("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) judge(file, file.name);
});
by("file").addEventListener("click", () => { by("file").value = ""; }); // so that the same file may be chosen again

// dropped anywhere; beside the box the browser would leave the page for the file
addEventListener("dragover", (event) => {
  event.preventDefault();
  by("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) by("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length > 1) complain("One at a time", "Several files were dropped; steps/detect.py scores many.");
  else if (files.length === 1) judge(files[0], files[0].name);
  else complain("Not a file", "What was dropped is no file.");
});

// The microphone

let recording = null;

function toldOfRecording(on) {
  by("record").textContent = on ? "Stop and score" : "Record";
  by("recording").hidden = by("discard").hidden = !on;
  by("level").value = 0;
  by("elapsed").textContent = "0 s";
}

async function stopRecording() {
  const stopped = recording;
  recording = null;
  toldOfRecording(false);
  judge(await stopped.stop(), "your recording");
}

by("record").addEventListener("click", async () => {
  if (recording) {
    stopRecording();
    return;
  }
  by("error").replaceChildren();
  by("record").disabled = true;
  try {
    recording = await record((seconds, level, bytes) => {
      by("elapsed").textContent = `${Math.floor(seconds)} s`;
      by("level").value = level;
      if (recording && (seconds >= maxSeconds - 1 || bytes + bytes / seconds > maxBytes)) stopRecording();
    });
    audio.pause();
    toldOfRecording(true);
    say("Recording.");
  } catch (error) {
    const why = {
      NotAllowedError: "The browser was not allowed to use the microphone.",
      NotFoundError: "There is no microphone.",
      NotReadableError: "Another program uses the microphone.",
    };
    complain("Cannot record", why[error.name] ?? error.message);
  } finally {
    by("record").disabled = false;
    by("record").focus();
  }
});

by("discard").addEventListener("click", () => {
  recording?.discard();
  recording = null;
  toldOfRecording(false);
  say("Discarded.");
  by("record").focus();
});

if (!canRecord()) {
  by("record").disabled = true;
  by("record-says").textContent = "Or your voice: not in this browser, or not over this connection (it has to be https, or this machine itself)";
}

// The answer

let answer = null, url = null;
const plot = new Plot(by("plot"), (begin, end) => choose(begin, end));

const MARKS = { bonafide: "M3 9l4 4 7-9", partial: "M8 2v7M8 13v.2", spoof: "M3 3l10 10M13 3L3 13", undecided: "M3 6h10M3 10h10", null: "M3 8h10" };

function mark(verdict) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const line = { d: MARKS[verdict], fill: "none", stroke: "currentColor", "stroke-width": 2.6, "stroke-linecap": "round", "stroke-linejoin": "round" };
  for (const [key, value] of Object.entries(line)) path.setAttribute(key, value);
  svg.append(path);
  return svg;
}

const valueWords = (one) => {
  if (one.score === null) return "silent";
  return one.llr === null ? `score ${number(one.score)}` : `LLR ${number(one.llr)}`;
};

// A button of each channel, where there are several.
function showAll(answers, blob, name) {
  given.several = answers[0].channel !== null;
  by("sides").hidden = answers.length < 2;
  const buttons = answers.map((one) => element("button", { type: "button" }, `Channel ${one.channel}: ${one.headline}`));
  const press = (index) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === index));
    show(answers[index], blob, name);
  };
  buttons.forEach((button, index) => button.addEventListener("click", () => press(index)));
  by("sides").replaceChildren(...buttons);
  press(0);
}

const ofChannel = (channel) => (channel === null ? "" : channel === "mixed" ? ", channels mixed" : `, channel ${channel}`);

function show(one, blob, name) {
  answer = one;
  by("result").hidden = false;
  if (standing) standing.hidden = true; // it is said with the verdict
  const kind = answer.verdict ?? "";
  const value = answer.llr === null ? `score ${number(answer.score, 3)}` : `LLR ${number(answer.llr)}`;
  const headline = element("span", kind ? { class: kind } : {}, answer.headline);
  const sign = mark(answer.verdict);
  if (kind) sign.classList.add(kind);
  by("verdict").replaceChildren(sign, headline, element("span", { class: "llr" }, value));
  by("of").textContent = `${name}${ofChannel(answer.channel)}, ${clock(answer.seconds, answer.seconds)}${answer.seconds < 60 ? " s" : ""}`;
  by("explanation").textContent = answer.explanation;
  by("caution").textContent = answer.caution ?? "";
  const figures = [["Score", number(answer.score, 3)]];
  if (answer.llr !== null) {
    figures.push(["LLR, natural logarithm", number(answer.llr, 3)], ["Threshold of the LLR", number(answer.threshold, 3)]);
    if (answer.bonafide_above > answer.threshold) figures.push(["Bona fide above an LLR of", number(answer.bonafide_above, 3)]);
  }
  figures.push(["Windows", answer.windows.length]);
  if (answer.notes.length) figures.push(["Notes", answer.notes.join("; ")]);
  by("figures").replaceChildren(
    ...figures.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, String(text)))),
  );
  showSpoofed();
  showRows();
  showPictures();
  if (url) URL.revokeObjectURL(url);
  url = URL.createObjectURL(blob);
  by("unplayable").hidden = true;
  audio.hidden = false;
  by("play").disabled = false;
  audio.src = url;
  plot.show(answer);
  slider.max = answer.windows.length - 1;
  by("step").hidden = answer.windows.length < 2;
  from.max = to.max = answer.seconds.toFixed(2);
  const spoofed = [...(answer.spoofed_stretches ?? [])].sort((a, b) => a.score - b.score);
  const first = spoofed[0] ?? (answer.windows.length > 1 && answer.lowest.length ? answer.lowest[0] : answer.windows[0]);
  choose(first.begin, first.end);
  say(`${answer.headline}, ${value}. ${answer.explanation}`, { quiet: true });
  by("verdict").focus();
}

function playButton(stretch) {
  const play = element("button", { type: "button", "aria-label": `Play ${span(stretch, answer.seconds)}` }, "Play");
  play.addEventListener("click", () => {
    choose(stretch.begin, stretch.end);
    playStretch();
  });
  return play;
}

function showSpoofed() {
  const stretches = answer.spoofed_stretches ?? [];
  by("spoofed").hidden = stretches.length === 0;
  const limit = answer.frame_threshold === null ? "" : ` of ${number(answer.frame_threshold)}`;
  by("spoofed-says").replaceChildren(
    element("span", { class: "key spoof" }), ` ${stretchCount(stretches)}: the scores of frames there are at or below their threshold${limit}.`,
  );
  by("spoofed-rows").replaceChildren(...stretches.map((one) => element(
    "tr", {}, element("th", { scope: "row" }, one.begin.toFixed(2)), element("td", {}, one.end.toFixed(2)),
    element("td", {}, number(one.score)), element("td", {}, playButton(one)),
  )));
}

function showRows() {
  const lowestFirst = [...answer.windows].sort((a, b) => (a.score ?? Infinity) - (b.score ?? Infinity) || a.begin - b.begin);
  by("rows").replaceChildren(...lowestFirst.map((one) => {
    const value = (figure) => (figure === null ? "–" : number(figure, 3));
    const verdict = one.below === null ? [] : [one.below ? "spoof" : "bona fide"];
    const says = one.score === null ? "silent" : [...verdict, ...(one.counts ? [] : ["not counted"])].join(", ");
    const cells = [one.end.toFixed(2), value(one.score), value(one.llr), says];
    return element("tr", {}, element("th", { scope: "row" }, one.begin.toFixed(2)), ...cells.map((text) => element("td", {}, text)));
  }));
}

function showPictures() {
  by("seen").hidden = answer.looked_at.length === 0;
  const several = answer.windows.filter((one) => one.counts).length > 1;
  by("pictures").replaceChildren(...answer.looked_at.map(({ stretch, picture }) => {
    const rank = answer.lowest.findIndex((one) => one.begin === stretch.begin);
    const name = !several ? "" : rank < 0 ? "highest: " : `lowest ${rank + 1}: `;
    const image = element("img", { src: `data:image/png;base64,${picture.png}`, alt: picture.says });
    const hz = picture.low_hz === null ? "upwards: the network’s bins" : `upwards: ${Math.round(picture.low_hz)} to ${Math.round(picture.high_hz)} Hz`;
    const ends = [clock(stretch.begin, answer.seconds), hz, clock(stretch.end, answer.seconds)];
    return element(
      "figure", {},
      image,
      element("div", { class: "ends" }, ...ends.map((text) => element("span", {}, text))),
      element("figcaption", {}, element("span", {}, name, element("strong", {}, `${span(stretch, answer.seconds)}, ${valueWords(stretch)}`)), playButton(stretch)),
    );
  }));
}

// A stretch

function choose(begin, end) {
  from.value = begin.toFixed(2);
  to.value = end.toFixed(2);
  chosen();
}

// Takes the stretch from its two fields.
function chosen() {
  const begin = Number(from.value), end = Number(to.value);
  const right = from.value !== "" && to.value !== "" && begin >= 0 && end > begin && begin < answer.seconds;
  by("play").disabled = !right || audio.hidden;
  plot.mark(right ? [begin, Math.min(end, answer.seconds)] : null);
  if (!right) {
    by("chosen").textContent = `A stretch begins before it ends, within ${answer.seconds.toFixed(2)} s.`;
    return;
  }
  const near = (a, b) => Math.abs(a - b) < 0.006;
  const index = answer.windows.findIndex((one) => near(one.begin, begin) && near(one.end, end));
  const text = span({ begin, end }, answer.seconds);
  if (index >= 0) {
    slider.value = index;
    slider.setAttribute("aria-valuetext", `${text}, ${valueWords(answer.windows[index])}`);
  }
  const spoofed = answer.spoofed_stretches ?? [];
  const at = spoofed.findIndex((one) => near(one.begin, begin) && near(one.end, end));
  if (at >= 0) by("chosen").textContent = `Spoofed stretch ${at + 1} of ${spoofed.length}: ${text}, lowest score ${number(spoofed[at].score)}`;
  else if (index >= 0) by("chosen").textContent = `Window ${index + 1} of ${answer.windows.length}: ${text}, ${valueWords(answer.windows[index])}`;
  else by("chosen").textContent = text;
}

for (const field of [from, to]) field.addEventListener("change", chosen);
slider.addEventListener("input", () => {
  const one = answer.windows[slider.value];
  choose(one.begin, one.end);
});

let until = null; // where a stretch that plays ends, seconds

function playStretch() {
  if (by("play").disabled) return;
  audio.currentTime = Number(from.value);
  until = Number(to.value);
  audio.play().catch(() => undefined); // why not, the error event tells
}

function follow() {
  if (until !== null && audio.currentTime >= until) audio.pause();
  plot.at(audio.currentTime);
  if (!audio.paused) requestAnimationFrame(follow);
}

by("play").addEventListener("click", () => {
  if (until !== null && !audio.paused) audio.pause();
  else playStretch();
});
audio.addEventListener("play", () => {
  if (until !== null) by("play").textContent = "Stop";
  follow();
});
audio.addEventListener("pause", () => {
  until = null;
  by("play").textContent = "Play stretch";
});
audio.addEventListener("seeked", () => plot.at(audio.currentTime));
audio.addEventListener("error", () => {
  if (!audio.getAttribute("src")) return;
  audio.hidden = true;
  by("play").disabled = true;
  by("unplayable").hidden = false;
  for (const button of by("result").querySelectorAll("#pictures button, #spoofed button")) button.disabled = true;
});
