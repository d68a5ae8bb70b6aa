"""Bad lines: retried, then one clear error; the cache never holds a damaged file."""

import hashlib

import pytest
from bad_hub import CONTENTS, code, hub
from local_hub import client, serving


def cached(folder):
    """Every file that the cache would hand out, by its content."""
    files = [p for p in folder.rglob("snapshots/**/*") if p.is_file()]
    return {hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


SOUND = {hashlib.sha256(content).hexdigest() for content in CONTENTS.values()}
BAD = {
    "an error once": (["error"], True),
    "cut once": (["cut"], True),
    "cut twice": (["cut", "cut"], True),
    "short once": (["short"], True),
    "a page once": (["page"], True),
    "another content once": (["same length"], True),
    "errors": (["error"] * 99, False),
    "always cut": (["cut"] * 99, False),
    "always a page": (["page"] * 99, False),
    "always another content": (["same length"] * 99, False),
}
SAMPLE = ("another content once", "always a page")


@pytest.mark.parametrize("hashes", [True, False], ids=["pinned", "not pinned"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_line(tmp_path, long, tell, name, hashes):
    if not long and (name not in SAMPLE or not hashes):
        pytest.skip("in make test-hard")
    ways, mended = BAD[name]
    handler = hub(*ways)
    with serving(handler) as endpoint:
        done = client(tmp_path, endpoint, code(hashes))
    if mended:
        assert done.returncode == 0, done.stderr
        assert cached(tmp_path) == SOUND
    else:
        last = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 1 and "Data" in last, done.stderr
        assert not cached(tmp_path) - SOUND
        assert 3 <= len(handler.asked) <= 30
    # A sound line afterwards gives all, from what the bad one has left.
    with serving(hub()) as endpoint:
        again = client(tmp_path, endpoint, code(hashes))
    assert again.returncode == 0 and cached(tmp_path) == SOUND, again.stderr
    assert not list(tmp_path.rglob("*.incomplete"))
    tell(f"{name}: {len(handler.asked)} requests, {'mended' if mended else 'one error'}")


def test_a_slow_line_is_waited_for(tmp_path, long):
    with serving(hub(pause=0.5 if long else 0.02)) as endpoint:
        done = client(tmp_path, endpoint, code())
    assert done.returncode == 0 and cached(tmp_path) == SOUND
