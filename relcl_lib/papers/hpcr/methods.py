"""HPCR and its baselines by the names that the paper's tables print.

Every method trains its seeds side by side. Random draws, and the choice of places in the memory in
SS-IL and GSS, go seed by seed, as each has its own generators and candidates. Seeds whose tasks
differ in size are trained one at a time.
"""

from __future__ import annotations

from typing import Any

from relcl_lib.papers.hpcr.strategies import (
    aser,
    contrast,
    distilled,
    dual_view,
    heads,
    lookahead,
    onpro,
    plain,
    projected,
    proxies,
    rotations,
)
from relcl_lib.papers.hpcr.strategies.proxies import HPCR
from relcl_lib.papers.hpcr.strategy import Strategy


def having(kind: type[Strategy], **switches: Any) -> type[Strategy]:
    """The method that differs from another in these switches alone."""
    return type(kind.__name__, (kind,), {"switches": {**kind.switches, **switches}})


PCR = having(HPCR, hc="off", ht="off", pcd=False, scd="off")

METHODS: dict[str, type[Strategy]] = {
    "IID": plain.IID,
    "IID++": plain.IIDpp,
    "FINE-TUNE": plain.FineTune,
    "ER": Strategy,
    "ASER": aser.ASER,
    "A-GEM": projected.AGEM,
    "GSS": projected.GSS,
    "MIR": lookahead.MIR,
    "GMED": lookahead.GMED,
    "ER-WA": heads.WeightAligning,
    "OBC": heads.OBC,
    "UER": heads.UER,
    "DER++": distilled.DERpp,
    "SS-IL": distilled.SSIL,
    "SCR": contrast.SCR,
    "ER-DVC": dual_view.DualViewConsistency,
    "OCM": rotations.OCM,
    "OnPro": onpro.OnPro,
    "ER-ACE": plain.AsymmetricCrossEntropy,
    "Couple (Eq. 7)": proxies.CoupleOfLosses,
    "Couple (Eq. 8)": proxies.CoupleInOneSoftmax,
    "PCR": PCR,
    # "auto" leaves the pairs out at 10 + 10 images, where this row has them. The rows below leave
    # them to the size, as the release does.
    "PCR+HC": having(PCR, hc="on"),
    "PCR+HC+HT": having(PCR, ht="variant", hc="auto"),
    "PCR+HC+HT+PCD": having(HPCR, scd="off"),
    "PCR+HC+HT+SCD": having(HPCR, pcd=False),  # Fig. 8: relations are distilled alone
    "PCR+HC+HT+DER": proxies.DistilledAsInDER,
    "HPCR": HPCR,
    # The other reading of three rows: pairs at any size.
    "PCR+HC+HT (HC on)": having(PCR, ht="variant", hc="on"),
    "PCR+HC+HT+PCD (HC on)": having(HPCR, scd="off", hc="on"),
    "HPCR (HC on)": having(HPCR, hc="on"),
}
