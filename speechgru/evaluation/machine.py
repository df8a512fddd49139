"""The machine a number was measured on, in words that say its speed and nothing about its owner."""

from __future__ import annotations

import os
import pathlib
import platform
import re

from speechgru.plain import Record


def describe_machine(device: str = "cpu") -> Record:
    """Processor and its vectors, usable cores, threads, system, Python, torch; the GPU if ``device`` is one."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine: Record = {
        "cpu": f"{_processor()} {_vectors()}".rstrip(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.startswith("cuda") and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def _vectors() -> str:
    """The vector instructions torch uses: a virtual machine gives processors of very different speed the same name."""
    import torch

    known = torch.backends.cpu.get_cpu_capability()
    return "" if known in ("DEFAULT", "NO AVX") else known


def _processor() -> str:
    try:
        found = re.search(
            r"^model name\s*: (.+)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
