// Scores of sound that comes in chunks, by onnxruntime-web: of every frame with the state carried over, of windows, or
// of a whole recording at its end.

const KINDS = {float32: Float32Array, float64: Float64Array, int64: BigInt64Array};

// A model that goes step by step.
export class FrameScores {
  constructor(ort, session, about) {
    Object.assign(this, {ort, session, about, frames: 0, samples: 0});
    this.wanted = ["scores", ...about.states.map(one => `next.${one.name}`), ...shown(about)];
    this.state = Object.fromEntries(about.states.map(({name, shape, dtype}) => {
      const sizes = shape.map(size => size < 0 ? 1 : size);
      const values = new KINDS[dtype](sizes.reduce((product, size) => product * size, 1));
      return [`state.${name}`, new ort.Tensor(dtype, values, sizes)];
    }));
  }

  // What a chunk completes: {times, scores, picture, layers}.
  async feed(samples, ended) {
    const {Tensor} = this.ort;
    this.samples += samples.length;
    const found = await this.session.run({
      samples: new Tensor("float32", samples, [1, samples.length]),
      ended: new Tensor("bool", Uint8Array.of(ended ? 1 : 0), [1]),
      ...this.state,
    }, this.wanted);
    for (const {name} of this.about.states) this.state[`state.${name}`] = found[`next.${name}`];
    return {times: this.times(found.scores.dims[1], ended), scores: found.scores.data, ...seen(this.about, found)};
  }

  // How far into the stream, in seconds, the model has heard for each of the next frames.
  times(count, ended) {
    const {least, first, step} = this.about.heard;
    return Array.from({length: count}, () => {
      const heard = Math.max(least, first + step * this.frames++);
      return (ended ? Math.min(heard, this.samples) : heard) / this.about.sample_rate;
    });
  }
}

// A classifier of clips: each window as if it were a recording, as speechgru listen does it.
export class WindowScores {
  constructor(ort, session, about) {
    Object.assign(this, {ort, session, about, held: new Float32Array(0), origin: 0, next: 0});
  }

  async feed(samples, ended) {
    const {length, hop} = this.about.window, found = [];
    this.held = joined([this.held, samples]);
    const known = this.origin + this.held.length;
    while (this.next + length <= known) {
      const start = this.next - this.origin;
      found.push(await this.hear(this.held.slice(start, start + length), this.next + length));
      this.next += hop;
    }
    if (ended && known > Math.max(0, this.next ? this.next - hop + length : 0))
      found.push(await this.hear(this.held.slice(Math.max(0, this.held.length - length)), known));
    const drop = Math.max(0, Math.min(this.next, known - length) - this.origin);
    this.held = this.held.slice(drop);
    this.origin += drop;
    return {
      times: found.map(one => one.time),
      scores: joined(found.map(one => one.scores)),
      picture: joined(found.map(one => one.picture)),
      layers: this.about.layers.map((_, place) => joined(found.map(one => one.layers[place]))),
    };
  }

  async hear(samples, end) {
    const found = await whole(this, samples), time = end / this.about.sample_rate;
    const share = end === samples.length ? 1 : this.about.window.hop / samples.length;
    // The part of what is shown that the window before did not have.
    const latest = (values, size) => values.subarray(values.length - Math.round(values.length / size * share) * size);
    const {picture, layers} = seen(this.about, found);
    return {
      time, scores: found.scores.data, picture: latest(picture, this.about.picture.size),
      layers: layers.map((values, place) => latest(values, this.about.layers[place].size)),
    };
  }
}

// A transcriber that needs the whole recording: it answers at the end.
export class WholeScores {
  constructor(ort, session, about) {
    Object.assign(this, {ort, session, about, parts: [], samples: 0});
  }

  async feed(samples, ended) {
    this.parts.push(samples);
    this.samples += samples.length;
    if (this.samples > this.about.most_s * this.about.sample_rate)
      throw new Error(`This model needs the whole recording at once: at most ${this.about.most_s} s; take a shorter one.`);
    const nothing = {times: [], scores: new Float32Array(0), picture: new Float32Array(0), layers: []};
    if (!ended || !this.samples) return nothing;
    const heard = joined(this.parts), found = await whole(this, heard);
    const times = Array.from({length: Number(found.frames.data[0])}, (_, frame) => (frame + 1) * this.about.frame_s);
    return {times, scores: found.scores.data, samples: heard, ...seen(this.about, found)};
  }
}

function whole({ort, session, about}, samples) {
  return session.run({
    waveforms: new ort.Tensor("float32", samples, [1, samples.length]),
    lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(samples.length)), [1]),
  }, ["scores", "frames", ...shown(about)]);
}

function shown(about) {
  return ["picture", ...about.layers.map((_, place) => `layer.${place}`)];
}

function seen(about, found) {
  return {picture: found.picture.data, layers: about.layers.map((_, place) => found[`layer.${place}`].data)};
}

export function joined(parts) {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
