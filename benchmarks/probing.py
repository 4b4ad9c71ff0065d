"""How truly and how fast many endpoints are probed, beside wrk and blackbox_exporter.

    python benchmarks/probing.py [--rounds N] [--endpoints N] [--hang SECONDS]

A server of our own answers after a delay that it is told, and writes down how long it really
took; the error is the client's time less the server's. All of it runs on this machine, each
server in a process of its own, client after client in each round; the figures are medians of
the rounds. Needs Debian's wrk, prometheus-blackbox-exporter and openssl.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import opsctl
from opsctl.adapters.event_loop import EventLoop
from opsctl.adapters.http_request import Ask
from opsctl.adapters.probed import Answer
from opsctl.adapters.prober import Prober
from opsctl.areas.healthcheck.alerts import percentile
from opsctl.areas.healthcheck.facts import gather
from opsctl.core.call import Call
from opsctl.core.settings import Settings

SERVER = r"""
import asyncio, json, ssl, sys, time

took = {}

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        began = time.perf_counter()
        path = data.split(b" ", 2)[1].decode()
        _, what, *rest = path.split("/")
        if what == "log":
            self.answer(json.dumps(took).encode(), None, began)
            took.clear()
        elif what == "hang":
            pass
        else:
            delay = float(what) / 1000
            if delay:
                loop.call_later(delay, self.answer, b"fine", rest[0] if rest else None, began)
            else:
                self.answer(b"fine", rest[0] if rest else None, began)

    def answer(self, body, name, began):
        if self.transport.is_closing():
            return
        close = b"" if name is None else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (close, len(body))
        self.transport.write(head + body)
        if name is not None:
            took[name] = (time.perf_counter() - began) * 1000
            self.transport.close()

