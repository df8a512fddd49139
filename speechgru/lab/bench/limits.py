"""What this machine can do at most: products of large matrices, and values read from its cache and its memory."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import torch

from speechgru.lab.bench.timing import interleaved_ms

GEMM_SIZE = 1024
# Bytes to read: the recurrent weights of a layer of 256 GRUs, which stay in the caches; far more than any cache holds.
CACHED_BYTES, UNCACHED_BYTES = 3 << 18, 1 << 28
CACHED_READS = 64  # in a row: the first one finds what the other candidates have left in the caches


def machine_limits(repeats: int = 5) -> dict[str, float]:
    """Measured through torch on its threads: ``gemm_gflops``, ``gemm_bf16_gflops``, ``cache_gb_s``, ``memory_gb_s``.

    The bandwidth limits a recurrence of one row, because it reads all of its weights in every frame. The rate of the
    matrix product limits a recurrence of many rows, and all products with the input.
    """
    square = torch.rand(GEMM_SIZE, GEMM_SIZE)
    half = square.bfloat16()
    cached, uncached = (torch.rand(size // 4) for size in (CACHED_BYTES, UNCACHED_BYTES))
    with torch.no_grad():
        taken = interleaved_ms(
            {
                "gemm": functools.partial(torch.matmul, square, square),
                "gemm_bf16": functools.partial(torch.matmul, half, half),
                # The fastest function of torch here that reads each value once; a loop without its calls may be faster.
                "cache": functools.partial(_read, cached, CACHED_READS),
                "memory": functools.partial(_read, uncached, 1),
            },
            repeats,
            warmup=1,
        )
    million = 1e6  # operations or bytes a millisecond, divided by it: thousands of millions a second
    return {
        "gemm_gflops": round(2 * GEMM_SIZE**3 / taken["gemm"] / million, 1),
        "gemm_bf16_gflops": round(2 * GEMM_SIZE**3 / taken["gemm_bf16"] / million, 1),
        "cache_gb_s": round(CACHED_READS * CACHED_BYTES / taken["cache"] / million, 1),
        "memory_gb_s": round(UNCACHED_BYTES / taken["memory"] / million, 1),
    }


def _read(values: torch.Tensor, times: int) -> torch.Tensor:
    return torch.stack([torch.sum(values) for _ in range(times)])


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices (AMX or AVX512-BF16); else torch does it in float32."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # no Linux
        return False
    return flags is not None and bool({"amx_bf16", "avx512_bf16"} & set(flags[1].split()))


def bfloat16_name() -> str:
    """What a row of bfloat16 is called on this machine."""
    return "bfloat16" if has_bfloat16() else "bfloat16 on a processor without it"


def in_words(limits: dict[str, float]) -> str:
    """One line for those who read the rows beside it."""
    without = "" if has_bfloat16() else " It has neither AMX nor AVX512-BF16, without which bfloat16 spares nothing."
    return (
        f"The machine's own limits in this run: {limits['gemm_gflops']:.0f} GFLOP/s in a product of float32 matrices, "
        f"{limits['gemm_bf16_gflops']:.0f} of bfloat16 ones; torch's sum reads {limits['cache_gb_s']:.0f} GB/s from "
        f"the caches, {limits['memory_gb_s']:.0f} GB/s from memory.{without}"
    )
