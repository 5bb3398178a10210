"""Frames from one end of a run to the other: three threads, joined by two bounded pumps.

    reader thread --frames--> Pump --> engine (the caller's) --frames--> Pump --> writer thread

They start from the writer backwards.  An error in any of them ends all of them; they are joined, and the
error comes out once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from vdeblur.frame import Frame
from vdeblur.jobs.interrupts import Interrupts
from vdeblur.jobs.network import Work
from vdeblur.jobs.pump import Pump
from vdeblur.ledger import Ledger
from vdeblur.video import pipe

QUEUE = 4  # frames waiting between two stages; more only costs memory


def flow(
    frames: Iterable[Frame],
    engine: Work,
    write: Callable[[Frame], None],
    ledger: Ledger,
    interrupts: Interrupts,
    *,
    keep: bool,
) -> KeyboardInterrupt | None:
    """All `frames` through the engine into `write`, or those up to Ctrl-C, which is returned then.

    `keep`: what has left the engine by then is written all the same. Raises the first error of the three.
    """
    decoded: Pump[Frame] = Pump(QUEUE)
    finished: Pump[Frame] = Pump(QUEUE)
    failures: list[BaseException] = []
    interrupted: KeyboardInterrupt | None = None

    def writing() -> None:
        try:
            for frame in finished:
                write(frame)
        except BaseException as error:
            failures.append(error)
            finished.stop()

    def reading() -> None:
        try:
            for frame in ledger.timed(frames, "decode"):
                if not decoded.put(frame):
                    return
            decoded.end()
        except BaseException as error:
            decoded.end(error)

    threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in (writing, reading)]
    for thread in threads:
        thread.start()
    try:
        # Waiting for a decoded frame happens inside the engine's time, and is taken off it below.
        with interrupts.welcome():
            for frame in ledger.timed(engine(ledger.timed(decoded, "wait")), "engine"):
                if not finished.put(frame):
                    break
        finished.end()
    except KeyboardInterrupt as error:
        interrupted = error
        finished.end() if keep else finished.stop()
    except BaseException as error:
        failures.append(error)
        finished.stop()
    finally:
        decoded.stop()
        pipe.STDIN.stop()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    if interrupts.came and interrupted is None:
        interrupted = KeyboardInterrupt()
    if interrupted is None:
        ledger.stages_s["engine"] -= ledger.stages_s.pop("wait")
    return interrupted
