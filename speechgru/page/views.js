// What is drawn: the sound, pictures of frames that go from right to left, and a bar for each word.

// Seconds of sound that are seen at once.
const SHOWN_S = 6;
// Peaks that are drawn for a second of sound.
const PEAKS = 100;

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "back", "mark"].map(name => {
    const value = style.getPropertyValue(`--${name}`).trim();
    return [name, [1, 3, 5].map(at => parseInt(value.slice(at, at + 2), 16))];
  }));
}

// From the colour of the paper, through that of marks, to that of ink.
function mixed({back, mark, ink}, share) {
  const [from, to, part] = share < 0.6 ? [back, mark, share / 0.6] : [mark, ink, (share - 0.6) / 0.4];
  return from.map((value, i) => value + part * (to[i] - value));
}

function fitted(canvas) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(size => Math.max(1, Math.round(size * scale)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  return canvas.getContext("2d");
}

class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
  }

  clear() {
    this.peaks = [];
    this.count = this.peak = 0;
  }

  push(samples, rate) {
    for (const sample of samples) {
      this.peak = Math.max(this.peak, Math.abs(sample));
      if (++this.count < rate / PEAKS) continue;
      this.peaks.push(this.peak);
      this.count = this.peak = 0;
    }
    this.peaks.splice(0, Math.max(0, this.peaks.length - SHOWN_S * PEAKS));
  }

  draw({mark}) {
    const pen = fitted(this.canvas), {width, height} = this.canvas, step = width / (SHOWN_S * PEAKS);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = `rgb(${mark})`;
    const left = width - this.peaks.length * step;
    this.peaks.forEach((peak, i) => {
      const tall = Math.max(1, Math.sqrt(peak) * height);
      pen.fillRect(left + i * step, (height - tall) / 2, Math.max(1, step * 0.7), tall);
    });
  }
}

// Frames as columns, their first value at the bottom.
class Picture {
  // range: "share" for values from 0 to 1; otherwise it is found from the values that are seen.
  constructor(canvas, {size, frame_s}, range) {
    Object.assign(this, {canvas, size, range, columns: Math.round(SHOWN_S / frame_s)});
    this.small = document.createElement("canvas");
    this.clear();
  }

  clear() {
    this.values = new Float32Array(0);
  }

  push(values) {
    const most = this.columns * this.size, all = new Float32Array(Math.min(most, this.values.length + values.length));
    const fresh = values.subarray(Math.max(0, values.length - most));
    all.set(this.values.subarray(this.values.length + fresh.length - all.length));
    all.set(fresh, all.length - fresh.length);
    this.values = all;
  }

  bounds() {
    if (this.range === "share") return [0, 1];
    const count = Math.max(1, this.values.length);
    const mean = this.values.reduce((sum, one) => sum + one, 0) / count;
    const spread = Math.sqrt(this.values.reduce((sum, one) => sum + (one - mean) ** 2, 0) / count) + 1e-6;
    return [mean - 1.5 * spread, mean + 2.5 * spread];
  }

  draw(colours) {
    const frames = this.values.length / this.size, [low, high] = this.bounds();
    Object.assign(this.small, {width: this.columns, height: this.size});
    const pen = this.small.getContext("2d"), image = pen.createImageData(this.columns, this.size);
    const ramp = Array.from({length: 256}, (_, level) => mixed(colours, level / 255));
    for (let frame = 0; frame < frames; frame++) {
      for (let row = 0; row < this.size; row++) {
        const share = (this.values[frame * this.size + row] - low) / (high - low);
        const column = this.columns - frames + frame, at = 4 * ((this.size - 1 - row) * this.columns + column);
        image.data.set(ramp[Math.round(255 * Math.min(1, Math.max(0, share)))], at);
        image.data[at + 3] = 255;
      }
    }
    pen.putImageData(image, 0, 0);
    const large = fitted(this.canvas), {width, height} = this.canvas;
    large.imageSmoothingEnabled = this.size > height;
    large.clearRect(0, 0, width, height);
    large.drawImage(this.small, 0, 0, width, height);
  }
}

