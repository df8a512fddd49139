// Words from scores of CTC by the likeliest token of each frame, as speechgru/streaming/phrases.py has them with
// decoder=greedy: settled words while a phrase goes on, all its words at a pause.

// Settled words are looked for each time this many more frames of a phrase have come.
const LOOK = 5;
const BLANK = 0;
// What sentencepiece writes before the first piece of a word.
const START = "\u2581";
// A posterior nearer than this to 0 or 1 is a matter of rounding.
const SUREST = 1e-5;

export class Phrases {
  // about: {tokens, units: characters | subwords | tokens, space, frame_s, pause, longest, calibration: {scale, offset},
  // most_entropy}; pause and longest in frames, null where all of the sound is one phrase.
  constructor(about) {
    this.about = about;
    this.quiet = new Set(about.space === null ? [BLANK] : [BLANK, about.space]);
    this.first = 0;
    this.begin();
  }

  begin() {
    this.rows = [];
    this.silent = 0;
    this.told = 0;
  }

  // The events of the next frames; scores are natural logarithms, frame by frame.
  feed(scores) {
    const size = this.about.tokens.length, events = [];
    for (let at = 0; at < scores.length; at += size) {
      const row = scores.slice(at, at + size), best = likeliest(row);
      this.rows.push({row, best});
      this.silent = this.quiet.has(best) ? this.silent + 1 : 0;
      const paused = this.silent === this.about.pause && this.silent < this.rows.length;
      if (paused || this.rows.length === this.about.longest) events.push(...this.end());
      else if (this.about.longest && this.rows.length % LOOK === 0) events.push(...this.settled());
    }
    return events;
  }

  // The words of the phrase that ends here: at a pause, when it is too long, or with the stream.
  end() {
    const events = this.rows.length ? this.words().map(word => ({...word, final: true})) : [];
    const familiar = this.familiar();
    if (familiar !== null) events.forEach(event => { event.familiar = familiar; });
    this.first += this.rows.length;
    this.begin();
    return events;
  }

  // Words that are followed by another word: greedy decoding never changes them.
  settled() {
    const tokens = path(this.rows), spans = this.spans(tokens);
    const count = spans.filter(span => span.last < tokens.length).length;
    if (count <= this.told) return [];
    const words = this.words().slice(this.told, count);
    this.told = count;
    return words.map(word => ({...word, final: false}));
  }

  words() {
    const tokens = path(this.rows), spans = this.spans(tokens), {frame_s} = this.about;
    const ends = spans.map(({first, last}) => ({start: tokens[first].start, end: tokens[last - 1].end}));
    return spans.map(({text, first, last}, place) => {
      const {start, end} = ends[place];
      // CTC gives a token for less time than it sounds: so add up to a frame on both sides, shared with the neighbour.
      const before = place ? start - ends[place - 1].end : 2 * start;
      const after = place + 1 < ends.length ? ends[place + 1].start - end : 2;
      const from = start - Math.min(1, Math.max(0, before) / 2), to = end + Math.min(1, Math.max(0, after) / 2);
      const at = frames => (this.first + Math.min(frames, this.rows.length)) * frame_s;
      return {kind: "word", text, start_s: at(from), end_s: at(to), confidence: this.confidence(tokens.slice(first, last))};
    });
  }

  // The mean over tokens of the posterior in the best frame of each, corrected by the model's calibration.
  confidence(tokens) {
    const best = tokens.map(({token, start, end}) =>
      Math.exp(Math.max(...this.rows.slice(start, end).map(({row}) => row[token]))));
    const mean = best.reduce((sum, one) => sum + one, 0) / best.length;
    const held = Math.min(1 - SUREST, Math.max(SUREST, mean)), {scale, offset} = this.about.calibration;
    return 1 / (1 + Math.exp(-(scale * (Math.log(held) - Math.log1p(-held)) + offset)));
  }

  // Where words begin and end among tokens.
  spans(tokens) {
    const names = tokens.map(({token}) => this.about.tokens[token]), found = [];
    if (this.about.units === "tokens") return names.map((text, first) => ({text, first, last: first + 1}));
    if (this.about.units === "subwords") {
      names.forEach((name, first) => {
        if (name.startsWith(START) || !found.length) found.push({text: name.replace(START, ""), first, last: first + 1});
        else Object.assign(found.at(-1), {text: found.at(-1).text + name, last: first + 1});
      });
      return found.filter(word => word.text);
    }
    let text = "", first = 0;
    [...tokens.map(({token}) => token), this.about.space].forEach((token, place) => {
      if (token !== this.about.space) { text += names[place]; return; }
      if (text) found.push({text, first, last: place});
      text = "";
      first = place + 1;
    });
    return found;
  }

  // Whether the phrase sounds like what the model knows, by the entropy of its tokens; null where that is not known.
  familiar() {
    if (this.about.most_entropy === null || !path(this.rows).length) return null;
    let sum = 0, weights = 0;
    for (const {row} of this.rows) {
      const weight = Math.max(1 - Math.exp(row[BLANK]), 0);
      sum += weight * row.reduce((total, log) => total - (log > -700 ? Math.exp(log) * log : 0), 0);
      weights += weight;
    }
    return sum / Math.max(weights, 1e-12) <= this.about.most_entropy;
  }
}

function likeliest(row) {
  let best = 0;
  for (let token = 1; token < row.length; token++) if (row[token] > row[best]) best = token;
  return best;
}

// The likeliest path: repeats merged, blanks removed; where each token begins and ends, in frames.
function path(rows) {
  const found = [];
  rows.forEach(({best}, frame) => {
    if (frame && rows[frame - 1].best === best) found.at(-1).end = frame + 1;
    else found.push({token: best, start: frame, end: frame + 1});
  });
  return found.filter(({token}) => token !== BLANK);
}
