"""What tests of readers share."""

import pytest

from relcl_lib.data import download


@pytest.fixture
def no_other_data(tmp_path, monkeypatch):
    """No data set is found but in the folder that a test gives."""
    monkeypatch.delenv(download.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(download, "repository_root", lambda: tmp_path / "repository")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
