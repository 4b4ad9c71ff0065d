"""Sockets, timers and the results of threads, taken in turn by one thread.

asyncio would do, and its import alone takes as long as five bare interpreters start; a check
of one endpoint may take nine in all. Only what probing needs is here.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable

_EARLY_S = 0.001
"""What is due within this is due now: a selector waits in whole milliseconds."""
_MOST_THREADS = 64

Watcher = Callable[[int], None]
"""Hears which of EVENT_READ and EVENT_WRITE a socket is ready for."""


class Timer:
    """One call at a time to come; `cancel` makes it none."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Never make the call."""
        self.call = None


class EventLoop:
    """Runs in the thread that calls `run`; only `from_thread` may be called from another."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()
        self._woken, self._waker = socket.socketpair()
        for each in (self._woken, self._waker):
            each.setblocking(False)
        self.watch(self._woken, selectors.EVENT_READ, self._take_calls)

    def close(self) -> None:
        """Let go of the selector; what is still watched is its owner's to close."""
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def watch(self, sock: socket.socket, mask: int, call: Watcher) -> None:
        """Call whenever a socket is ready, and no longer what was called for it before."""
        try:
            self._selector.register(sock, mask, call)
        except KeyError:
            self._selector.modify(sock, mask, call)

    def unwatch(self, sock: socket.socket) -> None:
        """Watch a socket no more; one that is not watched is left alone."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call at a time of `time.monotonic`, or up to 1 ms before."""
        timer = Timer(call)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def soon(self, call: Callable[[], None]) -> None:
        """Call in this thread, after what is being done."""
        self.at(0.0, call)

    def from_thread(self, call: Callable[[], None]) -> None:
        """Call in the loop's thread; may be called from any thread and any signal handler."""
        self._calls.put(call)
        self.wake()

    def wake(self) -> None:
        """End the current wait; a full pipe is awake already."""
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def in_thread(self, work: Callable[[], None]) -> None:
        """Do slow work in another thread, which keeps nobody from ending the program."""
        with self._lock:
            start = self._idle == 0 and self._threads < _MOST_THREADS
            if start:
                self._threads += 1
            else:
                self._idle = max(self._idle - 1, 0)
        self._work.put(work)
        if start:
            threading.Thread(target=self._do_work, daemon=True).start()

    def run(self, until: Callable[[], bool]) -> None:
        """Take turns until `until` says so; it is asked after every turn."""
        while not until():
            self._turn()

    def _turn(self) -> None:
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
        wait_s = None
        if timers:
            wait_ms = int((timers[0][0] - time.monotonic()) * 1000)
            # Half a millisecond less is rounded up to the whole ones.
            wait_s = 0 if wait_ms < 1 else (wait_ms - 0.5) / 1000
        for key, mask in self._selector.select(wait_s):
            key.data(mask)
        now = time.monotonic() + _EARLY_S
        while timers and timers[0][0] <= now:
            call = heapq.heappop(timers)[2].call
            if call is not None:
                call()

    def _take_calls(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            call()

    def _do_work(self) -> None:
        while True:
            work = self._work.get()
            work()
            with self._lock:
                self._idle += 1
