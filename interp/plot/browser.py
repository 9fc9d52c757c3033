"""A process that draws figures in one browser; `interp.plot.saving` runs it as a script and never imports it.

Each line of standard input is a JSON object with the figure and the format. Each answer is a JSON line, {"size": n}
followed by n bytes of the image, or {"error": text}. When the input ends, even in the middle of a figure, the browser
is killed with its children, and the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any


def main() -> None:
    loop = asyncio.new_event_loop()
    requests: asyncio.Queue[str] = asyncio.Queue()
    holder: dict[str, Any] = {}

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(requests.put_nowait, line)
        _end(holder)

    threading.Thread(target=read, daemon=True).start()
    try:
        loop.run_until_complete(_serve(requests, holder))
    except Exception as error:
        _answer({"error": str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})
    sys.stdin.read()


async def _serve(requests: asyncio.Queue[str], holder: dict[str, Any]) -> None:
    import kaleido

    # kaleido would fetch MathJax from the network.
    browser = holder["browser"] = kaleido.Kaleido(timeout=None, mathjax=False)
    await browser.open()
    while True:
        request = json.loads(await requests.get())
        image = await browser.calc_fig(request["figure"], opts={"format": request["format"], "scale": 2})
        _answer({"size": len(image)}, image)


def _answer(head: dict[str, Any], body: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + body)
    sys.stdout.buffer.flush()


def _end(holder: dict[str, Any]) -> None:
    """Kill the browser, which leads a process group of its own, and end this process at once."""
    for _ in range(20):  # it may be starting now
        if "browser" not in holder or hasattr(holder["browser"], "subprocess"):
            break
        time.sleep(0.05)
    process = getattr(holder.get("browser"), "subprocess", None)
    if process is not None:
        with contextlib.suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
