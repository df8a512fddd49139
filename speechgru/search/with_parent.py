"""The command line in a process that stops, as by SIGTERM, when the process that started it is gone.

    python -m speechgru.search.with_parent train recipe=fsdd ...

Standard input is a pipe whose other end the parent holds. The system closes it however the parent ends, after kill -9
too. So no training runs on that nobody waits for, and a run can go on from the checkpoint that it leaves.
"""

import os
import runpy
import signal
import threading
import time

SECONDS_TO_STOP = 60.0


def _stop_with_parent() -> None:
    while os.read(0, 1):
        pass
    while True:  # at the second signal a training does not wait for the end of a step
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_STOP)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    runpy.run_module("speechgru.cli", run_name="__main__")
