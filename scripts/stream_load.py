#!/usr/bin/env python3
"""Many streams at the speed of speech through one server, and how late its events come.

    speechgru serve -m commands &
    scripts/stream_load.py --streams 50 --seconds 30 clip1.wav clip2.wav ...

Each stream hears the recordings one after the other, a second of silence between two, from another place on, in
blocks of 0.1 s. The delay of an event is counted from when the block was sent that holds its last sample.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
import urllib.request

import numpy as np
from websockets.asyncio.client import connect

from speechgru.audio import read_audio

RATE, BLOCK_S = 16000, 0.1


class Load:
    """What came of the streams: delays of events, blocks that were sent late."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []
        self.late_s: list[float] = []
        self.refused = 0

    async def stream(self, url: str, sound: np.ndarray, seconds: float, begin: float) -> None:
        """One of them; ``sound`` ends with the block it begins with, so that it can go round."""
        block, sent_s = round(BLOCK_S * RATE), []
        round_of = len(sound) - block
        first = random.randrange(round_of)
        await asyncio.sleep(begin - time.perf_counter())

        async def read() -> None:
            async for message in stream:
                event = json.loads(message)
                if "error" in event:
                    self.refused += 1
                if event.get("final"):
                    place = min(int(event["end_s"] / BLOCK_S - 1e-6), len(sent_s) - 1)
                    self.delays_s.append(time.perf_counter() - sent_s[place])

        async with connect(url, compression=None) as stream:
            reading = asyncio.ensure_future(read())
            start = time.perf_counter()
            for number in range(round(seconds / BLOCK_S)):
                due = start + (number + 1) * BLOCK_S
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                self.late_s.append(max(0.0, time.perf_counter() - due))
                at = (first + number * block) % round_of
                sent_s.append(time.perf_counter())
                await stream.send(sound[at : at + block].tobytes())
            await stream.send('{"type": "end"}')
            await reading


def counted(address: str) -> dict[str, float]:
    """What the server counted so far."""
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def sound_of(paths: list[str]) -> np.ndarray:
    """The recordings as int16, a second of faint noise between two, and their first block once more."""
    rng = np.random.default_rng(0)
    parts = []
    for path in paths:
        parts += [read_audio(path, RATE)[0].numpy(), 1e-3 * rng.standard_normal(RATE)]
    sound = (32767 * np.clip(np.concatenate(parts), -1, 1)).astype(np.int16)
    return np.concatenate([sound, sound[: round(BLOCK_S * RATE)]])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--address", default="127.0.0.1:8000", help="host:port (default: %(default)s)")
    parser.add_argument("--model", default="commands")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    random.seed(0)
    if "/" in arguments.address:
        parser.error(f"--address {arguments.address}: host:port is expected, such as 127.0.0.1:8000")
    sound, load, before = sound_of(arguments.recordings), Load(), counted(arguments.address)
    url = f"ws://{arguments.address}/v1/stream?model={arguments.model}&rate={RATE}"
    begins = [time.perf_counter() + 0.5 + random.random() for _ in range(arguments.streams)]
    wall, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(load.stream(url, sound, arguments.seconds, begin) for begin in begins))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    after = counted(arguments.address)
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    busy, steps = (
        grown[f'speechgru_{name}{{of="streams"}}'] for name in ("computing_seconds_total", "batch_size_count")
    )
    spent = grown["process_cpu_seconds_total"]
    heard = arguments.streams * arguments.seconds
    delays = 1000 * np.array(load.delays_s or [np.nan])
    p50, p99 = np.percentile(delays, (50, 99))
    print(f"{arguments.streams} streams of {arguments.seconds:g} s on {os.cpu_count()} cores, {load.refused} refused")
    print(
        f"{len(delays)} events: delay p50 {p50:.0f} ms, p99 {p99:.0f} ms, at most {delays.max():.0f} ms; {wall:.1f} s"
    )
    print(f"the server computed {100 * busy / wall:.0f} % of the time, in {steps / wall:.1f} steps a second, and took")
    print(
        f"{100 * spent / wall:.0f} % of one core: {1000 * spent / heard:.1f} ms of processor for a second of one stream"
    )
    late = 1000 * np.percentile(load.late_s, 99)
    print(f"this client took {100 * processor / wall:.0f} % of one core; its blocks were late by {late:.0f} ms (p99)")


if __name__ == "__main__":
    asyncio.run(main())
