"""What a COCO folder is worth to a classifier: its split, its classes, and masks that are not opened for nothing."""

import json
import warnings

import pytest
from lightning.pytorch import LightningModule, Trainer
from miniatures import write_coco_folder, write_instances

from hedgeseg.data import CocoFolderDataModule, PseudoMaskDataModule, SelectedDataModule
from hedgeseg.data.split import split_indices

FISH, CRAB = 7, 3


def folder(root, without_fish=(), images=12):
    content = write_coco_folder(root, images)
    content["annotations"] = [
        item for item in content["annotations"] if item["category_id"] != FISH or item["image_id"] not in without_fish
    ]
    write_instances(root, content)
    return str(root)


def module(root, **options):
    return CocoFolderDataModule(root, **{"train_fraction": 0.5, "image_size": 32, "batch_size": 2} | options)


class Model(LightningModule):
    """Keeps the batches it is taught with."""

    def __init__(self, learns_from=None):
        super().__init__()
        self.learns_from = learns_from
        self.batches = []

    def training_step(self, batch, index):
        self.batches.append(batch)

    def configure_optimizers(self):
        return None


def fit(model, data):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, limit_val_batches=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, datamodule=data)
    return model.batches


def test_a_class_in_every_image_is_refused_where_a_classifier_learns_it(tmp_path):
    root = folder(tmp_path)
    with pytest.raises(ValueError, match="all 12 images show 'fish', so nothing could be learnt"):
        fit(Model("labels"), module(root))
    with pytest.raises(ValueError, match="all 6 images show 'crab'"):
        fit(Model("labels"), SelectedDataModule(module(root), ["crab"]))
    with pytest.warns(UserWarning, match="nothing could be learnt"):
        module(root).setup("fit")  # somebody else's network may learn something else


def test_nothing_is_refused_to_who_learns_from_masks(tmp_path):
    root = folder(tmp_path)
    assert len(fit(Model("masks"), module(root))) == 3
    (batch, *_) = fit(Model("masks"), PseudoMaskDataModule(module(root)))
    assert "mask" in batch
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        PseudoMaskDataModule(module(root)).setup("fit")
        module(root).setup("validate")


def test_masks_are_opened_for_those_who_learn_from_them(tmp_path):
    root = folder(tmp_path, without_fish=(100, 102))
    assert all("mask" not in batch for batch in fit(Model("labels"), module(root)))
    assert all("mask" in batch for model in (Model(), Model("masks")) for batch in fit(model, module(root)))
    data = module(root)
    fit(Model("labels"), data)
    assert "mask" in next(iter(data.val_dataloader()))
    assert data.train_dataset.masks  # only the loader of that fit went without


def test_the_split_is_drawn_alike_from_every_class(tmp_path):
    root = folder(tmp_path, without_fish=range(103, 112), images=12)
    for seed in range(6):
        data = module(root, train_fraction=0.67, seed=seed)
        data.setup("validate")
        for side in (data.train_dataset, data.val_dataset):
            found = [label for i in range(len(side)) for label in side.labels(i)]
            assert {0, 1} <= set(found), seed
            assert any(not side.labels(i) for i in range(len(side))), seed
    data = module(root, stratified=False)
    data.setup("validate")
    assert [data.train_dataset.indices, data.val_dataset.indices] == list(split_indices(12, 0.5, 0))


def roboflow(root, parts=("train", "valid", "test")):
    """Pictures beside the annotations, in a folder for each split; a parent category that nothing is annotated as."""
    for number, part in enumerate(parts):
        content = write_coco_folder(root / part, 4 - number)
        (root / part / "instances.json").unlink()
        for picture in (root / part / "images").iterdir():
            picture.rename(root / part / picture.name)
        (root / part / "images").rmdir()
        parent = [{"id": 0, "name": "animals", "supercategory": "none"}]
        content["categories"] = parent + [c | {"supercategory": "animals"} for c in content["categories"]]
        (root / part / "_annotations.coco.json").write_text(json.dumps(content))
    return str(root)


def test_folders_of_splits_are_the_split(tmp_path):
    data = module(roboflow(tmp_path), annotation="_annotations.coco.json")
    assert data.classes == ("crab", "fish")
    data.setup()
    assert data.train_dataset.ids == [f"train__00{i}" for i in range(4)]
    assert data.val_dataset.ids == [f"valid__00{i}" for i in range(3)]
    assert data.test_dataset.ids == ["test__000", "test__001"]
    assert len(data.predict_dataset) == 9
    assert [data.val_dataset.labels(i) for i in range(3)] == [(1,), (0, 1), (1,)]
    assert (data.val_dataset.mask(1) == 1).sum() == 16
    assert data.val_dataset.boxes(1)[1].tolist() == [1, 0]
    tested = module(roboflow(tmp_path / "b"), annotation="_annotations.coco.json", predict="test")
    tested.setup()
    assert len(tested.predict_dataset) == 2
    alone = module(roboflow(tmp_path / "c", ["train"]), annotation="_annotations.coco.json")
    with pytest.raises(ValueError, match="no folder of a split holds images to validate on"):
        alone.setup()


def test_one_folder_with_annotations_beside_its_pictures(tmp_path):
    roboflow(tmp_path, ["train"])
    data = module(str(tmp_path / "train"), annotation="_annotations.coco.json")
    data.setup()
    assert len(data.train_dataset) + len(data.val_dataset) == 4


def test_parts_with_other_classes_are_refused(tmp_path):
    roboflow(tmp_path)
    path = tmp_path / "valid" / "_annotations.coco.json"
    path.write_text(path.read_text().replace('"crab"', '"shrimp"'))
    with pytest.raises(ValueError, match=r"categories of .* differ: .'crab', 'shrimp'"):
        module(str(tmp_path), annotation="_annotations.coco.json").setup()
