"""Starts MiniStack, with four of its habits changed. Its version is pinned: what is changed here is there."""

import functools
import gc
import gzip
import json
import pathlib
import socketserver
import threading
import time
import types

import botocore
from ministack.core import lambda_runtime, responses

# An invocation of a warm function takes 55 ms and not 9: Nagle's delay, at both ends.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True

# A third of its time went into looking for cycles of garbage, after every 700 objects.
gc.set_threshold(20_000)


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

from ministack.app import main  # noqa: E402

main()
