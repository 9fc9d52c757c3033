"""A process that has everything imported and forks for each request: a child begins with what takes seconds to load.

Requests are lines of JSON on stdin; the answer to each is a line with the exit status. `tests.processes` uses it.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parent.parent)

# A parent that has computed nothing has no threads, so it can be forked safely.
for name in ("cli", "logs", "published", "training", "trajectories"):
    importlib.import_module(f"interp.{name}")


def answer(request: dict[str, Any]) -> int:
    """Run code or a module as a fresh interpreter would, with its output in two files, and return the exit status."""
    for stream, file in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["environment"])
    try:
        if "code" in request:
            sys.argv = ["-c"]
            exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [request["module"], *request["arguments"]]
            sys.modules.pop(f"{request['module']}.__main__", None)
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        return 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = answer(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
