"""Explain annotated images by several methods and score every map."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hedgeseg.attribution import attribute
from hedgeseg.attribution.errors import LayerError, NonFiniteError, UnsupportedOpError
from hedgeseg.evaluation.case import Case, select
from hedgeseg.evaluation.journal import Journal, Record
from hedgeseg.evaluation.method_run import MethodRun
from hedgeseg.evaluation.protocol import Protocol
from hedgeseg.evaluation.scoring import Network, score_case, spread_layers
from hedgeseg.metrics.canvas import IMAGENET_MEAN, IMAGENET_STD
from hedgeseg.metrics.evaluating import evaluating
from hedgeseg.seeds.formats.files import replacing
from hedgeseg.seeds.manifest import open_folder, weights_hash

JOURNALS = "images"
SETTINGS = "settings.json"

Watch = Callable[[MethodRun, Case, Tensor], None]
"""Sees every map as it is made: the method, the image and its maps (T, H, W)."""


class Evaluator:
    """Scores methods on images that come one batch at a time.

    The folder keeps every image's numbers. A second run with the same protocol, network and data does what is missing:
    further images, or further methods; with others it is refused.

    Args:
        folder: made if it does not exist.
        methods: one row of the table each.
        protocol: what is asked of every map.
        classes: names of the data's classes.
        mean: what the images are normalised with.
        std: likewise.
        process: number of this process, where several fill one folder.
        watch: sees every map.

    Raises:
        ValueError: no method, or one twice, or more classes than the protocol's metrics can take.
        FolderMismatchError: by `add`, if the folder was made with other settings.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        methods: Sequence[MethodRun],
        protocol: Protocol,
        classes: Sequence[str],
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        process: int = 0,
        watch: Watch | None = None,
    ) -> None:
        keys = [run.key.rsplit("-", 1)[1] for run in methods]
        if not methods or len(set(keys)) < len(keys):
            raise ValueError(f"methods must be different ones, at least one, got {[run.label for run in methods]}")
        self.folder = Path(folder)
        self.methods = tuple(methods)
        self.protocol = protocol
        self.classes = tuple(classes)
        self.num_classes = protocol.rows(len(self.classes))
        self.mean, self.std = tuple(mean), tuple(std)
        self.process = process
        self.watch = watch
        self._journals: dict[str, Journal] = {}
        self._failed: dict[str, str] = {}

    @property
    def failures(self) -> Mapping[str, str]:
        """Why a method could not explain the network, by its label; such a method is not tried again."""
        return self._failed

    def open(self, network: nn.Module) -> None:
        """Open the folder for a network, or refuse one that was made with another, other data or another protocol."""
        if self._journals:
            return
        config = {
            **self.protocol.config(),
            "classes": list(self.classes),
            "mean": list(self.mean),
            "std": list(self.std),
            "weights": weights_hash(network),
        }
        open_folder(self.folder, config)
        path = self.folder / SETTINGS
        if not path.is_file():
            layers = []
            if "randomization_sanity" in self.protocol.metrics:
                layers = spread_layers(network, self.protocol)
            content = {
                "protocol": self.protocol.config(),
                "classes": list(self.classes),
                "num_classes": self.num_classes,
                "layers": layers,
            }
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        self._journals = {run.key: Journal(self.folder / JOURNALS, run, self.process) for run in self.methods}

    def done(self, run: MethodRun) -> set[str]:
        """Ids of the images that a method is through with."""
        return self._journals[run.key].done if run.key in self._journals else set()

    def add(self, network: nn.Module, cases: Sequence[Case], methods: Sequence[MethodRun] | None = None) -> int:
        """Explain and score images of one size by every method that has not seen them.

        Args:
            network: images to logits.
            cases: images with all their labelled classes; their tensors may be on another device than the network.
            methods: only these of the evaluator's.

        Returns:
            How many images there was something to explain in.
        """
        self.open(network)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        with torch.inference_mode(False), torch.no_grad():
            with evaluating(network):
                logits = network(torch.stack([case.image for case in cases]).to(device))
            chosen = [select(case, row, self.protocol) for case, row in zip(cases, logits, strict=True)]
            kept = [case for case in chosen if case is not None]
            for run in self.methods if methods is None else methods:
                self._run(run, network, kept, device)
        return len(kept)

    def _run(self, run: MethodRun, network: nn.Module, cases: Sequence[Case], device: torch.device) -> None:
        journal = self._journals[run.key]
        pending = [case for case in cases if case.id not in journal.done and self._wants(run, case.turn)]
        if not pending or run.label in self._failed:
            return
        images = torch.stack([case.image for case in pending]).to(device)
        try:
            start = _now(device)
            targets = [list(c.targets) for c in pending]
            result = attribute(network, images, targets, method=run.method, binary=self._binary, **run.options)
            seconds = (_now(device) - start) / len(pending)
        except NonFiniteError as error:
            raise error.renamed([case.id for case in pending]) from None
        except (UnsupportedOpError, LayerError, ImportError) as error:
            self._failed[run.label] = f"{type(error).__name__}: {error}"
            return
        asked = Network(network, _explain(run, self._binary), self.mean, self.std)
        for row, case in enumerate(pending):
            maps = result.maps[row, : len(case.targets)].float()
            if not maps.isfinite().all():
                # Some rules overflow in deep networks: that is a result too, and no reason to lose the others.
                journal.append(Record(case.id, case.classes, seconds))
                continue
            if self.watch is not None:
                self.watch(run, case, maps)
            journal.append(score_case(case, maps, seconds, self.protocol, self.num_classes, asked))

    @property
    def _binary(self) -> bool:
        """Whether a network's only logit tells two classes apart, rather than scoring the data's only class."""
        return len(self.classes) > 1

    def _wants(self, run: MethodRun, turn: int) -> bool:
        return (run.limit is None or turn < run.limit) and self.protocol.asks(turn)


def _explain(run: MethodRun, binary: bool) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    def explain(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        options: dict[str, Any] = run.options
        return attribute(model, images, targets, method=run.method, binary=binary, **options).maps[:, 0].float()

    return explain


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
