"""The formula of each cell with a recurrent matrix as a NumPy loop in float64, written from its docstring alone.

A loop takes the cell (for its weights), the frames of one row (time, input) and a state, and gives the states (time,
state) and for every frame the gates by name. ELEMENTWISE counts the products of single values in a step, per hidden
value.
"""

import numpy as np


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def standardized(values):
    return (values - values.mean()) / np.sqrt(values.var() + 1e-5)


def weights_of(cell):
    """Parameters and buffers by name, float64."""
    return {name: value.detach().double().numpy() for name, value in cell.state_dict().items()}


def blocks(cell, name, count):
    """The ``count`` blocks of rows of a weight, one of a gate."""
    return np.split(weights_of(cell)[name], count)


def over_frames(step, cell, sequence, state):
    """Runs ``step(x, state) -> (state, gates)`` over the frames of a row."""
    states, gates = [], []
    for x in sequence:
        state, values = step(x, state)
        states.append(state)
        gates.append(values)
    return np.array(states).reshape(len(sequence), cell.state_size), gates


def gru(cell, sequence, state):
    w_r, w_z, w_n = blocks(cell, "weight_ih", 3)
    u_r, u_z, u_n = blocks(cell, "weight_hh", 3)
    b_r, b_z, b_n = blocks(cell, "bias_ih", 3)
    c_r, c_z, c_n = blocks(cell, "bias_hh", 3)

    def step(x, h):
        r = sigmoid(w_r @ x + b_r + u_r @ h + c_r)
        z = sigmoid(w_z @ x + b_z + u_z @ h + c_z)
        n = np.tanh(w_n @ x + b_n + r * (u_n @ h + c_n))
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def gru_before(cell, sequence, state):
    w_r, w_z, w_n = blocks(cell, "weight_ih", 3)
    u_r, u_z, u_n = blocks(cell, "weight_hh", 3)
    b_r, b_z, b_n = blocks(cell, "bias", 3)

    def step(x, h):
        r = sigmoid(w_r @ x + b_r + u_r @ h)
        z = sigmoid(w_z @ x + b_z + u_z @ h)
        n = np.tanh(w_n @ x + b_n + u_n @ (r * h))
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def gru1(cell, sequence, state):
    w = weights_of(cell)["weight_ih"]
    u_r, u_z, u_n = blocks(cell, "weight_hh", 3)
    b_r, b_z, b_n = blocks(cell, "bias", 3)

    def step(x, h):
        r, z = sigmoid(u_r @ h + b_r), sigmoid(u_z @ h + b_z)
        n = np.tanh(w @ x + u_n @ (r * h) + b_n)
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def gru2(cell, sequence, state):
    w, b = weights_of(cell)["weight_ih"], weights_of(cell)["bias"]
    u_r, u_z, u_n = blocks(cell, "weight_hh", 3)

    def step(x, h):
        r, z = sigmoid(u_r @ h), sigmoid(u_z @ h)
        n = np.tanh(w @ x + u_n @ (r * h) + b)
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def gru3(cell, sequence, state):
    w, u = weights_of(cell)["weight_ih"], weights_of(cell)["weight_hh"]
    b_r, b_z, b_n = blocks(cell, "bias", 3)
    r, z = sigmoid(b_r), sigmoid(b_z)

    def step(x, h):
        n = np.tanh(w @ x + u @ (r * h) + b_n)
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def mgu(cell, sequence, state):
    """With the paper's forget gate f, whose weights are ours negated."""
    w_z, w_n = blocks(cell, "weight_ih", 2)
    u_z, u_n = blocks(cell, "weight_hh", 2)
    b_z, b_n = blocks(cell, "bias", 2)

    def step(x, h):
        f = sigmoid(-w_z @ x - b_z - u_z @ h)
        n = np.tanh(w_n @ x + b_n + u_n @ (f * h))
        return (1 - f) * h + f * n, {"reset": f, "update": 1 - f, "candidate": n}

    return over_frames(step, cell, sequence, state)