// A bar for the smoothed score of each word, with its threshold.
class Words {
  constructor(place, words) {
    this.bars = new Map(words.map(({label, threshold}) => {
      const word = document.createElement("div"), bar = document.createElement("div");
      const fill = document.createElement("i"), mark = document.createElement("b");
      word.className = "word";
      bar.className = "bar";
      for (const [name, value] of Object.entries({role: "meter", "aria-valuemin": 0, "aria-valuemax": 1,
        "aria-valuenow": 0, "aria-label": `score of ${label}, threshold ${threshold.toFixed(3)}`}))
        bar.setAttribute(name, value);
      mark.style.left = `${100 * threshold}%`;
      bar.append(fill, mark);
      word.append(label, bar);
      return [label, {word, bar, fill, score: 0, until: 0}];
    }));
    place.replaceChildren(...[...this.bars.values()].map(one => one.word));
  }

  clear() {
    this.bars.forEach(one => Object.assign(one, {score: 0, until: 0}));
  }

  push(smoothed) {
    smoothed.forEach(({label, smoothed: score}) => { this.bars.get(label).score = score; });
  }

  heard(label) {
    this.bars.get(label).until = performance.now() + 1000;
  }

  // Returns whether a bar still has to change.
  draw() {
    let later = false;
    this.bars.forEach(({word, bar, fill, score, until}) => {
      const now = performance.now() < until;
      fill.style.transform = `scaleX(${score})`;
      bar.setAttribute("aria-valuenow", score.toFixed(3));
      word.classList.toggle("now", now);
      later ||= now;
    });
    return later;
  }
}

// Everything that is drawn of a model.
export class Views {
  constructor(model) {
    const $ = id => document.getElementById(id);
    const {picture, layers = [], keywords} = model;
    this.wave = new Wave($("wave"));
    this.all = [this.wave];
    $("pictured").hidden = !picture;
    if (picture) {
      $("picturing").textContent = `what the model hears: ${picture.shows}, ${picture.size} values`;
      this.all.push(this.picture = new Picture($("picture"), picture, "seen"));
    }
    $("layers").replaceChildren();
    this.layers = layers.map((layer, place) => {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      const canvas = document.createElement("canvas");
      const gated = layer.shows !== "hidden", shows = gated ? `${layer.shows} gate` : "outputs";
      caption.textContent = `layer ${place + 1}, ${layer.cell}${layer.both ? ", forwards" : ""}: ${shows} of ${layer.size} units`;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", caption.textContent);
      figure.append(caption, canvas);
      $("layers").append(figure);
      return new Picture(canvas, layer, gated ? "share" : "seen");
    });
    this.all.push(...this.layers);
    $("legend").hidden = !layers.length;
    $("legend").textContent = layers.some(({shows}) => shows !== "hidden")
      ? "Each row is a unit. A dark gate (bright on a dark page) keeps what the unit remembers, a pale one takes what is new."
      : "Each row is a unit.";
    const words = keywords ? keywords.words.filter(word => word.threshold !== null) : [];
    $("words").hidden = !words.length;
    this.words = words.length ? new Words($("words"), words) : null;
    if (this.words) this.all.push(this.words);
    this.draw();
  }

  clear() {
    this.all.forEach(one => one.clear());
    this.draw();
  }

  sound(samples, rate) {
    this.wave.push(samples, rate);
    this.draw();
  }

  // Shows what a step of the model gave.
  step({picture, layers, smoothed, events}) {
    if (picture) this.picture?.push(picture);
    layers?.forEach((values, place) => this.layers[place].push(values));
    if (smoothed) this.words?.push(smoothed);
    events.filter(event => event.kind === "label").forEach(event => this.words?.heard(event.text));
    this.draw();
  }

  // Draws once before the browser next shows the page.
  draw() {
    this.drawing ??= requestAnimationFrame(() => {
      this.drawing = null;
      const found = colours();
      if (this.all.map(one => one.draw(found)).some(later => later)) setTimeout(() => this.draw(), 200);
    });
  }
}
