"""CRECL and its baselines: one run over a stream of relation tasks.

run = CreclRun(CreclParameters.create(profile="quick"), load_sentences("synthetic"))
run.train()
run.accuracy  # (T, T): after training task i, on the test set of task j

What a task's training consists of stands in `methods`, what the methods train with in `learner`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relcl_lib.data.sentences import RelationSentences, load_sentences
from relcl_lib.data.weights import is_published, weights_digest, weights_folder
from relcl_lib.lab.parameters import ParameterError
from relcl_lib.lab.protocol import protocol
from relcl_lib.lab.records import Record, config_hash
from relcl_lib.lab.run import Run, State, ignore
from relcl_lib.models.contrastive_network import CreclNetwork
from relcl_lib.papers.crecl import tables
from relcl_lib.papers.crecl.learner import Learner
from relcl_lib.papers.crecl.methods import Score, head_scores, nearest_attended, procedure
from relcl_lib.papers.crecl.network import build_network, task_stream, without_lost
from relcl_lib.papers.crecl.parameters import STREAMS, CreclParameters
from relcl_lib.papers.crecl.separation import (
    FEATURES,
    few_of,
    instances,
    separation,
    write_features,
)
from relcl_lib.text.pretrained import load_encoder, usable_positions


class CreclRun(Learner, Run):
    """One run of one seed: its tasks one after the other, tests, checkpoints and records.

    The seed also makes the tasks' order and the split.
    """

    paper = "crecl"
    counter = "tasks_done"
    progress = ("history", "separation")
    #: skipping long sentences gives what refusing them gives where there are none; a captured step
    #: draws other dropout masks, as another device does
    elsewhere = ("encoder", "skip_long", "cuda_graph")

    def __init__(
        self,
        parameters: CreclParameters,
        data: RelationSentences,
        seed: int = 2021,
        work_dir: str | Path | None = None,
    ) -> None:
        super().__init__(parameters, data, [seed], work_dir)
        self.procedure = procedure(parameters.method)
        self.holds_u = self.procedure.holds_u
        stream = task_stream(self.settings, data, seed)
        if self.settings.skip_long:
            usable = self.tokens.usable.cpu()
            room = usable_positions(self._pretrained[1].config)
            stream = without_lost(stream, data, usable, self.settings.max_length, room)
        self.take_up(stream)
        self.accuracy = torch.zeros(len(self.stream), len(self.stream))
        self.head_accuracy = torch.zeros_like(self.accuracy)  # see `at_head`
        #: see `at_untrained_memory`; None where there is no such reading
        self.untrained_accuracy: Tensor | None = None
        if self.has_two_readings and self.settings.attention_memory == "off":
            self.untrained_accuracy = torch.zeros_like(self.accuracy)
        self.separation: dict[str, float] = {}  # see `note_separation`
        self._features: dict[str, Tensor] = {}

    @classmethod
    def load_data(cls, parameters: CreclParameters) -> RelationSentences:
        """The sentences that parameters name."""
        return load_sentences(parameters.dataset, parameters.data_root)

    @property
    def total(self) -> int:
        """Tasks of the stream."""
        return len(self.stream)

    @property
    def score(self) -> float:
        """Accuracy on all tasks so far, in per cent."""
        tests = [test for _, test in self.stream.sizes()]
        return run_metrics(100 * self.accuracy, tests)[f"T{self.done}"]

    @cached_property
    def inputs(self) -> dict[str, str]:
        """The encoder."""
        return {"encoder": weights_digest(weights_folder(self.settings.encoder))}

    # ---------------------------------------------------------------- set-up
    # Encoder and tokens are made when they are first used: a run whose record exists needs neither.

    @cached_property
    def _pretrained(self) -> tuple[Any, nn.Module]:
        return load_encoder(self.settings.encoder)

    @cached_property
    def network(self) -> CreclNetwork:
        """The network; its new weights are drawn from the seed."""
        longest = self.tokens.ids.shape[1]  # first: it adds the markers to the tokenizer
        attends = self.procedure.attends or self.settings.attention_memory != "off"
        network = build_network(
            self.settings, *self._pretrained, self.stream, self.seed, longest, attends
        )
        if self.settings.cuda_graph and network.encoder.layers is None:
            raise ParameterError(
                f"{self.settings.encoder} is not built as BERT, and its step reads values back: no "
                "cuda_graph"
            )
        return network.to(self.device)

    # -------------------------------------------------------------- training

    def train(
        self,
        on_unit: Callable[[CreclRun], Any] | None = None,
        on_step: Callable[..., Any] | None = None,
        on_phase: Callable[[CreclRun, str], Any] | None = None,
    ) -> CreclRun:
        """Train the tasks that are left, see `Run.train`; `on_phase(run, phase)` after each phase."""
        self.on_phase = on_phase or ignore
        return super().train(on_unit, on_step)

    def advance(self) -> None:
        """Train a task, then test on all tasks so far; CRECL's in its other readings as well."""
        task = self.tasks_done
        self.procedure.train(self, task)
        readings = [(self.accuracy, self.procedure.score)]
        if self.has_two_readings:
            readings.append((self.head_accuracy, head_scores))
        if self.untrained_accuracy is not None:
            self.renew_attention_memory(task)
            readings.append((self.untrained_accuracy, nearest_attended))
        found = self.accuracies(task, *(score for _, score in readings))
        for (accuracy, _), row in zip(readings, found, strict=True):
            accuracy[task] = row
        if self.untrained_accuracy is not None:
            self.network.attention_memory = None  # the run has none, nor has its checkpoint

    def note_separation(self, phase: str, task: int) -> None:
        """Keep, in `separation`, how far the first two tasks lie apart after a phase of the second.

        Names are like `mixed_s_CL2`: the measure, the space (h or s), and the phase. Where the run
        keeps checkpoints, features of some sentences lie beside them, for Figures 1 and 5.
        """
        if task != 1:
            return
        found = instances(self)
        for space, features in (("h", found.h), ("s", found.projections)):
            values = separation(features, found.labels, found.tasks)
            self.separation |= {f"{name}_{space}_{phase}": value for name, value in values.items()}
        self._features |= {f"{phase}.{name}": value for name, value in few_of(found).items()}
        if self.folder is not None:
            about = {"record": config_hash(self.configuration()), "names": self.data.relation_names}
            write_features(self.folder / FEATURES, self._features, about)

    # ------------------------------------------------------------ evaluation

    @torch.no_grad()
    def predictions(self, sentences: Tensor, task: int, *scores: Score) -> list[Tensor]:
        """The relation (n,) of sentences (n,) for each way to score them.

        The encoder sees the sentences once; candidates are the relations of tasks 0 .. `task`.
        """
        self.network.eval()
        h, seen = self.embed(sentences), len(self.stream.classes_seen(task))
        return [self.relations[score(self, h)[:, :seen].argmax(1)] for score in scores]

    def accuracies(self, task: int, *scores: Score) -> Tensor:
        """Accuracy in [0, 1] on the test sets of tasks 0 .. `task`, else 0: (len(scores), T)."""
        tests = [self.stream[i].test_indices for i in range(task + 1)]
        sentences, sizes = torch.cat(tests), [len(test) for test in tests]
        labels = self.tokens.labels[sentences.to(self.device)]
        found = torch.zeros(len(scores), len(self.stream))
        for row, predicted in enumerate(self.predictions(sentences, task, *scores)):
            parts = (predicted == labels).split(sizes)
            found[row, : task + 1] = torch.stack([part.float().mean() for part in parts])
        return found

    def predict(self, sentences: Tensor, task: int) -> Tensor:
        """The relation (n,) of sentences (n,) among those of tasks 0 .. `task`."""
        return self.predictions(sentences, task, self.procedure.score)[0]

    @property
    def has_two_readings(self) -> bool:
        """Whether this is CRECL as written, whose classifier's head can be read as well."""
        chosen = self.settings
        written = chosen.prediction == "prototypes" and chosen.head == "fixed"
        return chosen.method == "CRECL" and written

    def at_head(self) -> CreclRun:
        """CRECL(C), this run read at its classifier's head (Figure 3); it shares the network.

        Raises:
            ValueError: the run is not CRECL, whose nearest prototype is the other reading.
        """
        if not self.has_two_readings:
            raise ValueError(
                f"only CRECL that predicts by prototypes has a second reading, at a head of all "
                f"relations; this is {self.settings.method}, head {self.settings.head!r}, "
                f"prediction {self.settings.prediction!r}"
            )
        twin = copy.copy(self)
        changes = {"method": "CRECL(C)", "prediction": "head"}
        twin.settings = self.settings.model_copy(update=changes)
        twin.accuracy = self.head_accuracy
        return twin

    def at_untrained_memory(self) -> CreclRun:
        """CRECL+ATM whose attention memory is not trained, as released: this run read through one.

        Its weights are random, drawn for each task. No training sees them, so both are one training.
        The two share the network, which is put back without it: the other cannot predict.

        Raises:
            ValueError: the run is not CRECL as written, or its checkpoint is of an earlier version.
        """
        if self.untrained_accuracy is None:
            raise ValueError("no task of this run was read through an untrained attention memory")
        twin = copy.copy(self)
        changes = {"method": "CRECL+ATM", "attention_memory": "untrained"}
        twin.given = self.given.model_copy(update=changes)
        twin.settings = self.settings.model_copy(update=changes)
        twin.accuracy = self.untrained_accuracy
        return twin

    # ----------------------------------------------------------- checkpoints

    def identity(self) -> dict[str, Any]:
        """As of any run; a captured one draws other dropout masks, so its checkpoint is its own."""
        identity = super().identity()
        if not self.settings.cuda_graph:  # earlier checkpoints do not name it
            del identity["settings"]["cuda_graph"]
        return identity

    def state(self) -> State:
        """Network, memory and accuracies."""
        run = {"accuracy": self.accuracy, "head_accuracy": self.head_accuracy}
        if self.untrained_accuracy is not None:
            run["untrained_accuracy"] = self.untrained_accuracy
        return {
            "network": self.network.state_dict(),
            "memory": self.memory.state_dict(),
            "run": run,
        }

    def load(self, state: State) -> None:
        """Put them back."""
        self.network.load_state_dict(state["network"])
        self.memory.load_state_dict(state["memory"])
        self.accuracy = state["run"]["accuracy"]
        self.head_accuracy = state["run"]["head_accuracy"]
        self.untrained_accuracy = state["run"].get("untrained_accuracy")  # of before: has none

    # --------------------------------------------------------------- records

    def describe(self) -> dict[str, Any]:
        """The data set as the tasks use it, and the encoder by its name."""
        sizes = self.stream.sizes()
        bert = is_published(self.settings.encoder, "bert-base-uncased")
        return {
            "dataset": {
                "set": STREAMS.get(self.data.name, [self.data.name])[0],
                "sizes": {"train": sum(n for n, _ in sizes), "test": sum(n for _, n in sizes)},
                "relations": len(self.data.relations),
                "report": dict(self.data.report),
            },
            "protocol": protocol(self.given, self.data.protocol, tables, weights=bert),
            "backbone": Path(self.settings.encoder).name,
        }

    def outcome(self, seed: int) -> dict[str, Any]:
        """Accuracies, how far the first two tasks lie apart, and what training cost.

        `gradient_passes` are sentences that the encoder was trained on, each as often as it was.
        """
        accuracy = 100 * self.accuracy.double()
        tests = [n for _, n in self.stream.sizes()]
        passes = sum(entry["sentences"] for entry in self.history)
        order, told = " ".join(map(str, self.stream.class_order)), []
        if self.settings.skip_long:
            count = len(self.data.sentences) - len(self.tokens.usable)
            told = [
                f"{count} sentences left out: an entity beyond {self.settings.max_length} tokens"
            ]
        if self.settings.cuda_graph:
            told.append("captured steps: dropout masks over padded batches")
        return {
            "metrics": run_metrics(accuracy, tests) | self.separation | {"gradient_passes": passes},
            "accuracy_matrix": accuracy.numpy().round(4),
            "notes": [self.data.note, *told, f"task order {order}"],
        }

    def records(self, note: str = "") -> list[Record]:
        """The record; that of CRECL after those of its other readings, which are the same training."""
        found, same = super().records(note), "the same training as CRECL"
        if self.untrained_accuracy is not None:
            found = [self.at_untrained_memory().record(same), *found]
        if self.has_two_readings:
            found = [self.at_head().record(same), *found]
        return found


def run_metrics(accuracy: Tensor, test_sizes: list[int]) -> dict[str, float]:
    """The accuracies the paper reports, in the unit given.

    `T1` .. `Tk`: historical, of the pooled test sets of tasks 1 .. k after task k; `current_T1` ..:
    of task k's test set alone. The candidates are all relations seen in both.

    Args:
        accuracy: (T, T), row i after training task i.
        test_sizes: test sentences of each task.
    """
    metrics = {}
    for k, row in enumerate(accuracy.tolist(), start=1):
        correct = sum(value * size for value, size in zip(row[:k], test_sizes, strict=False))
        metrics[f"T{k}"] = correct / sum(test_sizes[:k])
        metrics[f"current_T{k}"] = row[k - 1]
    return metrics


load_data, train_or_read = CreclRun.load_data, CreclRun.train_or_read
