// Whether the level of a recording is even throughout, as that of silence, hum and hiss is and that of speech is not:
// speechgru/decoding/silence.py.

const LEAST_RANGE_DB = 12, MOST_RANGE_DB = 50;

export function isEven(samples, rate) {
  const size = Math.round(0.01 * rate), levels = [];
  for (let at = 0; at + size <= samples.length; at += size) {
    const frame = samples.subarray(at, at + size), mean = frame.reduce((sum, one) => sum + one, 0) / size;
    levels.push(10 * Math.log10(frame.reduce((sum, one) => sum + (one - mean) ** 2, 0) / size + 1e-12));
  }
  if (!levels.length) return true;
  levels.sort((one, other) => one - other);
  const loud = percentile(levels, 0.95), floor = Math.max(percentile(levels, 0.05), loud - MOST_RANGE_DB);
  return loud - floor < LEAST_RANGE_DB;
}

function percentile(sorted, share) {
  const place = share * (sorted.length - 1), low = Math.floor(place);
  return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}
