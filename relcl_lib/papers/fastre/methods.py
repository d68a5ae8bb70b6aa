"""FastRE, its ablations and CasRel: what each row of the tables changes of the default network."""

from __future__ import annotations

from typing import Any

_CASREL = {"type_map": "any", "threshold": "global", "relation_mask": "none"}
CASREL_METHODS = ("CasRel", "CasRel tagger + FastRE encoder")
#: Row of the paper's tables -> what it changes. The ablations are named as in Table 5.
METHODS: dict[str, dict[str, Any]] = {
    "FastRE": {},
    "-Dilated Convolution": {"dilations": [1, 1, 1, 1, 1, 1]},
    "-Gated Unit": {"gate": "none"},
    "-Residual Connection": {"residual": False},
    "-Mapping Mechanism": {"type_map": "any"},
    "-Adaptive Thresholding": {"threshold": "global"},
    **dict.fromkeys(CASREL_METHODS, _CASREL),
}
