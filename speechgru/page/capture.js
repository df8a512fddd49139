// Takes the microphone's samples in the audio thread and gives them to the page in chunks of a tenth of a second.
const CHUNK_S = 0.1;

registerProcessor("capture", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.count = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    this.parts.push(channels[0].slice());
    this.count += channels[0].length;
    if (this.count >= CHUNK_S * sampleRate) {
      const joined = new Float32Array(this.count);
      let at = 0;
      for (const part of this.parts) {
        joined.set(part, at);
        at += part.length;
      }
      this.port.postMessage(joined, [joined.buffer]);
      this.parts = [];
      this.count = 0;
    }
    return true;
  }
});
