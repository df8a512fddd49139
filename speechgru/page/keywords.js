// Words from scores over time, as speechgru/streaming/keywords.py finds them: smoothing, thresholds, refractory time.

// Scores are summed as integers of this resolution: such sums are exact.
const ONE = 2 ** 30;
// Times that differ by less count as the same.
const SAME_S = 1e-6;

// Gives the same words whatever the chunks.
export class Keywords {
  // config: {smoothing_ms, refractory_s, words: [{column, label, threshold}]}; a threshold of null is never reached.
  constructor(config, labels) {
    this.config = config;
    this.labels = labels;
    this.times = [];  // of the frames that the next mean may need
    this.rows = [];   // and their scores, as integers
    this.sums = new Float64Array(labels);
    this.words = config.words.filter(word => word.threshold !== null)
      .map(word => ({...word, fired_s: -Infinity, low_s: null, smoothed: 0}));
  }

  // The detections in the next frames, in order of time: [{label, start_s, end_s, confidence}].
  feed(times, scores) {
    const found = [];
    times.forEach((end_s, frame) => {
      const smoothed = this.smooth(end_s, scores.subarray(frame * this.labels, (frame + 1) * this.labels));
      for (const word of this.words) {
        const score = smoothed[word.column];
        word.smoothed = score;
        if (score < word.threshold / 2) word.low_s = end_s;
        word.low_s ??= end_s;
        const rested = word.fired_s === -Infinity || end_s >= word.fired_s + this.config.refractory_s - SAME_S;
        if (score < word.threshold || !rested) continue;
        word.fired_s = end_s;
        found.push({label: word.label, start_s: word.low_s, end_s, confidence: score});
      }
    });
    return found;
  }

  // The means over the last smoothing_ms up to one frame.
  smooth(end_s, scores) {
    if (!scores.every(score => score >= 0 && score <= 1 + 1e-6))
      throw new Error("Scores are probabilities, 0 to 1; these are not: the model's weights are damaged.");
    const row = Float64Array.from(scores, score => Math.round(score * ONE));
    this.times.push(end_s);
    this.rows.push(row);
    row.forEach((value, label) => { this.sums[label] += value; });
    while (this.times.length > 1 && this.times[0] <= end_s - this.config.smoothing_ms / 1000 + SAME_S) {
      this.times.shift();
      this.rows.shift().forEach((value, label) => { this.sums[label] -= value; });
    }
    return this.sums.map(sum => sum / (this.rows.length * ONE));
  }
}
