"""The formula of each cell whose recurrence is element-wise or light, as cell_loops.py has the others."""

import numpy as np
from cell_loops import blocks, over_frames, sigmoid


def min_gru(cell, sequence, state):
    w_z, w_n = blocks(cell, "weight_ih", 2)
    b_z, b_n = blocks(cell, "bias_ih", 2)

    def step(x, h):
        z, n = sigmoid(w_z @ x + b_z), w_n @ x + b_n
        if cell.config.candidate.name == "positive":
            n = np.where(n >= 0, n + 0.5, sigmoid(n))
        return (1 - z) * n + z * h, {"update": z, "candidate": n}

    return over_frames(step, cell, sequence, state)


LOOPS = {"min_gru": min_gru}
ELEMENTWISE = {"min_gru": 2}
