"""The formula of each cell whose recurrence is element-wise or light, as cell_loops.py has the others."""

import numpy as np
from cell_loops import blocks, over_frames, sigmoid, weights_of


def min_gru(cell, sequence, state):
    w_z, w_n = blocks(cell, "weight_ih", 2)
    b_z, b_n = blocks(cell, "bias", 2)

    def step(x, h):
        z, n = sigmoid(w_z @ x + b_z), w_n @ x + b_n
        if cell.config.candidate.name == "positive":
            n = np.where(n >= 0, n + 0.5, sigmoid(n))
        return (1 - z) * n + z * h, {"update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def qrnn(cell, sequence, state):
    size, columns = cell.hidden_size, cell.input_size
    w_n, w_z, w_o = blocks(cell, "weight_ih", 3)
    b_n, b_z, b_o = blocks(cell, "bias", 3)

    def step(x, state):
        c, before = state[size : 2 * size], state[2 * size :]
        window = [*np.split(before, len(before) // columns), x] if len(before) else [x]

        def convolve(weight):  # a sum over the window, oldest frame first
            return sum(weight[:, k * columns : (k + 1) * columns] @ frame for k, frame in enumerate(window))

        n, z, o = np.tanh(convolve(w_n) + b_n), sigmoid(convolve(w_z) + b_z), sigmoid(convolve(w_o) + b_o)
        c = z * c + (1 - z) * n
        gates = {"update": z, "output": o, "candidate": n, "cell": c}
        return np.concatenate([o * c, c, *window[1:]]), gates

    return over_frames(step, cell, sequence, state)


def sru(cell, sequence, state):
    w_n, w_z, w_r = blocks(cell, "weight_ih", 3)
    v_z, v_r = blocks(cell, "weight_hh", 2)
    b_z, b_r = blocks(cell, "bias", 2)
    skip = weights_of(cell).get("weight_skip", np.eye(cell.input_size))
    a = np.sqrt(1 + 2 * np.exp(cell.config.highway_bias))

    def step(x, state):
        c = state[cell.hidden_size :]
        z, r = sigmoid(w_z @ x + v_z * c + b_z), sigmoid(w_r @ x + v_r * c + b_r)
        n = w_n @ x
        c = z * c + (1 - z) * n
        h = r * c + (1 - r) * a * (skip @ x)
        return np.concatenate([h, c]), {"update": z, "highway": r, "candidate": n, "cell": c}

    return over_frames(step, cell, sequence, state)


def ind_rnn(cell, sequence, state):
    weights = weights_of(cell)
    bound = 2 ** (1 / cell.config.doubling_frames)
    u = np.minimum(np.maximum(weights["weight_hh"], -bound), bound)

    def step(x, h):
        return np.maximum(weights["weight_ih"] @ x + u * h + weights["bias"], 0), {}

    return over_frames(step, cell, sequence, state)


def fast_grnn(cell, sequence, state):
    weights = weights_of(cell)
    w = weights["weight_ih"] @ weights.get("reduce_ih", np.eye(cell.input_size))
    u = weights["weight_hh"] @ weights.get("reduce_hh", np.eye(cell.hidden_size))
    b_z, b_n = blocks(cell, "bias", 2)
    s, v = sigmoid(weights["zeta"]), sigmoid(weights["nu"])

    def step(x, h):
        z, n = sigmoid(w @ x + u @ h + b_z), np.tanh(w @ x + u @ h + b_n)
        return (s * (1 - z) + v) * n + z * h, {"update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


LOOPS = {"min_gru": min_gru, "qrnn": qrnn, "sru": sru, "ind_rnn": ind_rnn, "fast_grnn": fast_grnn}
# Values at the end of a state that are input frames of the suite's INPUT=5 values, and no memory.
FRAMES = {"qrnn": 5}
ELEMENTWISE = {"min_gru": 2, "qrnn": 3, "sru": 7, "ind_rnn": 1, "fast_grnn": 3}
