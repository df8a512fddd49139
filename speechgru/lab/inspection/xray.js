// The panels of one recording on one time axis. Reads the JSON of #data; nothing is fetched.
"use strict";

const element = (name) => document.getElementById(name);
const recording = JSON.parse(element("data").textContent);
const sound = element("sound");
const cursor = { panel: 0, time: 0, row: 0 };
let zoom = 0; // CSS pixels per second
let LABEL = 0; // CSS pixels at the left, where the names of the panels stay
let whole = true; // the whole recording is in view, and stays so in a narrower window
let colours = {};

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const mix = (from, to, share) => from.map((value, i) => value + (to[i] - value) * share);

async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function readColours() {
  for (const name of ["paper", "ink", "blue", "orange"]) colours[name] = rgb(style("--" + name));
  colours.ramps = { share: [], state: [], loudness: [] };
  for (let i = 0; i < 256; i++) {
    const share = i / 255, side = Math.abs(2 * share - 1);
    colours.ramps.share.push(mix(colours.paper, colours.blue, share));
    colours.ramps.loudness.push(mix(colours.paper, colours.ink, share));
    colours.ramps.state.push(mix(colours.paper, share < 0.5 ? colours.orange : colours.blue, side));
  }
}

const level = (panel, row, frame) => panel.levels[row * panel.frames + frame];
const value = (panel, row, frame) => panel.low + (level(panel, row, frame) / 255) * (panel.high - panel.low);
const frameAt = (panel, time) => Math.min(panel.frames - 1, Math.max(0, Math.floor(time / panel.frame_s + 1e-6)));
const number = (x) => x.toFixed(Math.abs(x) < 10 ? 2 : 1);

function drawImage(panel, context, height) {
  const ramp = colours.ramps[panel.ramp];
  const image = new ImageData(panel.frames, panel.rows);
  const [low, high] = panel.ends; // the colours may end before the values do
  const shade = Array.from({ length: 256 }, (_, i) => {
    const share = (panel.low + (i / 255) * (panel.high - panel.low) - low) / (high - low);
    return ramp[Math.round(Math.min(Math.max(share, 0), 1) * 255)];
  });
  for (let i = 0; i < panel.levels.length; i++) {
    const [r, g, b] = shade[panel.levels[i]];
    image.data.set([r, g, b, 255], 4 * i);
  }
  const small = new OffscreenCanvas(panel.frames, panel.rows);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, panel.frames * panel.frame_s * zoom, height);
}

function drawLines(panel, context, height) {
  const lines = ["--line0", "--line1", "--line2", "--line3", "--line4", "--line5"].map(style);
  for (let row = 0; row < panel.rows; row++) {
    context.beginPath();
    for (let frame = 0; frame < panel.frames; frame++) {
      const x = (frame + 0.5) * panel.frame_s * zoom;
      const y = height - 2 - (level(panel, row, frame) / 255) * (height - 6);
      frame ? context.lineTo(x, y) : context.moveTo(x, y);
    }
    context.strokeStyle = lines[row % lines.length];
    context.lineWidth = 1.6;
    context.stroke();
  }
}

function draw() {
  const width = Math.round(recording.duration_s * zoom);
  element("tracks").style.width = LABEL + width + "px";
  const dots = Math.min(window.devicePixelRatio || 1, 16000 / width);
  for (const panel of recording.panels) {
    const canvas = panel.canvas, height = panel.height;
    canvas.width = width * dots;
    canvas.height = height * dots;
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    const context = canvas.getContext("2d");
    context.scale(dots, dots);
    (panel.kind === "image" ? drawImage : drawLines)(panel, context, height);
  }
  for (const word of document.querySelectorAll("#words button")) {
    word.style.left = LABEL + word.dataset.start * zoom + "px";
    word.style.width = (word.dataset.end - word.dataset.start) * zoom + "px";
  }
  for (const edge of document.querySelectorAll(".edge")) edge.style.left = LABEL + edge.dataset.time * zoom + "px";
  const ruler = element("ruler");
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10].find((one) => one * zoom >= 60) || 30;
  ruler.replaceChildren();
  for (let i = 0; i * step <= recording.duration_s; i++) {
    const mark = document.createElement("span");
    mark.textContent = +(i * step).toFixed(2) + " s";
    mark.style.left = LABEL + i * step * zoom + "px";
    ruler.append(mark);
  }
  show();
}

function show() {
  const panel = recording.panels[cursor.panel];
  cursor.time = Math.min(Math.max(cursor.time, 0), recording.duration_s);
  cursor.row = Math.min(Math.max(cursor.row, 0), panel.rows - 1);
  const frame = frameAt(panel, cursor.time);
  element("cursor").style.left = LABEL + cursor.time * zoom + "px";
  element("playhead").style.left = LABEL + sound.currentTime * zoom + "px";
  let told;
  if (panel.kind === "image") {
    told = `${panel.names[cursor.row]}: ${number(value(panel, cursor.row, frame))}`;
  } else {
    const rows = [...Array(panel.rows).keys()].sort((a, b) => value(panel, b, frame) - value(panel, a, frame));
    told = rows.slice(0, 6).map((row) => `${panel.names[row]} ${number(value(panel, row, frame))}`.trim()).join(", ");
  }
  const word = recording.words.find((one) => one.start_s <= cursor.time && cursor.time < one.end_s);
  const spoken = word ? ` “${word.word}”` : "";
  element("readout").textContent = `${cursor.time.toFixed(3)} s${spoken} · ${panel.name} · ${told}`;
}

