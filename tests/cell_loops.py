"""The formula of each cell with a recurrent matrix as a NumPy loop in float64, written from its docstring alone.

A loop takes the cell (for its weights), the frames of one row (time, input) and a state, and gives the states (time,
state) and for every frame the gates by name. ELEMENTWISE counts the products of single values in a step, per hidden
value.
"""

import numpy as np


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


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


LOOPS = {"gru": gru}
ELEMENTWISE = {"gru": 3}
