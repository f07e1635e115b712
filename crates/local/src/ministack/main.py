"""Starts MiniStack, with some of its habits changed. Its version is pinned: what is changed here is there."""

import asyncio
import functools
import gc
import gzip
import json
import os
import pathlib
import signal
import socketserver
import threading
import time
import types

import botocore
import hypercorn.asyncio
from ministack.core import lambda_runtime, responses

# An invocation of a warm function takes 55 ms and not 9: Nagle's delay, at both ends.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# A third of its time went into looking for cycles of garbage, after every 700 objects.
gc.set_threshold(20_000)


def descendants(process):
    """The processes below one."""
    found = []
    for children in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
        try:
            below = [int(child) for child in children.read_text().split()]
        except OSError:
            continue  # The thread has ended meanwhile.
        found += below + [one for child in below for one in descendants(child)]
    return found


serve = hypercorn.asyncio.serve


async def serve_and_end(served, config):
    """Serves until SIGTERM; then saves, ends the functions, and is gone.

    Left to itself, hypercorn waits for the requests that are being answered before it lets MiniStack save, and Python
    waits for its threads. Both wait for functions, each for as long as it may run: minutes. For so long the state is
    locked, no other MiniStack starts on it, and who is killed while waiting has saved nothing.
    """
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    serving = asyncio.create_task(serve(served, config, shutdown_trigger=asyncio.Event().wait))
    ended = asyncio.create_task(asked.wait())
    await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        return await serving  # It could not serve: that is told as it always was.
    app.save_all(app._build_persistence_save_dict())
    for process in descendants(os.getpid()):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    os._exit(0)


hypercorn.asyncio.serve = serve_and_end


@functools.lru_cache(maxsize=None)
def metadata_only(service):
    """What a service's model says of its protocol: the whole of every model that a bake needs is 30 MB."""
    name = responses._BOTOCORE_NAME.get(service, service)
    models = sorted(pathlib.Path(botocore.__file__).parent.glob(f"data/{name}/*/service-2.json.gz"))
    if not models:
        return None
    with gzip.open(models[-1], "rt") as model:
        head = model.read(8192)
    metadata, _ = json.JSONDecoder().raw_decode(head, head.index("{", head.index('"metadata"')))
    return types.SimpleNamespace(metadata=metadata)


responses._service_model = metadata_only


def end_idle_functions(seconds=60):
    """Ends processes of functions that nobody calls, as Lambda does; MiniStack keeps one of each for ever."""
    while True:
        time.sleep(10)
        idle = []
        with lambda_runtime._lock:
            for key, workers in list(lambda_runtime._workers.items()):
                old = [one for one in workers if not one.in_use and time.time() - one.last_used > seconds]
                lambda_runtime._workers[key] = [one for one in workers if one not in old]
                idle.extend(old)
        lambda_runtime.kill_workers(idle)


threading.Thread(target=end_idle_functions, daemon=True).start()

# Not before: it takes the names that were changed above.
from ministack import app  # noqa: E402

app.main()
