"""A bounded hand-over between two threads that either side can end; the first error wins.

The producer calls `put` and at last `end`; the consumer iterates.  `put` answers False once the
consumer has gone (`stop`), so a failing writer stops the reader without a flag that everybody polls.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pump(Generic[T]):
    """At most `capacity` items wait inside; memory is bounded by it."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._turn = threading.Condition()
        self._ended = False  # by the producer: nothing more will come
        self._stopped = False  # by the consumer: nothing more is wanted
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Hand an item over, waiting for room; False: the consumer has gone, stop producing."""
        with self._turn:
            self._turn.wait_for(lambda: len(self._items) < self._capacity or self._stopped)
            if self._stopped:
                return False
            self._items.append(item)
            self._turn.notify_all()
            return True

    def end(self, error: BaseException | None = None) -> None:
        """No more items; an error is raised in the consumer after the items already inside."""
        with self._turn:
            if not self._ended:
                self._ended, self._error = True, error
                self._turn.notify_all()

    def stop(self) -> None:
        """The consumer wants no more; what waits inside is dropped."""
        with self._turn:
            self._stopped = True
            self._items.clear()
            self._turn.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._turn:
                # The timeout lets Ctrl-C reach a main thread that waits here (Windows).
                while not self._turn.wait_for(lambda: self._items or self._ended or self._stopped, 0.5):
                    pass
                if not self._items:
                    if self._error is not None and not self._stopped:
                        raise self._error
                    return
                item = self._items.popleft()
                self._turn.notify_all()
            yield item
