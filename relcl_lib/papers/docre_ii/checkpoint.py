"""Checkpoints of DocRE-II runs; runs that differ in stage 2 only share what stage 1 left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from relcl_lib.lab import checkpoints
from relcl_lib.papers.docre_ii.parameters import STAGE_2

if TYPE_CHECKING:
    from relcl_lib.papers.docre_ii.run import DocreRun

PROGRESS = ("stage", "epochs_done", "step", "seconds", "best_epoch", "best_score", "history")


class DocreCheckpoint:
    """Where a run keeps itself, and where its base, once stage 1 is over.

    Stage 1 depends on no setting of the inference module, so a run that finds the base of another
    goes on where that one's stage 1 ended, with the numbers it would have come to by itself.

    Args:
        run: its settings, data and seed say which folders are its own.
        work_dir: the folders are made below it; None: nothing is kept.
    """

    def __init__(self, run: DocreRun, work_dir: str | Path | None) -> None:
        self.run = run
        name = run.data.name
        self.folder = checkpoints.run_folder(work_dir, name, self._identity)
        self.base_folder = checkpoints.run_folder(work_dir, f"{name}-base", self._base_identity)

    def _identity(self) -> dict[str, Any]:
        hidden = {"profile", "data_root", "device", "seeds", "base"}
        return {
            "settings": self.run.settings.model_dump(exclude=hidden),
            "base": self.run.base_name,
            "data": self.run.data.fingerprint,
            "seed": self.run.seed,
        }

    def _base_identity(self) -> dict[str, Any]:
        identity = self._identity()
        shaping = {k: v for k, v in identity["settings"].items() if k not in STAGE_2}
        return {**identity, "settings": shaping}

    def save(self) -> None:
        """Write where the run is; at the end of stage 1 also its best base, for other runs."""
        run = self.run
        if self.folder is None:
            return
        progress = {name: getattr(run, name) for name in PROGRESS}
        state = checkpoints.join(
            model=run.model.state_dict(),
            best=run.best,
            base_state=run.base_state,
            optimizer=checkpoints.optimizer_state(run.optimizer),
        )
        checkpoints.save(self.folder / "checkpoint", state, progress)
        if run.stage == 1 and run.epochs_done == run.settings.stage1_epochs:
            base = checkpoints.part(run.best, "base.")
            checkpoints.save(self.base_folder / "checkpoint", base, progress)

    def resume(self) -> None:
        """Bring the run to its checkpoint, or to the end of stage 1 if that is further on."""
        run = self.run
        state = checkpoints.resume(self.folder, run, "epochs_done", PROGRESS)
        base = checkpoints.resume(self.base_folder, run, "epochs_done", PROGRESS)
        if base is not None:
            run.model.base.load_state_dict(base)
            run.best = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
        elif state is not None:
            run.model.load_state_dict(checkpoints.part(state, "model."))
            for name in ("best", "base_state"):
                kept = checkpoints.part(state, f"{name}.")
                setattr(run, name, {k: v.to(run.device) for k, v in kept.items()})
            run.renew_optimizer()
            checkpoints.restore_optimizer(run.optimizer, checkpoints.part(state, "optimizer."))
