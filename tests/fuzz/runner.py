"""Feeds targets in a process of its own, whose memory and time are bounded.

    cd tests && python -m fuzz.runner --count 2000 [TARGET ...]
    cd tests && python -m fuzz.runner --seconds 600 --keep /tmp/found [TARGET ...]

For each target it prints one line of JSON: how many inputs, the slowest, and what went wrong.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from fuzz.mutate import mutants
from fuzz.targets import TARGETS, NotOurs, Target

CORPUS = Path(__file__).parent / "corpus"
MOST_CPU_S = 5.0
"""Of one input; on a busy machine the processor's time is what counts."""
MORE_MEMORY = 1 << 30
"""Bytes of address space beyond what the process has once everything is imported."""
_MOST_PROBLEMS = 5


class TooSlow(BaseException):
    """One input took longer than it may; no `except Exception` takes it."""


def seeds_of(name: str) -> list[bytes]:
    """Return the corpus of a target, in the order of its files' names."""
    folder = CORPUS / name
    kept = [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
    # Not kept in a file: a scan of this repository would have to say that it did not read it.
    return [*kept, gzip.compress(bytes(40 << 20))] if name == "scanned-file" else kept


def feed(target: Target, data: bytes) -> tuple[float, str]:
    """Give a target one input; return the seconds it took and, where it was bad, why."""
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)
    problem = ""
    try:
        target.call(data)
    except (NotOurs, *target.documented):
        pass
    except TooSlow:
        problem = f"TooSlow: more than {MOST_CPU_S:g} s"
    except BaseException as error:
        problem = "".join(traceback.format_exception(error, limit=-6))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return time.process_time() - began, problem


def fuzz(target: Target, *, count: int, seconds: float, seed: int) -> dict[str, Any]:
    """Feed the corpus, then mutants of it: so many, or for so long. Return what came of it."""
    corpus = seeds_of(target.name)
    random = Random(f"{seed} {target.name}")
    ends = time.monotonic() + seconds
    ran, slowest, problems = 0, 0.0, {}
    for data in _inputs(corpus, random):
        if ran >= len(corpus) + count and time.monotonic() >= ends:
            break
        took, problem = feed(target, data)
        ran, slowest = ran + 1, max(slowest, took)
        if problem and problem.splitlines()[-2:] not in [
            p.splitlines()[-2:] for p, _ in problems.values()
        ]:
            problems[hashlib.sha256(data).hexdigest()[:12]] = (problem, data)
            if len(problems) >= _MOST_PROBLEMS:
                break
    return {
        "target": target.name,
        "corpus": len(corpus),
        "ran": ran,
        "slowest_ms": round(slowest * 1000, 1),
        "problems": [
            {"name": name, "problem": problem, "input": data.hex()}
            for name, (problem, data) in problems.items()
        ],
    }


def _inputs(corpus: list[bytes], random: Random) -> Iterator[bytes]:
    yield from corpus
    yield from mutants([*corpus, b""], random)


def _bound() -> None:
    def late(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, late)
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Run as the module's text says; exit 1 where something went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("error")
    os.environ.pop("PGSERVICE", None)
    _bound()
    wrong = False
    for name in given.targets or sorted(TARGETS):
        found = fuzz(TARGETS[name], count=given.count, seconds=given.seconds, seed=given.seed)
        print(json.dumps(found), flush=True)
        for each in found["problems"]:
            wrong = True
            if given.keep:
                folder = given.keep / name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / each["name"]).write_bytes(bytes.fromhex(each["input"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
