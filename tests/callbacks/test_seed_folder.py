"""What a folder of seeds remembers, refuses and leaves out."""

import json

import albumentations as A
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from miniatures import write_coco_folder
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Subset

from hedgeseg.callbacks import SeedWriter
from hedgeseg.data import CocoFolder, CocoFolderDataModule, collate, eval_transform
from hedgeseg.models import Classifier
from hedgeseg.models.grouped_logits import GroupedLogits
from hedgeseg.seeds import read_seed
from hedgeseg.seeds.formats import identifiers
from hedgeseg.seeds.manifest import FolderMismatchError


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return Classifier(2)


def data(folder, **options):
    return CocoFolderDataModule(str(folder), **{"image_size": 32, "batch_size": 2} | options)


def test_padding_is_never_evidence_nor_mask(make_trainer, tmp_path, classifier):
    """A map that is 1 everywhere on what the network is shown: it must be shown the picture, and nothing else."""
    write_coco_folder(tmp_path / "data")
    shown = []

    def everywhere(model, images, targets):
        shown.append(images)
        return torch.ones(len(images), len(targets[0]), *images.shape[2:])

    writer = SeedWriter(str(tmp_path / "s"), {"method": everywhere, "background": 0.5}, on_error="raise")
    make_trainer(callbacks=[writer]).predict(classifier, datamodule=data(tmp_path / "data"))
    assert {tuple(images.shape[2:]) for images in shown} == {(24, 32)}  # 30 x 40 in a square of 32
    assert all((images[0].std(dim=(1, 2)) > 0).all() for images in shown)
    for name in identifiers(tmp_path / "s", ".png"):
        assert read_seed(tmp_path / "s", name).mask.shape == (30, 40)
        assert (read_seed(tmp_path / "s", name).mask > 0).all()


