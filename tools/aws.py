"""AWS's own command, kept running: it takes most of a second to start, and a test calls it a hundred times.

Each line of standard input is a command's arguments as a JSON list; each answer is a line with the exit status and
what the command wrote to its two outputs.
"""

import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver

driver = create_clidriver()
for line in sys.stdin:
    out, errors = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = driver.main(json.loads(line))
        except SystemExit as end:
            status = end.code
    texts = []
    for output in (out, errors):
        output.flush()
        texts.append(output.buffer.getvalue().decode(errors="replace"))
    print(json.dumps([status, *texts]), flush=True)
