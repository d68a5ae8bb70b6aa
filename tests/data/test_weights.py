"""Pretrained weights by content: digests of folders, and the hub's real client on a local server."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from local_hub import client, serving

from relcl_lib.data.download import DataNotFoundError
from relcl_lib.data.weights import weights_digest, weights_folder

COMMIT = "c" * 40
CONTENT = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "vocab.txt": b"[PAD]\n",
    "README.md": b"words",
}


def folder(path, **changes):
    path.mkdir(parents=True)
    for name, content in {**CONTENT, **changes}.items():
        (path / name).write_bytes(content)
    return path


def test_what_shapes_the_network_is_digested_and_nothing_else(tmp_path):
    first = weights_digest(folder(tmp_path / "A" / "best"))
    assert weights_digest(folder(tmp_path / "copy")) == first
    other = {"README.md": b"other words", "pytorch_model.bin": b"not read"}
    other |= dict.fromkeys(("generation_config.json", "optimizer.safetensors"), b"{}")
    assert weights_digest(folder(tmp_path / "other", **other)) == first
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        changed = folder(tmp_path / name / "best", **{name: b"changed"})
        assert weights_digest(changed) != first
    for name in ("tokenizer_config.json", "model-00001-of-00002.safetensors", "spiece.model"):
        assert weights_digest(folder(tmp_path / f"with {name}", **{name: b"{}"})) != first


def test_the_digests_that_records_hold():
    assert weights_digest(weights_folder("tiny")) == "2750816d9b573327"


def test_a_name_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("no-such/encoder", "no/such/folder"):
        with pytest.raises(
            DataNotFoundError, match=rf"{name}' are no folder here.*save_pretrained"
        ):
            weights_folder(name)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download of one repository asks for."""

    served: list[str] = []  # noqa: RUF012  (each test starts its own)

    def answer(self, body):
        path = self.path.split("?")[0]
        kind, content = "application/json", None
        if path.startswith("/api/models/someone/bert/tree/"):
            content = json.dumps(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in CONTENT.items()
                ]
            ).encode()
        elif path.startswith("/api/models/someone/bert"):
            siblings = [{"rfilename": name} for name in CONTENT]
            content = json.dumps(
                {"id": "someone/bert", "sha": COMMIT, "siblings": siblings}
            ).encode()
        elif path.startswith(f"/someone/bert/resolve/{COMMIT}/"):
            kind, content = "application/octet-stream", CONTENT.get(path.rsplit("/", 1)[1])
        self.send_response(404 if content is None else 200)
        if content is not None:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content is not None:
            if kind != "application/json":
                self.served.append(path.rsplit("/", 1)[1])
            self.wfile.write(content)

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def log_message(self, *args):
        pass


CODE = "from relcl_lib.data.weights import *; print(weights_folder('someone/bert'))"


def test_the_real_client_downloads_what_is_needed_once(tmp_path):
    Hub.served = []
    with serving(Hub) as endpoint:
        first = client(tmp_path, endpoint, CODE)
    assert first.returncode == 0, first.stderr
    found = Path(first.stdout.strip())
    assert sorted(set(Hub.served)) == ["config.json", "model.safetensors", "vocab.txt"]
    assert weights_digest(found) == weights_digest(folder(tmp_path / "given"))
    second = client(tmp_path, endpoint, CODE)  # nobody serves any more
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