def test_a_network_of_one_size_sees_the_picture_stretched(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")
    shown = []

    class OneSize(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = nn.Linear(3 * 32 * 32, 2)

        def forward(self, images):
            return self.flat(images.flatten(1))

    def bright(model, images, targets):
        shown.append(tuple(images.shape[2:]))
        return (images[:, :1] > 0).float().expand(-1, len(targets[0]), -1, -1)

    classifier.network = OneSize()
    classifier.train()
    writer = SeedWriter(str(tmp_path / "s"), {"method": bright, "smoothing": 0.0}, network="network", on_error="raise")
    module = data(tmp_path / "data")
    trainer = make_trainer(callbacks=[writer])
    classifier.predict_step = lambda batch, index, loader=0: None
    with pytest.warns(UserWarning, match="stretched to 32 x 32 instead of padded"):
        trainer.predict(classifier, datamodule=module, return_predictions=False)
    assert set(shown) == {(32, 32)}
    mask = read_seed(tmp_path / "s", "002").mask.numpy() > 0
    truth = np.zeros((30, 40), bool)
    truth[4:24, 7:27] = True
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85


def test_an_object_is_where_it_is_in_the_picture(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")

    def bright(model, images, targets):
        return (images[:, :1] > 0).float().expand(-1, len(targets[0]), -1, -1)

    for fit in ("letterbox", "long", "short", "squash"):
        options = {"method": bright, "background": 0.5, "smoothing": 0.0}
        writer = SeedWriter(str(tmp_path / fit), options, on_error="raise")
        make_trainer(callbacks=[writer]).predict(classifier, datamodule=data(tmp_path / "data", fit=fit))
        mask = read_seed(tmp_path / fit, "002").mask.numpy()
        truth = np.zeros((30, 40), bool)
        truth[4:24, 7:27] = True
        assert ((mask > 0) & truth).sum() / ((mask > 0) | truth).sum() > 0.85


def test_a_larger_scale_shows_detail_of_the_photograph(make_trainer, tmp_path, classifier):
    """Stripes that the small input has lost are there again at twice its size."""
    write_coco_folder(tmp_path / "data")
    stripes = (np.arange(40) % 2 * 255).astype(np.uint8)
    for path in (tmp_path / "data" / "images").iterdir():
        Image.fromarray(np.repeat(np.tile(stripes, (30, 1))[..., None], 3, axis=2)).save(path)
    seen = {}

    def method(model, images, targets):
        seen[images.shape[3]] = float(images[0, 0].max() - images[0, 0].min())
        return torch.ones(len(images), len(targets[0]), *images.shape[2:])

    writer = SeedWriter(str(tmp_path / "s"), {"method": method, "scales": [1.0, 2.0]}, on_error="raise")
    make_trainer(callbacks=[writer]).predict(classifier, datamodule=data(tmp_path / "data", image_size=20))
    assert seen[20] < 0.1
    assert seen[40] > 4  # all of the contrast, normalised


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_size": 48}, r"data\.image_size: \['?32"),
        ({"fit": "squash"}, r"data\.fit: 'letterbox' there, 'squash' now"),
    ],
)
def test_a_folder_made_of_other_inputs_is_refused(make_trainer, tmp_path, classifier, change, named):
    write_coco_folder(tmp_path / "data")
    writer = SeedWriter(str(tmp_path / "s"))
    make_trainer(callbacks=[writer]).predict(classifier, datamodule=data(tmp_path / "data"))
    make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(classifier, datamodule=data(tmp_path / "data"))
    with pytest.raises(FolderMismatchError, match=named):
        make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(
            classifier, datamodule=data(tmp_path / "data", **change)
        )


def test_normalisation_and_pipeline_decide_as_well(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")

    def run(module):
        make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(classifier, datamodule=module)

    class Own(CocoFolderDataModule):
        mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    class Blurred(CocoFolderDataModule):
        @property
        def eval_transform(self):
            plain = super().eval_transform
            return A.Compose([A.Blur(3, p=1), *plain.transforms], bbox_params=plain.processors["bboxes"].params)

    run(data(tmp_path / "data"))
    with pytest.raises(FolderMismatchError, match=r"data\.mean"):
        run(Own(str(tmp_path / "data"), image_size=32))
    with pytest.raises(FolderMismatchError, match=r"data\.transform"):
        run(Blurred(str(tmp_path / "data"), image_size=32))


def test_groups_decide_as_well(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")
    inner = classifier.network
    classifier.network = GroupedLogits(inner, [[0], [1]])
    make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(classifier, datamodule=data(tmp_path / "data"))
    classifier.network = GroupedLogits(inner, [[0, 1], [1]])
    with pytest.raises(FolderMismatchError, match=r"network\.logits.*\[\[0\], \[1\]\].*\[\[0, 1\], \[1\]\]"):
        make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(
            classifier, datamodule=data(tmp_path / "data")
        )


def two_loaders(tmp_path, names=("a", "b"), wrap=lambda dataset: dataset):
    loaders, sets = [], []
    for name, light in zip(names, (60, 180), strict=True):
        folder = tmp_path / f"{name}{light}"
        write_coco_folder(folder, images=2)
        for path in list((folder / "images").iterdir()):
            Image.fromarray(np.full((30, 40, 3), light, np.uint8)).save(path.with_name(f"{name}{path.name}"))
            path.unlink()
        content = json.loads((folder / "instances.json").read_text())
        for entry in content["images"]:
            entry["file_name"] = name + entry["file_name"]
        (folder / "instances.json").write_text(json.dumps(content))
        sets.append(CocoFolder(folder, eval_transform(32)))
        loaders.append(DataLoader(wrap(sets[-1]), batch_size=2, collate_fn=collate))
    return loaders, sets


@pytest.mark.parametrize("wrap", [lambda dataset: dataset, lambda dataset: Subset(dataset, [1, 0])])
def test_every_image_is_refined_on_its_own_photograph(make_trainer, tmp_path, classifier, wrap):
    loaders, _ = two_loaders(tmp_path, wrap=wrap)
    shown = []

    def refine(picture, probabilities):
        shown.append(int(picture[0, 0, 0]))
        return probabilities

    writer = SeedWriter(str(tmp_path / "s"), {"refine": refine}, on_error="raise")
    make_trainer(callbacks=[writer]).predict(classifier, loaders, return_predictions=False)
    assert shown == [60, 60, 180, 180] * 2  # both passes of `background: auto`


def test_one_id_in_two_loaders_does_not_overwrite(make_trainer, tmp_path, classifier):
    loaders, _ = two_loaders(tmp_path, names=("a", "a"))
    writer = SeedWriter(str(tmp_path / "s"))
    with pytest.warns(UserWarning, match="loader 0 has an image of this id, too"):
        make_trainer(callbacks=[writer]).predict(classifier, loaders, return_predictions=False)
    assert writer.counts == {"written": 2, "skipped": 0, "failed": 2}


def test_the_refiner_undoes_the_normalisation_of_the_data(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")
    shown = []

    def refine(picture, probabilities):
        shown.append(np.asarray(picture))
        return probabilities

    class Own(CocoFolderDataModule):
        mean, std = (0.1, 0.1, 0.1), (2.0, 2.0, 2.0)

        def predict_dataloader(self):  # samples that do not say where they come from
            return DataLoader(self.predict_dataset, collate_fn=lambda s: {**collate(s), "index": None})

    writer = SeedWriter(str(tmp_path / "s"), {"refine": refine}, on_error="raise")
    module = Own(str(tmp_path / "data"), image_size=[30, 40])
    make_trainer(callbacks=[writer]).predict(classifier, datamodule=module, return_predictions=False)
    assert np.abs(shown[1].astype(int) - module.predict_dataset.image(1)).max() <= 1
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["config"]["mean"] == [0.1, 0.1, 0.1]


class Counting(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, 0

    def forward(self, images):
        self.seen += len(images)
        return self.network(images)


def run_counting(make_trainer, folder, source, classifier, *callbacks, **options):
    """Runs predict; returns how many images were decoded, and the writer's counts."""
    module = data(source, **options)
    module.setup()
    read = []
    original = module.predict_dataset.image
    module.predict_dataset.image = lambda index: read.append(index) or original(index)
    writer = SeedWriter(str(folder), {"method": "center"}, on_error="raise")
    trainer = make_trainer(callbacks=[writer, *callbacks])
    trainer.predict(classifier, datamodule=module, return_predictions=False)
    return len(read), writer.counts


def test_a_resumed_run_decodes_only_what_is_missing(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data", images=6)
    folder = tmp_path / "s"
    assert run_counting(make_trainer, folder, tmp_path / "data", classifier)[0] == 6
    (folder / "002.png").unlink()
    (folder / "005.png").unlink()
    read, counts = run_counting(make_trainer, folder, tmp_path / "data", classifier)
    assert (read, counts) == (2, {"written": 2, "skipped": 4, "failed": 0})
    read, counts = run_counting(make_trainer, folder, tmp_path / "data", classifier)
    assert (read, counts) == (1, {"written": 0, "skipped": 6, "failed": 0})  # one, so that settings are compared


def test_what_another_callback_wants_is_predicted_again(make_trainer, tmp_path, classifier):
    write_coco_folder(tmp_path / "data")

    class Watcher(Callback):
        seen = 0

        def on_predict_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
            self.seen += len(batch["id"])

    for _ in range(2):
        watcher = Watcher()
        run_counting(make_trainer, tmp_path / "s", tmp_path / "data", classifier, watcher)
        assert watcher.seen == 4
    other = SeedWriter(str(tmp_path / "other"), {"method": "center"})
    run_counting(make_trainer, tmp_path / "s", tmp_path / "data", classifier, other)
    assert other.counts["written"] == 4


def test_what_was_left_out_comes_back(tmp_path, make_trainer, classifier):
    write_coco_folder(tmp_path / "data")
    module = data(tmp_path / "data")
    for _ in range(2):
        make_trainer(callbacks=[SeedWriter(str(tmp_path / "s"))]).predict(classifier, datamodule=module)
    assert sum(len(batch["id"]) for batch in module.predict_dataloader()) == 4


@pytest.mark.parametrize(("scores", "share"), [("quarter", 10), ("none", 40)])
def test_small_files(make_trainer, tmp_path, classifier, scores, share):
    write_coco_folder(tmp_path / "data", images=2)
    for path in (tmp_path / "data" / "images").iterdir():
        noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
    content = json.loads((tmp_path / "data" / "instances.json").read_text())
    for entry in content["images"]:
        entry.update(height=300, width=400)
    (tmp_path / "data" / "instances.json").write_text(json.dumps(content))
    for kind in ("full", scores):
        writer = SeedWriter(
            str(tmp_path / kind), {"method": "gradient", "background": 0.15}, scores=kind, on_error="raise"
        )
        make_trainer(callbacks=[writer]).predict(classifier, datamodule=data(tmp_path / "data"))
    size = {kind: sum(f.stat().st_size for f in (tmp_path / kind).glob("00*")) for kind in ("full", scores)}
    assert size["full"] / size[scores] > share
    full, small = (read_seed(tmp_path / kind, "001") for kind in ("full", scores))
    assert torch.equal(full.mask, small.mask)
    assert small.scores.shape[1:] == (300, 400)
    if scores == "quarter":
        assert full.classes.tolist() == small.classes.tolist()
        assert (full.scores - small.scores).abs().mean() < 0.02
    with pytest.raises(FolderMismatchError, match="scores"):
        make_trainer(
            callbacks=[SeedWriter(str(tmp_path / "full"), {"method": "gradient", "background": 0.15}, scores=scores)]
        ).predict(classifier, datamodule=data(tmp_path / "data"))


def test_scores_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match="scores is one of full, quarter, none, got 'half'"):
        SeedWriter(str(tmp_path), scores="half")