def li_gru(cell, sequence, state, normalize=lambda product: product):
    w_z, w_n = blocks(cell, "weight_ih", 2)
    u_z, u_n = blocks(cell, "weight_hh", 2)
    mean_z, mean_n = blocks(cell, "normalization.running_mean", 2)
    variance_z, variance_n = blocks(cell, "normalization.running_var", 2)
    scale_z, scale_n = blocks(cell, "normalization.weight", 2)
    shift_z, shift_n = blocks(cell, "normalization.bias", 2)

    def step(x, h):
        x_z = (w_z @ x - mean_z) / np.sqrt(variance_z + 1e-5) * scale_z + shift_z
        x_n = (w_n @ x - mean_n) / np.sqrt(variance_n + 1e-5) * scale_n + shift_n
        z = sigmoid(x_z + normalize(u_z @ h))
        n = np.maximum(x_n + normalize(u_n @ h), 0)
        return (1 - z) * n + z * h, {"update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def sli_gru(cell, sequence, state):
    return li_gru(cell, sequence, state, standardized)


def lstm(cell, sequence, state):
    w_i, w_f, w_g, w_o = blocks(cell, "weight_ih", 4)
    u_i, u_f, u_g, u_o = blocks(cell, "weight_hh", 4)
    b_i, b_f, b_g, b_o = weights_of(cell)["bias_ih"].reshape(4, -1) + weights_of(cell)["bias_hh"].reshape(4, -1)

    def step(x, state):
        h, c = np.split(state, 2)
        i, f, o = sigmoid(w_i @ x + u_i @ h + b_i), sigmoid(w_f @ x + u_f @ h + b_f), sigmoid(w_o @ x + u_o @ h + b_o)
        g = np.tanh(w_g @ x + u_g @ h + b_g)
        c = f * c + i * g
        gates = {"input": i, "forget": f, "output": o, "candidate": g, "cell": c}
        return np.concatenate((o * np.tanh(c), c)), gates

    return over_frames(step, cell, sequence, state)


def gru_with_layer_norm(cell, sequence, state):
    """With the products of both gates in one, the update gate's rows last, as the paper has its matrices."""
    size = cell.hidden_size
    weights = weights_of(cell)

    def norm(product, kind):
        both, candidate = standardized(product[: 2 * size]), standardized(product[2 * size :])
        return np.concatenate((both, candidate)) * weights[f"gain_{kind}"] + weights[f"bias_{kind}"]

    def step(x, h):
        inputs, products = norm(weights["weight_ih"] @ x, "ih"), norm(weights["weight_hh"] @ h, "hh")
        r, z = np.split(sigmoid(inputs + products)[: 2 * size], 2)
        n = np.tanh(inputs[2 * size :] + r * products[2 * size :])
        return (1 - z) * n + z * h, {"reset": r, "update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


def lstm_with_layer_norm(cell, sequence, state):
    weights = weights_of(cell)

    def step(x, state):
        h, c = np.split(state, 2)
        sums = standardized(weights["weight_ih"] @ x) * weights["gain_ih"] + weights["bias_ih"]
        sums += standardized(weights["weight_hh"] @ h) * weights["gain_hh"] + weights["bias_hh"]
        i, f, g, o = np.split(sums, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        gates = {"input": sigmoid(i), "forget": sigmoid(f), "output": sigmoid(o), "candidate": np.tanh(g), "cell": c}
        seen = standardized(c) * weights["gain_cell"] + weights["bias_cell"]
        return np.concatenate((sigmoid(o) * np.tanh(seen), c)), gates

    return over_frames(step, cell, sequence, state)


def rnn_with_layer_norm(cell, sequence, state):
    weights = weights_of(cell)

    def step(x, h):
        sums = standardized(weights["weight_ih"] @ x + weights["weight_hh"] @ h)
        return np.tanh(sums * weights["gain"] + weights["bias_ih"] + weights["bias_hh"]), {}

    return over_frames(step, cell, sequence, state)


def rnn(cell, sequence, state):
    weights = weights_of(cell)

    def step(x, h):
        sums = weights["weight_ih"] @ x + weights["bias_ih"] + weights["weight_hh"] @ h + weights["bias_hh"]
        return np.tanh(sums), {}

    return over_frames(step, cell, sequence, state)


LOOPS = {
    "gru": gru,
    "gru_before": gru_before,
    "gru1": gru1,
    "gru2": gru2,
    "gru3": gru3,
    "mgu": mgu,
    "li_gru": li_gru,
    "sli_gru": sli_gru,
    "lstm": lstm,
    "rnn": rnn,
    "gru with layer_norm": gru_with_layer_norm,
    "lstm with layer_norm": lstm_with_layer_norm,
    "rnn with layer_norm": rnn_with_layer_norm,
}
ELEMENTWISE = {
    "gru": 3,
    "gru_before": 3,
    "gru1": 3,
    "gru2": 3,
    "gru3": 3,
    "mgu": 3,
    "li_gru": 4,
    "sli_gru": 8,
    "lstm": 3,
    "rnn": 0,
    "gru with layer_norm": 21,
    "lstm with layer_norm": 30,
    "rnn with layer_norm": 3,
}
