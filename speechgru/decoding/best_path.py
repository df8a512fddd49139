"""When the tokens of a sequence were spoken: its most likely path through the frames."""

from __future__ import annotations

import numpy as np

from speechgru.decoding.compiled import compiled

BLANK = 0


@compiled
def best_path(
    log_probs: np.ndarray, tokens: np.ndarray, born: np.ndarray, latest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The frames of each token on the most likely path whose collapsed form is ``tokens``.

    Viterbi over the states blank, token, blank, ..., token, blank of the CTC trellis (Graves et al., ICML 2006, figure
    3), inside a band around the frames in which a beam search held the beginnings of the sequence. Of two equally
    likely paths, the one that leaves a token later is taken.

    Args:
        log_probs: (frames, tokens), natural logarithms; at least one frame.
        tokens: (length,) int64, without blanks; their number, plus one for every pair of equal neighbours, is at most
            the number of frames.
        born: (length,) int64, the first frame that may belong to each token, ascending; zeros for no limit.
        latest: (length + 1,) int64, the last frame that may belong to the blanks before the first token, and to each
            token and the blanks after it; the number of frames for no limit.

    Returns:
        First frame of each token, the frame after its last one, and the log-probability of the path (minus infinity
        where there is none).
    """
    frames, states = log_probs.shape[0], 2 * len(tokens) + 1
    low, high = band(frames, born, latest)
    offsets = np.zeros(frames + 1, np.int64)
    offsets[1:] = np.cumsum(np.maximum(0, high - low + 1))
    moves = np.zeros(offsets[frames], np.int8)  # how many states the path came up
    scores = climb(log_probs, tokens, low, high, offsets, moves)
    state = states - 1
    if states > 1 and scores[states - 2] > scores[states - 1]:
        state = states - 2
    score = scores[state]
    starts, ends = np.zeros(len(tokens), np.int64), np.zeros(len(tokens), np.int64)
    for frame in range(frames - 1, -1, -1):
        if state % 2 == 1:
            starts[state // 2] = frame
            ends[state // 2] = max(ends[state // 2], frame + 1)
        if low[frame] <= state <= high[frame]:
            state -= moves[offsets[frame] + state - low[frame]]
    return starts, ends, score


@compiled
def band(frames: int, born: np.ndarray, latest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest state of each frame that are reachable by then and from which the end is still reachable."""
    length = len(born)
    low, high = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
    begun, done = 0, 0
    for frame in range(frames):
        while begun < length and born[begun] <= frame:
            begun += 1
        while done < length and latest[done] < frame:
            done += 1
        low[frame] = max(0, 2 * done - 1, 2 * length + 1 - 2 * (frames - frame))
        high[frame] = min(2 * begun, 2 * frame + 1)
    return low, high


@compiled
def climb(
    log_probs: np.ndarray,
    tokens: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    offsets: np.ndarray,
    moves: np.ndarray,
) -> np.ndarray:
    """The score of the best path to each state of the last frame; fills ``moves`` with the steps of the paths."""
    scores = np.full(2 * len(tokens) + 1, -np.inf)
    scores[0] = log_probs[0, BLANK]
    if high[0] > 0:
        scores[1] = log_probs[0, tokens[0]]
    for frame in range(1, len(log_probs)):
        # Downwards, so that the states below are still those of the frame before.
        for state in range(high[frame], low[frame] - 1, -1):
            token = BLANK if state % 2 == 0 else tokens[state // 2]
            score, move = scores[state], 0
            if state > 0 and scores[state - 1] > score:
                score, move = scores[state - 1], 1
            if state % 2 == 1 and state > 1 and tokens[state // 2 - 1] != token and scores[state - 2] > score:
                score, move = scores[state - 2], 2
            scores[state] = score + log_probs[frame, token]
            moves[offsets[frame] + state - low[frame]] = move
        for state in range(low[frame - 1], low[frame]):
            scores[state] = -np.inf
    return scores
