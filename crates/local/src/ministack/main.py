"""Starts MiniStack, with some of its habits changed. Its version is pinned: what is changed here is there."""

import asyncio
import functools
import gc
import gzip
import hashlib
import hmac
import json
import mmap
import os
import pathlib
import signal
import socketserver
import tempfile
import threading
import time
import types

import botocore
import hypercorn.asyncio
import hypercorn.config
from ministack.core import lambda_runtime, responses

# Functions inherit the environment: neither of these is for them.
SOCKET = os.environ.pop("OVENBIRD_SOCKET")
SEED = pathlib.Path(os.environ.pop("OVENBIRD_SEED")).read_text().strip().encode()

# Whatever is written here is this user's alone, the socket too.
os.umask(0o077)


class OnSocket(hypercorn.config.Config):
    """Listens on a socket in the home, which nobody else may open, and on no port, which everybody may."""

    def create_sockets(self):
        self.bind = [f"unix:{SOCKET}"]
        # One that a killed MiniStack left is no answer to anybody.
        pathlib.Path(SOCKET).unlink(missing_ok=True)
        return super().create_sockets()


hypercorn.config.Config = OnSocket


def key_of_function(config):
    """A function's key, which the endpoint derives in the same way (`auth/keys.rs`)."""
    digest = hashlib.sha256(config.get("FunctionArn", "").encode()).hexdigest()
    access_key = "OVENFUNC" + digest[:12].upper()
    secret = hmac.new(SEED, access_key.encode(), hashlib.sha256).hexdigest()
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": ""}


lambda_runtime.execution_credentials = key_of_function


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

# Not before: it takes the names that were changed above.
from ministack import app  # noqa: E402
from ministack.services import s3  # noqa: E402

# The endpoint has verified presigned URLs, by keys that MiniStack doesn't know.
s3._verify_presigned_sigv4 = lambda *_: None

# What is at least as large stays in files. In memory, an artifact of 2 GiB takes 4 GiB, and each of the 256 ranges in which the
# AWS CLI downloads it would read all of it.
LARGE = 16 << 20
getting = threading.local()


def mapped(path):
    """A file's bytes, which are read as they are needed."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def is_large(path):
    return path is not None and os.path.isfile(path) and os.path.getsize(path) >= LARGE


def upload_part(original):
    """A part waits for the others in a file that has no name."""

    def upload(bucket_name, key, body, query_params, headers):
        answer = original(bucket_name, key, body, query_params, headers)
        if answer[0] == 200 and body:
            part = s3._multipart_uploads[s3._qp(query_params, "uploadId")]["parts"][int(s3._qp(query_params, "partNumber"))]
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                part["body"] = mapped(file.name)
        return answer

    return upload


def persist_object(original):
    """What is on the disk needs no second place in memory."""

    def persist(bucket, key, obj):
        original(bucket, key, obj)
        if isinstance(obj, dict) and obj.get("body") is None and is_large(s3._object_disk_path(bucket, key)):
            for version in s3._object_versions.get((bucket, key), []):
                if version["version_id"] == (obj.get("version_id") or "null"):
                    version["data"] = None

    return persist


def read_body(original):
    def read(bucket_name, key, obj):
        path = s3._object_disk_path(bucket_name, key)
        if getattr(getting, "on", False) and obj.get("body") is None and is_large(path):
            return mapped(path)
        return original(bucket_name, key, obj)

    return read


def version_body(original):
    def read(bucket, bucket_name, key, version):
        path = s3._version_disk_path(bucket_name, key, version["version_id"])
        if getattr(getting, "on", False) and version.get("data") is None and is_large(path):
            return mapped(path)
        return original(bucket, bucket_name, key, version)

    return read


def get_object(original):
    """A large object goes out piece by piece."""

    def get(*arguments):
        getting.on = True
        try:
            status, headers, body = original(*arguments)
        finally:
            getting.on = False
        if not isinstance(body, mmap.mmap):
            return status, headers, body

        async def pieces(send, _receive):
            for start in range(0, len(body), LARGE):
                await send({"type": "http.response.body", "body": body[start : start + LARGE], "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return status, {**headers, "Content-Length": str(len(body))}, responses.StreamingResponse(pieces)

    return get


for replaced in (upload_part, persist_object, read_body, version_body, get_object):
    name = f"_{replaced.__name__}"
    setattr(s3, name, replaced(getattr(s3, name)))

# GATEWAY_PORT is the endpoint's, which stands in the URLs that are given out. MiniStack would try whether it is free.
app._resolve_port = lambda: "0"
app.main()