function reveal() {
  const view = element("view"), x = cursor.time * zoom, room = view.clientWidth - LABEL;
  if (x < view.scrollLeft || x > view.scrollLeft + room - 20) view.scrollLeft = x - room / 2;
}

// Puts the sound and its playhead where the cursor is.
function seek(time) {
  cursor.time = Math.min(Math.max(time, 0), recording.duration_s);
  sound.currentTime = cursor.time;
  show();
}

// While the sound plays, the cursor moves with it.
function follow() {
  if (sound.paused) return;
  cursor.time = sound.currentTime;
  show();
  reveal();
  requestAnimationFrame(follow);
}

function setZoom(wanted) {
  const view = element("view"), before = zoom ? (view.scrollLeft + (view.clientWidth - LABEL) / 2) / zoom : 0;
  LABEL = parseFloat(style("--label"));
  const room = view.clientWidth - LABEL - 4;
  whole = wanted * recording.duration_s <= room;
  zoom = Math.min(Math.max(wanted, room / recording.duration_s), 16000 / recording.duration_s);
  draw();
  view.scrollLeft = before * zoom - room / 2;
}

function onKey(event) {
  const panel = recording.panels[cursor.panel], frame = frameAt(panel, cursor.time), far = event.shiftKey ? 10 : 1;
  const moves = {
    ArrowLeft: () => (cursor.time = (frame - far + 0.5) * panel.frame_s),
    ArrowRight: () => (cursor.time = (frame + far + 0.5) * panel.frame_s),
    ArrowUp: () => (cursor.row -= far),
    ArrowDown: () => (cursor.row += far),
    Home: () => (cursor.time = 0),
    End: () => (cursor.time = recording.duration_s),
    Enter: () => seek(cursor.time),
    " ": () => (sound.paused ? sound.play().catch(() => {}) : sound.pause()),
    "+": () => setZoom(zoom * 1.5),
    "=": () => setZoom(zoom * 1.5),
    "-": () => setZoom(zoom / 1.5),
  };
  if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  moves[event.key]();
  show();
  reveal();
}

function build() {
  const tracks = element("tracks");
  recording.panels.forEach((panel, index) => {
    const row = document.createElement("div");
    row.className = "track";
    const label = document.createElement("div");
    label.className = "label";
    const name = document.createElement("b");
    name.textContent = panel.name;
    const about = document.createElement("span");
    about.className = "about";
    about.textContent = panel.about;
    label.append(name, about);
    if (panel.kind === "lines" && panel.rows > 1 && panel.rows <= 6) {
      const legend = document.createElement("span");
      panel.names.forEach((line, i) => {
        const item = document.createElement("i");
        item.textContent = line;
        item.style.color = `var(--line${i % 6})`;
        legend.append(item, " ");
      });
      label.append(legend);
    }
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${panel.name}: ${panel.about}. Arrow keys read values.`);
    canvas.addEventListener("focus", () => { cursor.panel = index; show(); });
    canvas.addEventListener("keydown", onKey);
    const point = (event) => {
      cursor.panel = index;
      if (sound.paused || event.type === "pointerdown") cursor.time = event.offsetX / zoom;
      cursor.row = Math.floor((event.offsetY / panel.height) * panel.rows);
      show();
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", (event) => { point(event); seek(cursor.time); });
    panel.canvas = canvas;
    row.append(label, canvas);
    tracks.append(row);
  });
  for (const word of recording.words) {
    const button = document.createElement("button");
    button.textContent = word.word;
    button.title = `${word.word}: ${word.start_s.toFixed(2)} to ${word.end_s.toFixed(2)} s, ` +
      `confidence ${word.confidence.toFixed(2)}`;
    button.dataset.start = word.start_s;
    button.dataset.end = word.end_s;
    button.addEventListener("click", () => seek(word.start_s));
    element("words").append(button);
    for (const time of [word.start_s, word.end_s]) {
      const edge = document.createElement("div");
      edge.className = "edge";
      edge.dataset.time = time;
      tracks.append(edge);
    }
  }
  element("words").hidden = !recording.words.length;
}

async function start() {
  const levels = await unpack(recording.levels);
  let at = 0;
  for (const panel of recording.panels) {
    panel.levels = levels.subarray(at, (at += panel.rows * panel.frames));
    panel.height = panel.kind === "image" ? Math.min(Math.max(panel.rows, 70), 160) : panel.rows > 1 ? 90 : 48;
  }
  build();
  readColours();
  sound.addEventListener("play", follow);
  sound.addEventListener("seeked", () => { cursor.time = sound.currentTime; show(); reveal(); });
  element("in").addEventListener("click", () => setZoom(zoom * 1.5));
  element("out").addEventListener("click", () => setZoom(zoom / 1.5));
  window.addEventListener("resize", () => setZoom(whole ? 0 : zoom));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  setZoom(0);
}

start();
