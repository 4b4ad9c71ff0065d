"""A name server and a web server on loopback, and a program beside them: `name_server.py ARGV...`.

Run it in a network of its own, where nobody else has port 53. What it answers to a name is what
the name's first label says.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time

_NO_ERROR, _SERVER_FAILED, _NO_SUCH_NAME, _REFUSED = 0, 2, 3, 5
_A, _CNAME, _AAAA = 1, 5, 28
SLOW_S = 0.4


def main() -> int:
    """Serve, run the program, and return its exit code."""
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    threading.Thread(target=_answer_names, args=(names,), daemon=True).start()
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        pages = socket.create_server((address, 80), family=family)
        threading.Thread(target=_answer_pages, args=(pages,), daemon=True).start()
    return subprocess.run(sys.argv[1:], check=False).returncode


def _answer_names(names: socket.socket) -> None:
    while True:
        query, client = names.recvfrom(4096)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        kind = struct.unpack("!H", query[at + 1 : at + 3])[0]
        question = query[12 : at + 5]
        answer = _answer(labels, kind)
        if answer is None:
            continue
        code, records = answer
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        reply = head + question + b"".join(records)
        wait_s = SLOW_S if labels[0] == "slow" else 0.0
        threading.Timer(wait_s, names.sendto, (reply, client)).start()


def _answer(labels: list[str], kind: int) -> tuple[int, list[bytes]] | None:
    """Return (code, records), or None for no answer at all."""
    match labels[0]:
        case "gone":
            return _NO_SUCH_NAME, []
        case "broken":
            return _SERVER_FAILED, []
        case "refused":
            return _REFUSED, []
        case "silent":
            return None
        case "empty":
            return _NO_ERROR, []
        case "six":
            return _NO_ERROR, [_record(_AAAA, b"\0" * 15 + b"\1")] if kind == _AAAA else []
        case "circle":
            return _NO_ERROR, [_record(_CNAME, b"\xc0\x0c")]
    return _NO_ERROR, [_record(_A, bytes((127, 0, 0, 1)))] if kind == _A else []


def _record(kind: int, data: bytes) -> bytes:
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def _answer_pages(pages: socket.socket) -> None:
    while True:
        client, _ = pages.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
