"""The formula of each cell whose recurrence is element-wise or light, as cell_loops.py has the others."""

LOOPS: dict = {}
ELEMENTWISE: dict = {}