async def main():
    global loop
    loop = asyncio.get_running_loop()
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await loop.create_server(Answer, "127.0.0.1", 0, backlog=4096, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
BLACKBOX = """
modules:
  plain:
    prober: http
    timeout: 30s
    http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}
"""


@dataclass(frozen=True)
class Found:
    """What one client showed in one round."""

    wall_s: float
    p50_ms: float
    p95_ms: float


def main() -> int:
    """Measure and print Markdown tables; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--endpoints", type=int, default=500)
    parser.add_argument("--hang", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        os.environ["SSL_CERT_FILE"] = str(certificate)
        with (
            served() as plain,
            served(certificate, key) as secure,
            blackbox(folder) as exporter,
        ):
            rounds = [
                measure(plain, secure, exporter, endpoints=given.endpoints)
                for _ in range(given.rounds + 1)
            ][1:]  # the first warms everything up
            hang = measure_hang(plain, endpoints=given.endpoints, hang_s=given.hang)
            starts = {
                name: measure_start(folder, url, rounds=given.rounds * 4)
                for name, url in (("plain", plain), ("TLS", secure))
            }
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {given.rounds} rounds, "
          f"{given.endpoints} endpoints, load {os.getloadavg()[0]:.1f}.\n")  # fmt: skip
    print("| client | wall, s | error P50, ms | error P95, ms | worst P95 | bars |")
    print("|---|---|---|---|---|---|")
    missed = False
    bars = {"opsctl, plain": (1.1, 1.0), "opsctl, fresh TLS": (2.1, 11.0)}
    for client in rounds[0]:
        found = [each[client] for each in rounds]
        wall_s, p50_ms, p95_ms = (
            statistics.median(getattr(each, what) for each in found)
            for what in ("wall_s", "p50_ms", "p95_ms")
        )
        worst_ms = max(each.p95_ms for each in found)
        bar = bars.get(client)
        if bar is not None:
            missed = missed or wall_s > bar[0] or p95_ms > bar[1]
        print(f"| {client} | {wall_s:.2f} | {p50_ms:.2f} | {p95_ms:.2f} | {worst_ms:.2f} | "
              f"{f'{bar[0]} s, {bar[1]:g} ms' if bar else '-'} |")  # fmt: skip
    wall_s, others = hang
    missed = missed or wall_s > given.hang * 1.1
    print(f"\nOne hang of {given.hang:g} s among {given.endpoints}: all was done after "
          f"{wall_s:.2f} s (bar {given.hang * 1.1:g}); P95 error of the others "
          f"{others.p95_ms:.2f} ms.")  # fmt: skip
    print("\n`opsctl healthcheck` of one endpoint, as a ratio to `python -c pass`:\n")
    print("| endpoint | ratio | bar |\n|---|---|---|")
    for name, ratio in starts.items():
        missed = missed or (name == "plain" and ratio > 9)
        print(f"| {name} | {ratio:.2f} | {'9' if name == 'plain' else '-'} |")
    return 1 if missed else 0


def measure_start(folder: Path, url: str, *, rounds: int) -> float:
    """Return how long a whole health check of one endpoint takes, in bare interpreters."""
    work = folder / url.replace(":", "").replace("/", "")
    work.mkdir()
    health = [{"name": "one", "url": f"{url}/0/one"}]
    (work / "opsctl.yaml").write_text(json.dumps({"environments": {"b": {"health": health}}}))
    compileall.compile_dir(str(Path(opsctl.__file__).parent), quiet=1)
    env = {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "opsctl": [sys.executable, "-m", "opsctl", "healthcheck"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 2):
        for name, argv in commands.items():
            began = time.perf_counter()
            done = subprocess.run(argv, cwd=work, env=env, capture_output=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}: {done.returncode} {done.stdout!r} {done.stderr!r}")
            if number >= 2:  # the first checks the settings and keeps them
                times[name].append(time.perf_counter() - began)
    return statistics.median(times["opsctl"]) / statistics.median(times["bare"])


def measure(plain: str, secure: str, exporter: str, *, endpoints: int) -> dict[str, Found]:
    """Return what each client shows, one after the other."""
    return {
        "opsctl, plain": by_opsctl(plain, endpoints=endpoints),
        "blackbox_exporter, plain": by_blackbox(exporter, plain, endpoints=endpoints),
        "wrk, plain, kept alive": by_wrk(plain),
        "opsctl, fresh TLS": by_opsctl(secure, endpoints=endpoints),
        "blackbox_exporter, fresh TLS": by_blackbox(exporter, secure, endpoints=endpoints),
    }


def delays(count: int) -> list[int]:
    """Return the delays in ms, the same each time."""
    chance = random.Random(11)
    return [chance.choice((0, 5, 20, 50)) for _ in range(count)]


def by_opsctl(url: str, *, endpoints: int) -> Found:
    """Look at so many endpoints as `healthcheck run` does."""
    health = [
        {"name": f"n{index}", "url": f"{url}/{delay}/n{index}"}
        for index, delay in enumerate(delays(endpoints))
    ]
    settings = Settings.model_validate_json(json.dumps({"environments": {"b": {"health": health}}}))
    call = Call(settings=settings, root=Path.cwd(), environment_name="b", say=lambda line: None)
    began = time.perf_counter()
    verdicts = gather(call)
    wall_s = time.perf_counter() - began
    log = asked(url)
    errors = []
    for verdict in verdicts:
        sample = verdict.sample
        if sample.status == "fail" or sample.took_ms is None:
            raise SystemExit(f"{sample.check}: {sample.reason}")
        errors.append(sample.took_ms - log[sample.check])
    return Found(wall_s, percentile(errors, 0.5) or 0, percentile(errors, 0.95) or 0)


def by_blackbox(exporter: str, url: str, *, endpoints: int) -> Found:
    """Have the exporter probe the same, paced in the same way."""
    gap_s = 0.004 if url.startswith("https") else 0.002
    asks = [
        Ask(f"n{index}", f"{exporter}/probe?module=plain&target={url}/{delay}/n{index}")
        for index, delay in enumerate(delays(endpoints))
    ]
    began = time.perf_counter()
    answers = paced(asks, gap_s)
    wall_s = time.perf_counter() - began
    log = asked(url)
    errors = []
    for answer in answers:
        took = re.search(rb"^probe_duration_seconds ([0-9.e-]+)$", answer.body, re.MULTILINE)
        if took is None or b"probe_success 1" not in answer.body:
            raise SystemExit(f"the exporter did not probe: {answer.failure} {answer.body[:200]!r}")
        errors.append(float(took[1]) * 1000 - log[answer.ask.name])
    return Found(wall_s, percentile(errors, 0.5) or 0, percentile(errors, 0.95) or 0)


def by_wrk(url: str) -> Found:
    """Ask for one second over ten kept connections; the delay is 20 ms."""
    began = time.perf_counter()
    done = subprocess.run(
        ["wrk", "-t1", "-c10", "-d1s", "--latency", f"{url}/20"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    wall_s = time.perf_counter() - began
    found = dict(re.findall(r"^ +(\d+)% +([\d.]+)ms", done.stdout, re.MULTILINE))
    # It knows 50, 75, 90 and 99: the 90 is the next below 95.
    return Found(wall_s, float(found["50"]) - 20, float(found["90"]) - 20)


def paced(asks: list[Ask], gap_s: float) -> list[Answer]:
    """Send requests one after the other without waiting for the answers."""
    loop = EventLoop()
    prober = Prober(loop)
    found: list[Answer] = []
    at = time.monotonic()
    for ask in asks:
        loop.at(at, lambda ask=ask, at=at: prober.send(ask, due=at, done=found.append))
        at += gap_s
    loop.run(lambda: len(found) == len(asks))
    loop.close()
    return found


def measure_hang(url: str, *, endpoints: int, hang_s: float) -> tuple[float, Found]:
    """Look at as many with one that never answers among them."""
    health = [
        {"name": f"n{index}", "url": f"{url}/{delay}/n{index}", "timeout_s": hang_s}
        for index, delay in enumerate(delays(endpoints))
    ]
    health.insert(3, {"name": "hang", "url": f"{url}/hang", "timeout_s": hang_s})
    settings = Settings.model_validate_json(json.dumps({"environments": {"b": {"health": health}}}))
    call = Call(settings=settings, root=Path.cwd(), environment_name="b", say=lambda line: None)
    began = time.perf_counter()
    verdicts = gather(call)
    wall_s = time.perf_counter() - began
    log = asked(url)
    hung = [each for each in verdicts if each.sample.check == "hang"]
    if [each.sample.reason for each in hung] != ["timeout"]:
        raise SystemExit("the hang was not cut")
    errors = [
        each.sample.took_ms - log[each.sample.check]
        for each in verdicts
        if each.sample.took_ms is not None and each.sample.check != "hang"
    ]
    return wall_s, Found(wall_s, percentile(errors, 0.5) or 0, percentile(errors, 0.95) or 0)


def asked(url: str) -> dict[str, float]:
    """Return how long the server really took, by name, and let it forget that."""
    loop = EventLoop()
    prober = Prober(loop)
    found: list[Answer] = []
    ask = Ask("log", f"{url}/log", keep=4 << 20)
    prober.prepare(ask)
    prober.send(ask, due=time.monotonic(), done=found.append)
    loop.run(lambda: bool(found))
    loop.close()
    return {name: float(took) for name, took in json.loads(found[0].body).items()}


@contextmanager
def served(*certificate: Path) -> Iterator[str]:
    """Run the server, with TLS where it is given a certificate and a key."""
    argv = [sys.executable, "-c", SERVER, *map(str, certificate)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        if child.stdout is None:
            raise SystemExit("the server does not say where it is")
        yield f"http{'s' if certificate else ''}://127.0.0.1:{int(child.stdout.readline())}"
        child.kill()


@contextmanager
def blackbox(folder: Path) -> Iterator[str]:
    """Run blackbox_exporter."""
    program = shutil.which("prometheus-blackbox-exporter")
    if program is None:
        raise SystemExit("apt-get install prometheus-blackbox-exporter wrk")
    (folder / "blackbox.yml").write_text(BLACKBOX)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = [program, f"--config.file={folder / 'blackbox.yml'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        child.kill()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "30", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


if __name__ == "__main__":
    sys.exit(main())
