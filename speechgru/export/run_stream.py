"""What a model hears, chunk by chunk, with numpy, soundfile and onnxruntime alone: python run_stream.py clip.wav"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    """Prints what each 100 ms of a recording adds: tokens of CTC, or the likeliest label of a frame."""
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("stream.onnx")))
    about = session.get_modelmeta().custom_metadata_map
    labels, rate = json.loads(about["labels"]), int(about["sample_rate"])
    samples, found = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
    if found != rate:
        sys.exit(f"{sys.argv[1]}: {found} Hz; convert it first: ffmpeg -i {sys.argv[1]} -ar {rate} -ac 1 converted.wav")
    waveform, chunk, before = samples.mean(1, keepdims=True).T, rate // 10, -1
    state = {
        f"state.{one['name']}": np.zeros([1 if size < 0 else size for size in one["shape"]], one["dtype"])
        for one in json.loads(about["states"])
    }
    for start in range(0, waveform.shape[1], chunk):
        ended = np.array([start + chunk >= waveform.shape[1]])
        scores, *after = session.run(None, {"samples": waveform[:, start : start + chunk], "ended": ended, **state})
        state = dict(zip(state, after, strict=True))
        for best, score in zip(scores[0].argmax(1), scores[0].max(1), strict=True):
            if best != before and (about["task"] != "ctc" or best):
                print(f"{start / rate:.1f} s", labels[best], "" if about["task"] == "ctc" else f"{score:.4f}", sep="\t")
            before = best


if __name__ == "__main__":
    main()
