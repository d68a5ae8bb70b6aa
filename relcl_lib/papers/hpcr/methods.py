"""HPCR and its baselines by the names that the paper's tables print."""

from __future__ import annotations

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
from relcl_lib.papers.hpcr.strategy import Strategy

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
    "PCR": proxies.PCR,
    "PCR+HC": proxies.PCRWithHC,
    "PCR+HC+HT": proxies.PCRWithHCAndHT,
    "PCR+HC+HT+PCD": proxies.WithoutSCD,
    "PCR+HC+HT+SCD": proxies.WithoutPCD,
    "PCR+HC+HT+DER": proxies.DistilledAsInDER,
    "HPCR": proxies.HPCR,
    "PCR+HC+HT (HC on)": proxies.PCRWithHCAndHTOn,
    "PCR+HC+HT+PCD (HC on)": proxies.WithoutSCDOn,
    "HPCR (HC on)": proxies.HPCROn,
}
