"""Puts what the library reads of `data/` into the package; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["relcl_lib", "relcl_lib.*"]), "relcl_lib._data"],
    package_dir={"relcl_lib._data": "data"},
    package_data={
        "relcl_lib._data": ["claims/*.json", "paper_tables/*", "synthetic/**/*"],
        "relcl_lib.data": ["*.json"],
    },
)
