"""The README of an exported folder."""

from __future__ import annotations

from collections.abc import Mapping

from speechgru.plain import Record

_CTC = "(batch, frames, {labels}): logarithms of the tokens' probabilities in each frame; token 0 is the blank"
_LABELS = "(batch, {labels}): probabilities of the labels"

_INT8 = """
Then its large weights were rounded to 8 bits. Of {recordings} recordings that changed the answers to
{answers_changed}, and scores by at most {largest_difference:.2g}.
"""

_STREAM = """
## Sound as it comes

`stream.onnx` takes a chunk of `samples` (float32, (batch, samples), any number), `ended` (bool, (1,): whether that is
all) and the state, and gives the `scores` of the frames that no later sample can change, and the next state. The state
is all the inputs `state.NAME`, at the beginning zeros of the shapes in the metadata (`states`; -1 is the batch); each
output `next.NAME` is the input of the next chunk. Any chunks give the same scores; they differ from the model's by at
most {worst:.2g}.

```sh
python run_stream.py clip.wav
```
"""


def readme(about: Mapping[str, str], parity: Record) -> str:
    """What the file takes and gives, how to run it, how far it is from the model.

    Args:
        about: the metadata of the file.
        parity: what parity.json holds.
    """
    labels = parity["labels"]
    stream = _STREAM.format(**about, worst=parity["stream"]["largest_difference"]) if "stream" in parity else ""
    scores = (_CTC if about["task"] == "ctc" else _LABELS).format(labels=labels)
    int8 = _INT8.format(**parity["int8"]) if "int8" in parity else ""
    summary = f"{about['summary']}\n\n" if about.get("summary") else ""
    licence = f" Licence of the weights: {about['license']}." if about.get("license") else ""
    return f"""\
# A model of speechgru as ONNX

{summary}`model.onnx` is the whole model, from waveform to scores. It needs neither torch nor speechgru:

```sh
pip install numpy soundfile onnxruntime
python run.py clip.wav
```

| | name | type | shape and meaning |
| --- | --- | --- | --- |
| in | `waveforms` | float32 | (batch, samples): {about["sample_rate"]} samples a second, mono, from -1 to 1 |
| in | `lengths` | int64 | (batch,): samples of each row; what stands beyond them changes nothing |
| out | `scores` | float32 | {scores} |
| out | `frames` | int64 | (batch,): frames of each row, {about["frame_s"]} s apart |

`tokens.txt` has the labels in the order of the scores. The metadata of the file has them too, with rate, task and
what else is known of the model. The file uses opset {parity["opset"]} of ONNX.{licence}

Before it was written it was compared with the model, both in float32, on {parity["draws"]} drawn batches and
{parity["recordings"]} recordings: the largest difference of a score is {parity["largest_difference"]:.2g}, and
{parity["limit"]:g}, and what float32 leaves open, would have been let through (`parity.json`).
{int8}{stream}"""
