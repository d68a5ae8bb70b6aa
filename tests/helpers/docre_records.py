"""Records of DocRE-II whose scores are given, for the tests of tables, figures and claims."""

from relcl_lib.lab.records import Record
from relcl_lib.papers.docre_ii.parameters import DocreParameters
from relcl_lib.papers.docre_ii.printed import HANDED


def reduced(**changes):
    """The parameters of a run on CDR, as its record has them."""
    made = DocreParameters.create(profile="reduced", **changes).resolved()
    hidden = {"dataset", "method", "seeds", "encoder", *made.as_before}
    return made.model_dump(exclude=hidden) | {"encoder_type": "bert"}


def made_up(f1, seeds=range(5), method="DocRE-II", **changes):
    """Runs by the profile `reduced`, on CDR unless told otherwise, whose F1 is given, one per seed."""
    name = changes.get("dataset", "cdr")
    place = {"name": name, "set": {"cdr": "CDR", "redocred": "Re-DocRED", "docred": "DocRED"}[name]}
    scale = {"redocred": "stand-in"}.get(name, "reduced")
    metrics = {"F1": f1, "F1_base": 50.0, "F1_K0": 51.0, "F1_K3": f1, "F1_K4": f1}
    metrics |= {key: f1 for key in HANDED.values() if "fed" in key}
    metrics |= {"F1_K1": f1, "weight_features": f1, "weight_relations": f1}
    metrics |= {f"F1_K{k}": f1 for k in (1, 2)}
    fields = {"paper": "docre_ii", "experiment": name, "backbone": "small", "device": "cpu"}
    fields |= {"protocol": scale, "variant": changes.get("variant", "paper"), "seconds": 1.0}
    fields |= {"accuracy_matrix": None, "peak_memory_bytes": None, "versions": {}, "commit": "0"}
    fields |= {"dataset": place, "date": "2026-01-01", "note": ""}
    parameters = reduced(method=method, **changes)
    fields |= {"parameters": parameters, "metrics": metrics, "method": method}
    return [Record(**fields, seed=seed) for seed in seeds]
