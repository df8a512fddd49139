// The page: a microphone or a file, a model here or on a server, and what is heard.
import {decoded, microphone} from "./audio.js";
import {Heard} from "./heard.js";
import {Views} from "./views.js";

const CHUNK_S = 0.1;
// At most WAITING_S seconds of a file may wait; when a microphone's sound waits longer than LATE_S, the page says so.
const WAITING_S = 2, LATE_S = 1;
const READY = "Record, or drop a recording anywhere on this page.";
const READY_WHOLE = "Drop a recording anywhere on this page, or record: this model answers when the sound has ended.";

const $ = id => document.getElementById(id);
const heard = new Heard($("heard"));
const source = await import(document.documentElement.dataset.source);
let models = {}, views = null, session = null;

function say(text, bad = false) {
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").classList.toggle("bad", bad);
}

const model = () => models[$("model").value];

async function list() {
  say("Loading …");
  try {
    models = await source.models();
  } catch (error) {
    if (error.keyed) $("keyed").hidden = false;
    say(error.message, !error.keyed || Boolean($("key").value));
    return;
  }
  const chosen = $("model").value, names = Object.keys(models);
  $("model").replaceChildren(...names.map(name =>
    new Option(`${name} (${models[name].does === "classify" ? "labels" : "words"})`, name, false, name === chosen)));
  $("choice").hidden = document.documentElement.dataset.source !== "./server.js";
  $("record").disabled = $("choose").disabled = false;
  show();
}

// What is shown of the chosen model.
function show() {
  const {title, note, link} = source.about(model());
  $("title").textContent = document.title = title;
  $("note").textContent = note;
  if (link) {
    const [text, href] = link;
    $("note").append(Object.assign(document.createElement("a"), {textContent: text, href}));
  }
  document.querySelector("main").classList.toggle("narrow", !model().picture);
  views = new Views(model());
  say(model().mode === "whole" ? READY_WHOLE : READY);
}

function tell(step) {
  views.step(step);
  step.events.forEach(event => heard.take(event));
  document.dispatchEvent(new CustomEvent("heard", {detail: step}));
}

async function record(mine) {
  let stream = null;
  const close = await microphone(model().sample_rate, source.anyRate, async rate => {
    stream = await source.open($("model").value, rate, tell);
    return samples => {
      views.sound(samples, rate);
      stream.feed(samples);
      if (mine.stopped) return;
      say(stream.late > LATE_S ? `Listening, ${stream.late.toFixed(0)} s behind: this machine is slower than the sound.` : "Listening …");
    };
  });
  mine.stop = () => {
    mine.stopped = true;
    close();
    stream.end();
  };
  if (mine.stopped) mine.stop();
  else say("Listening …");
  return stream.ended.finally(close);
}

async function hear(file, mine) {
  const {sample_rate: rate} = model();
  say(`Reading ${file.name} …`);
  const samples = await decoded(file, rate);
  if (mine.stopped) return {seconds: 0};
  const stream = await source.open($("model").value, rate, tell), step = Math.round(CHUNK_S * rate);
  mine.stop = () => {
    mine.stopped = true;
    stream.stop();
  };
  say(`Listening to ${file.name} …`);
  const feed = async () => {
    for (let at = 0; at < samples.length && !mine.stopped; at += step) {
      const chunk = samples.slice(at, at + step);
      views.sound(chunk, rate);
      stream.feed(chunk);
      while (stream.late > WAITING_S && !mine.stopped) await new Promise(go => setTimeout(go, 20));
      if (at % (50 * step) === 0) await new Promise(go => setTimeout(go));
    }
    stream.end();
  };
  const [ended] = await Promise.all([stream.ended.catch(error => { mine.stopped = true; throw error; }), feed()]);
  return ended;
}

async function begin(run) {
  if (session || !views) return;
  const mine = session = {stopped: false, stop() { this.stopped = true; }};
  views.clear();
  heard.clear();
  $("record").textContent = "Stop";
  $("choose").disabled = $("model").disabled = true;
  try {
    const {seconds, spent_s} = await run(mine);
    const took = spent_s && seconds ? ` Computing took ${(1000 * spent_s / seconds).toFixed(1)} ms a second.` : "";
    say(`Heard ${seconds.toFixed(1)} s.${took}`);
  } catch (error) {
    const refused = {
      NotAllowedError: "The browser does not let this page hear the microphone: allow it, or choose a file.",
      NotFoundError: "There is no microphone; choose a file.",
      NotReadableError: "The microphone cannot be opened: another program may have it; choose a file.",
    };
    say(refused[error.name] ?? error.message, true);
  }
  session = null;
  $("record").textContent = "Record";
  $("choose").disabled = $("model").disabled = false;
}

function take(file) {
  if (file) begin(mine => hear(file, mine));
}

$("form").onsubmit = event => {
  event.preventDefault();
  if (session) session.stop();
  else begin(record);
};
$("choose").onclick = () => $("file").click();
$("file").onchange = () => {
  take($("file").files[0]);
  $("file").value = "";
};
$("model").onchange = show;
$("key").onchange = list;
addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
addEventListener("keydown", event => { if (event.key === "Escape") session?.stop(); });
addEventListener("resize", () => views?.draw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => views?.draw());
await list();
