"""A hub that is slow, cuts off, lies about lengths or serves another page, and its files."""

import contextlib
import hashlib
import random
import time
from http.server import BaseHTTPRequestHandler

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENTS = {
    f"data/{name}.bin": random.Random(name).randbytes(400_000)
    for name in ("train", "valid", "test")
}
FILES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
PREFIX = f"/datasets/someone/things/resolve/{COMMIT}/"
PAGE = b"<html><body>Please sign in to this network.</body></html>"
CODE = (
    "from relcl_lib.data.download import HubFiles, fetch\n"
    f"print(fetch(HubFiles('someone/things', {COMMIT!r}, {{files!r}})))"
)


def code(hashes=True):
    """A program that fetches the files, with or without their pinned hashes."""
    return CODE.format(files=FILES if hashes else dict.fromkeys(FILES))


def hub(*ways, pause=0.0):
    """A handler whose answers to the n-th request for a file's content are `ways[n]`, then sound."""

    class Hub(BaseHTTPRequestHandler):
        asked: list[str] = []  # noqa: RUF012  (each call makes a class of its own)

        def log_message(self, *arguments):
            pass

        def head(self, content, length=None, etag=None):
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            etag = etag or hashlib.sha256(content).hexdigest()
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()

        def do_HEAD(self):
            name = self.path.removeprefix(PREFIX)
            if name in CONTENTS:
                self.head(CONTENTS[name])
            else:
                self.send_error(404)

        def do_GET(self):
            name = self.path.removeprefix(PREFIX)
            if name not in CONTENTS:
                self.send_error(404)
                return
            content = CONTENTS[name]
            start = 0
            if asked := self.headers.get("Range"):
                start = int(asked.removeprefix("bytes=").split("-")[0])
            way = ways[len(self.asked)] if len(self.asked) < len(ways) else "sound"
            self.asked.append(way)
            if way == "error":
                self.send_error(503)
            elif way == "page":
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(PAGE)))
                self.end_headers()
                self.wfile.write(PAGE)
            elif way == "same length":  # another content of the right length
                self.head(content)
                self.wfile.write(bytes(len(content)))
            elif way == "cut":  # the line breaks in the middle
                self.head(content)
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.connection.close()
            elif way == "short":  # says less than it has
                self.head(content[:1000])
                self.wfile.write(content[:1000])
            else:
                self.sound(content, start)

        def sound(self, content, start):
            if start:
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
            else:
                self.head(content)
            with contextlib.suppress(ConnectionError):  # the client was killed
                for at in range(start, len(content), 20_000):
                    self.wfile.write(content[at : at + 20_000])
                    time.sleep(pause)

    return Hub
