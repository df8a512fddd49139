// A model that runs in this page, with onnxruntime-web; nothing that is heard leaves the machine.
import {FrameScores, WholeScores, WindowScores, joined} from "./scores.js";
import {Keywords} from "./keywords.js";
import {Phrases} from "./phrases.js";
import {isEven} from "./even.js";

const SCORES = {stream: FrameScores, windows: WindowScores, whole: WholeScores};
// Sound that waits is computed in pieces of at most this many seconds.
const MOST_S = 2;

export const anyRate = false;
let loaded = null;

async function read(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    throw new Error(`${url} cannot be had: no network, or not what it should be. ` +
      "The export with --runtime FOLDER has a copy of onnxruntime-web.");
  }
  if (!answer.ok) throw new Error(`${url} is not there (${answer.status}); export the model again.`);
  return answer;
}

async function load() {
  const about = await (await read("model.json")).json(), {runtime} = about;
  const [ort, binary, model] = await Promise.all([
    import(new URL(runtime.script, document.baseURI)).catch(() => {
      throw new Error(`${runtime.script} cannot be had: no network, or not what it should be. ` +
        "The export with --runtime FOLDER has a copy of onnxruntime-web.");
    }),
    read(runtime.wasm, {integrity: runtime.wasm_integrity}).then(answer => answer.arrayBuffer()),
    read("model.onnx").then(answer => answer.arrayBuffer()),
  ]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = binary;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model, {executionProviders: ["wasm"]});
  return {ort, about, session};
}

// The models that there are, by name: what each does and what is shown of it.
export async function models() {
  loaded ??= await load();
  return {[loaded.about.name]: loaded.about};
}

// Title and note of the page.
export function about(model) {
  const worst = model.largest_difference.toExponential(0);
  return {
    title: `speechgru: what ${model.name} hears`,
    note: `${model.summary ?? ""} The model runs in this page; what is heard leaves this machine never. Before the ` +
      `export its scores differed by at most ${worst} from the model's own; a browser's may by 1e-3.`,
  };
}

// A stream of sound through the model; `tell` is called with {events, times, scores, smoothed, picture, layers} at each
// step.
export async function open(name, rate, tell) {
  return new Stream(loaded, tell);
}

class Stream {
  constructor({ort, about, session}, tell) {
    this.about = about;
    this.tell = tell;
    this.scores = new SCORES[about.mode](ort, session, about);
    this.reader = about.keywords ? new Keywords(about.keywords, about.labels.length) : new Phrases(about.ctc);
    this.waiting = [];
    this.fed = 0;
    this.seconds = 0;
    this.spent_s = 0;
    this.ending = false;
    this.running = null;
    this.ended = new Promise((resolve, reject) => Object.assign(this, {resolve, reject}));
    this.ended.catch(() => {});  // whoever waits for it gets the error
  }

  feed(samples) {
    if (this.ending) return;
    this.waiting.push(samples);
    this.fed += samples.length;
    this.run();
  }

  end() {
    if (this.ending) return;
    this.ending = true;
    this.run();
  }

  stop() {
    this.end();
  }

  // Seconds of sound that were fed and not yet computed.
  get late() {
    return this.fed / this.about.sample_rate - this.seconds;
  }

  run() {
    this.running ??= this.steps().then(() => { this.running = null; }, error => {
      this.ending = true;
      this.reject(error);
    });
  }

  async steps() {
    while (this.waiting.length || (this.ending && !this.finished)) {
      const all = joined(this.waiting), most = MOST_S * this.about.sample_rate;
      const samples = all.slice(0, most);
      this.waiting = all.length > most ? [all.subarray(most)] : [];
      await this.step(samples, this.ending && !this.waiting.length);
      await new Promise(go => setTimeout(go));
    }
    if (this.finished) this.resolve({seconds: this.seconds, spent_s: this.spent_s});
  }

  async step(samples, ended) {
    const begin = performance.now();
    const found = await this.scores.feed(samples, ended);
    this.spent_s += (performance.now() - begin) / 1000;
    this.seconds += samples.length / this.about.sample_rate;
    this.finished = ended;
    const events = this.events(found, ended);
    const smoothed = this.about.keywords ? this.reader.words.map(({label, smoothed}) => ({label, smoothed})) : null;
    this.tell({...found, events, smoothed});
  }

  events(found, ended) {
    if (this.about.keywords) {
      const heard = this.reader.feed(found.times, found.scores);
      return heard.map(({label, ...event}) => ({kind: "label", text: label, final: true, ...event}));
    }
    // A model that recognises unfamiliar sound gives no text for a sound of even level: nobody speaks in it.
    const even = found.samples && this.about.ctc.most_entropy !== null && isEven(found.samples, this.about.sample_rate);
    if (even) return [];
    const events = this.reader.feed(found.scores);
    return ended ? [...events, ...this.reader.end()] : events;
  }
}
