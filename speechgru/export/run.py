"""Labels or text of recordings, with numpy, soundfile and onnxruntime alone: python run.py clip.wav ..."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    """Prints one line for each recording."""
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
    about = session.get_modelmeta().custom_metadata_map
    labels, rate = json.loads(about["labels"]), int(about["sample_rate"])
    for path in sys.argv[1:]:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
        if found != rate:
            sys.exit(f"{path}: {found} Hz; convert it first: ffmpeg -i {path} -ar {rate} -ac 1 converted.wav")
        waveforms, lengths = samples.mean(1, keepdims=True).T, np.array([len(samples)])
        scores, frames = session.run(None, {"waveforms": waveforms, "lengths": lengths})
        if about["task"] == "ctc":
            best = scores[0, : frames[0]].argmax(1)  # the likeliest token of each frame; 0 is the blank
            tokens = [labels[token] for token in best[np.diff(best, prepend=0) != 0] if token]
            text = about["between_tokens"].join(tokens).replace(about["space"], " ")
            print(path, " ".join(text.split()), sep="\t")
        else:
            print(path, labels[scores[0].argmax()], f"{scores[0].max():.4f}", sep="\t")


if __name__ == "__main__":
    main()
