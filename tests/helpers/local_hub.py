"""A hub of one's own on this machine, and the hub's real client in a process that talks to it."""

import contextlib
import os
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def serving(handler):
    """Serve by a handler on a free port; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(tmp_path, endpoint, code):
    """Run code in a process of its own: the hub's client reads its settings once, at import."""
    names = ("http_proxy", "https_proxy", "all_proxy", "hf_hub_offline", "hf_token")
    environment = {k: v for k, v in os.environ.items() if k.lower() not in names}
    environment |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"),
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
