"""DatasetAudit: `trainer.validate` or `trainer.test` looks at every image, and says what the network bases itself on.

Trainer(callbacks=[DatasetAudit("audit")]).validate(model, datamodule)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from hedgeseg import visual
from hedgeseg.audit import Auditor, EvidenceStore, Findings, Subject, as_json, changes, find, write_page, write_result
from hedgeseg.audit.evidence import Evidence
from hedgeseg.audit.store import read_store
from hedgeseg.callbacks import trainer_context
from hedgeseg.callbacks.audit_panels import log_audit
from hedgeseg.callbacks.batches import BatchAdapter, Example, read_batch
from hedgeseg.callbacks.evaluation import image_position
from hedgeseg.callbacks.explanations import Explainer
from hedgeseg.callbacks.network import find_network
from hedgeseg.callbacks.sides import with_sides
from hedgeseg.deprecation import warn_renamed
from hedgeseg.seeds.manifest import weights_hash

PAGE = "audit.html"


class DatasetAudit(Callback):
    """Explains every image of the validation or test data, keeps the evidence small, and reports what stands out.

    Every batch's evidence is in the folder as soon as it is known: an audit that was stopped goes on where it was,
    further data (another split) can be added, and several processes fill one folder. A folder made with another network
    or other options is refused. At the end the folder holds `audit.json` and `audit.html`, and Weights & Biases a table
    of the images. Nothing is done while a model is being fitted.

    Args:
        folder: made if it does not exist.
        method: a name of `hedgeseg.attribution.METHODS`.
        target: `"label"`: the classes an image is labelled with; `"predicted"`: those the network sees in it.
        split: what the data are called in the report; the trainer's stage without it.
        mirror: also explain the mirrored image (as much work again).
        removal: also paint the evidence over and look at the probability (two forward passes per class).
        method_options: further options of `hedgeseg.attribution.attribute`.
        alerts: bounds of a mean over all images, such as `{"pointing": 0.5, "border": 0.4}`: a Weights & Biases alert
            and a warning tell when `pointing`, `mirror`, `centre`, `accuracy` fall below theirs or any other number,
            `flagged` (clusters that stand out) among them, exceeds it.
        against: folder of another audit of the same data, to show which images changed their evidence.
        table_images: rows of the Weights & Biases table at most, the most suspicious first.
        conclude: whether to look through the evidence at the end; False only collects it, for a later run with another
            part of the data.
        network: dotted path of the network in the LightningModule, if it cannot be found.
        batch_adapter: turns a batch of an unusual layout into a dict with `image`, `label`, `id`, ...
        classes: former name of `target`.

    Attributes:
        findings: of the last audit that ended, on the first process.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        folder: str,
        method: str = "hedge",
        target: Literal["label", "predicted"] = "label",
        *,
        split: str | None = None,
        mirror: bool = True,
        removal: bool = True,
        method_options: Mapping[str, Any] | None = None,
        alerts: Mapping[str, float] | None = None,
        against: str | None = None,
        table_images: int = 2000,
        conclude: bool = True,
        network: str | None = None,
        batch_adapter: BatchAdapter | None = None,
        classes: Literal["label", "predicted"] | None = None,
    ) -> None:
        if classes is not None:
            warn_renamed("classes", "target")
            target = classes
        if target not in ("label", "predicted"):
            raise ValueError(f"target is 'label' or 'predicted', got {target!r}")
        self.folder = Path(folder)
        self.auditor = Auditor(method, mirror, removal, method_options)
        self.target = target
        self._explainer = Explainer(method, target, self.auditor.options)
        self.split = split
        self.alerts = dict(alerts or {})
        self.against = None if against is None else Path(against)
        self.table_images = table_images
        self.conclude = conclude
        self.network = network
        self.batch_adapter = batch_adapter
        self.findings: Findings | None = None
        self._store: EvidenceStore | None = None
        self._seen: dict[int, int] = {}
        self._failed: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the folder, or refuse one that was made with other settings."""
        if stage not in ("validate", "test"):
            return
        trainer_context.refuse_sharded(trainer, "DatasetAudit")
        network = find_network(pl_module, self.network)
        names = list(trainer_context.class_names(trainer, pl_module))
        config = {"audit": self.auditor.config(), "classes": self.target, "class_names": names}
        self._store = EvidenceStore(self.folder, {**config, "weights": weights_hash(network)})
        self._seen, self._failed, self.findings = {}, {}, None
        self._explainer.forget()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the images of a batch."""
        if self._store is None or trainer.state.fn not in ("validate", "test"):
            return
        network = find_network(pl_module, self.network)
        dataset = list(trainer_context.datasets(trainer))[dataloader_idx]
        split = self._split(trainer, dataloader_idx)
        with torch.inference_mode(False), torch.no_grad(), trainer.precision_plugin.forward_context():
            examples = read_batch(batch, "", self.batch_adapter)
            start = self._seen.get(dataloader_idx, 0)
            self._seen[dataloader_idx] = start + len(examples)
            named = [
                (
                    example.key if example.named else f"{image_position(example, start + i, trainer, dataset):06d}",
                    example,
                )
                for i, example in enumerate(examples)
            ]
            new = [(name, example) for name, example in named if not self._store.is_done(split, name)]
            subjects = self._subjects(trainer, network, pl_module.device, new)
            found: list[Evidence] = []
            for _, group in groupby(subjects, key=lambda subject: subject.image.shape):
                found += self._look(network, list(group), split, pl_module.device)
            self._store.add(split, [name for name, _ in new if name not in self._failed], found)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for all processes, then find, write and show."""
        if self._store is None or trainer.state.fn not in ("validate", "test"):
            return
        trainer.strategy.barrier("audit")
        if trainer.is_global_zero and self.conclude:
            self._conclude(trainer, trainer_context.class_names(trainer, pl_module))

    on_test_end = on_validation_end

    def _subjects(
        self, trainer: Trainer, network: torch.nn.Module, device: torch.device, named: Sequence[tuple[str, Example]]
    ) -> list[Subject]:
        normalisation = trainer_context.normalisation(trainer) or (None, None)
        subjects = []
        for name, example in named:
            image = example.image[None].to(device)
            self._explainer.look_at(network, image)
            if not self._explainer.wants(example):
                continue
            seen = with_sides(example) if self._explainer.two_sided else example
            [classes] = self._explainer.targets(network, image, [seen])
            known = [seen.region(index) for index in classes]
            empty = torch.zeros(seen.image.shape[-2:], dtype=torch.bool)
            regions = torch.stack([empty if region is None else region for region in known])
            subjects.append(
                Subject(
                    name,
                    seen.image,
                    tuple(classes),
                    seen.exclusive,
                    regions if bool(regions.any()) else None,
                    seen.valid,
                    visual.denormalise(seen.image, *normalisation),
                )
            )
        return subjects

    def _look(
        self, network: torch.nn.Module, subjects: list[Subject], split: str, device: torch.device
    ) -> list[Evidence]:
        """Evidence of images of one shape; where one of them fails, of the others."""
        try:
            return self.auditor(network, subjects, split, device)
        except (ValueError, RuntimeError) as error:
            if len(subjects) == 1:
                self._failed[subjects[0].id] = f"{type(error).__name__}: {error}"
                return []
            return [entry for subject in subjects for entry in self._look(network, [subject], split, device)]

    def _split(self, trainer: Trainer, dataloader_idx: int) -> str:
        name = self.split or {"validate": "val"}.get(trainer_context.stage(trainer), trainer_context.stage(trainer))
        return name if trainer_context.loader_count(trainer) == 1 else f"{name}_{dataloader_idx}"

    def _conclude(self, trainer: Trainer, classes: Sequence[str]) -> None:
        assert self._store is not None
        if self._failed:
            some = "; ".join(f"{name}: {reason}" for name, reason in list(self._failed.items())[:3])
            rank_zero_warn(f"DatasetAudit: {len(self._failed)} images were left out, a later run tries again ({some})")
        evidence = self._store.read()
        if not evidence:
            rank_zero_warn("DatasetAudit: there was nothing to explain: no image has a class")
            return
        findings = find(evidence)
        self.findings = findings
        before = [] if self.against is None else read_store(self.against)
        changed = changes(evidence, before) if before else []
        result = {**as_json(findings, classes), "changes": changed, "failed": self._failed}
        write_result(self.folder, result)
        page = write_page(self.folder / PAGE, findings, classes, f"Audit of {self.folder.name}", changed, before=before)
        flagged = [cluster for cluster in findings.clusters if cluster.flagged]
        crossed = self._crossed({**findings.overall, "flagged": float(len(flagged))})
        for text in crossed:
            rank_zero_warn(f"DatasetAudit: {text}")
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            log_audit(trainer.loggers, findings, classes, crossed, self.table_images)
        rank_zero_info(f"DatasetAudit: {len(evidence)} explanations, {len(flagged)} clusters stand out; look at {page}")

    def _crossed(self, numbers: Mapping[str, float]) -> list[str]:
        """Which bounds are crossed, in words."""
        better_high = {"pointing", "mirror", "centre", "accuracy", "removal_drop"}
        told = []
        for name, bound in self.alerts.items():
            if name not in numbers:
                told.append(f"alerts names {name!r}, which was not measured; measured: {', '.join(sorted(numbers))}")
            elif name in better_high and numbers[name] < bound:
                told.append(f"{name} is {numbers[name]:.3f}, below {bound}")
            elif name not in better_high and numbers[name] > bound:
                told.append(f"{name} is {numbers[name]:.3f}, above {bound}")
        return told
