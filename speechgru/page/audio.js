// Sound as a model takes it: one channel of samples from -1 to 1 at the model's rate. The browser resamples.

const MOST_BYTES = 500e6;

// Opens the microphone; `take`, which `begin` gives, is called with each chunk. Returns a function that closes it.
// Where the browser cannot resample a microphone, the microphone stays at its own rate, if `anyRate` allows that.
export async function microphone(wanted, anyRate, begin) {
  if (!navigator.mediaDevices)
    throw new Error("Browsers give a microphone to https and to this machine's own address only; choose a file.");
  const sound = await navigator.mediaDevices.getUserMedia({
    audio: {channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false},
  });
  let context = null;
  const close = () => {
    sound.getTracks().forEach(track => track.stop());
    if (context && context.state !== "closed") context.close();
  };
  try {
    let microphone;
    try {
      context = new AudioContext({sampleRate: wanted});
      microphone = context.createMediaStreamSource(sound);
    } catch (error) {
      if (!anyRate)
        throw new Error(`This browser does not record at ${wanted} Hz; choose a file, or take Chromium.`);
      context?.close();
      context = new AudioContext();
      microphone = context.createMediaStreamSource(sound);
    }
    await context.audioWorklet.addModule(new URL("./capture.js", import.meta.url));
    const take = await begin(context.sampleRate);
    const capture = new AudioWorkletNode(context, "capture", {numberOfOutputs: 0});
    capture.port.onmessage = message => take(message.data);
    microphone.connect(capture);
    await context.resume();
    sound.getTracks().forEach(track => { track.onended = () => close(); });
    return close;
  } catch (error) {
    close();
    throw error;
  }
}

// The samples of a file at a rate, all channels averaged.
export async function decoded(file, rate) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name}: larger than 500 MB; cut it into pieces first.`);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    throw new Error(`${file.name}: this browser cannot decode it; wav, mp3, ogg and flac do.`);
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    const one = sound.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += one[i] / sound.numberOfChannels;
  }
  return samples;
}
