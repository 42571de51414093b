"""What the loggers got, read back from disk."""

import json

import numpy as np
import pytest
import torch
from callback_scenes import Classifier, Scenes, loader
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from logged_runs import logged_run
from PIL import Image
from torch.utils.data import DataLoader

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.mask_layers import byte_ids, relevant_pixels

EPOCHS, IMAGES = 3, 4


class Boxed(Scenes):
    """The scenes with boxes beside their masks."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        classes = sample["label"].nonzero().flatten()
        corners = [(sample["mask"] == c + 1).nonzero() for c in classes]
        boxes = [torch.cat([p.amin(0).flip(0), p.amax(0).flip(0) + 1]) for p in corners if len(p)]
        kept = classes[[len(p) > 0 for p in corners]]
        return {**sample, "boxes": torch.stack(boxes).float(), "box_labels": kept}


def listed(samples):
    stacked = {k: torch.stack([s[k] for s in samples]) for k in ("image", "label", "mask")}
    return {**stacked, **{k: [s[k] for s in samples] for k in ("boxes", "box_labels", "id")}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One training with Weights & Biases (offline) and TensorBoard: its folder and the records wandb wrote."""
    folder = tmp_path_factory.mktemp("run")
    with logged_run(folder) as logged:
        trainer = Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=logged.loggers,
            callbacks=[HedgeCallback(on_error="raise", max_images=IMAGES, max_fraction=None, animation=True)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            log_every_n_steps=1,
            accumulate_grad_batches=2,
        )
        data = DataLoader(Boxed(8), batch_size=4, collate_fn=listed)
        trainer.fit(Classifier(), loader(16, shuffle=True), data)
    return folder, logged.files, logged.records


def history(records):
    return [r["history"]["item"] for r in records if r["type"] == "history"]


def test_one_entry_per_look_at_lightnings_own_step(run):
    _, _, records = run
    looks = [item for item in history(records) if "hedge/panels._type" in item]
    metrics = [item for item in history(records) if "hedge/pointing_game" in item]
    assert len(looks) == len(metrics) == EPOCHS
    assert [i["trainer/global_step"] for i in looks] == [i["trainer/global_step"] for i in metrics]
    assert {i["hedge/panels.count"] for i in looks} == {i["hedge/overlays.count"] for i in looks} == {IMAGES}


def test_images_are_there_and_not_black(run):
    _, files, records = run
    for item in history(records):
        for key in ("hedge/panels", "hedge/overlays"):
            for name in item.get(f"{key}.filenames", []):
                pixels = np.asarray(Image.open(files / name).convert("RGB"))
                assert pixels.std() > 10
                assert pixels.mean() > 20


def test_images_carry_masks_and_boxes(run):
    _, files, records = run
    item = next(i for i in history(records) if "hedge/overlays._type" in i)
    assert {frozenset(m) for m in item["hedge/overlays.all_masks"]} == {frozenset({"relevance", "truth"})}
    truth = files / item["hedge/overlays.all_masks"][0]["truth"]["path"]
    expected = Scenes()[0]["mask"].numpy()
    assert np.array_equal(np.asarray(Image.open(truth)), expected)
    assert len(item["hedge/overlays.all_boxes"]) == IMAGES


def test_captions_name_the_images(run):
    _, _, records = run
    item = next(i for i in history(records) if "hedge/panels._type" in i)
    assert item["hedge/panels.captions"] == [f"scene_{i}" for i in range(IMAGES)]


def test_summaries_keep_the_best(run):
    _, _, records = run
    metrics = {m["name"]: m for m in (r["metric"] for r in records if r["type"] == "metric") if "name" in m}
    assert metrics["hedge/pointing_game"]["summary"] == {"max": True}
    assert metrics["hedge/outside_inside"]["summary"] == {"min": True}
    assert metrics["hedge/pointing_game"]["step_metric"] == "trainer/global_step"


def test_the_table_grows_by_its_new_rows(run):
    _, files, records = run
    items = [i for i in history(records) if "hedge/maps._type" in i]
    assert [i["hedge/maps.increment_num"] for i in items] == list(range(EPOCHS))
    assert {i["hedge/maps.log_mode"] for i in items} == {"INCREMENTAL"}
    maps = int(sum(Scenes()[i]["label"].sum() for i in range(IMAGES)))
    for epoch, item in enumerate(items):
        table = json.loads((files / item["hedge/maps.path"]).read_text())
        assert len(table["data"]) == maps
        assert {row[table["columns"].index("epoch")] for row in table["data"]} == {epoch}
        assert {row[table["columns"].index("class")] for row in table["data"]} <= {"square", "disc", "bar"}


def test_animations_are_logged(run):
    _, files, records = run
    item = next(i for i in history(records) if any("animations" in key for key in i))
    paths = [value for key, value in item.items() if "animations" in key and key.endswith(".path")]
    assert len(paths) == IMAGES
    assert Image.open(files / paths[0]).n_frames == EPOCHS


def test_tensorboard_has_the_images(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _, records = run
    events = EventAccumulator(str(folder / "tb" / "version_0"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    assert tags == [f"hedge/panels/{i:03d}" for i in range(IMAGES)]
    steps = [item["trainer/global_step"] for item in history(records) if "hedge/panels._type" in item]
    images = events.Images(tags[0])
    assert [image.step for image in images] == steps
    png = folder / "hedge"
    first = sorted(png.glob("epoch_000*/000_*.png"))[0]
    from io import BytesIO

    shown = np.asarray(Image.open(BytesIO(images[0].encoded_image_string)).convert("RGB"))
    assert np.array_equal(shown, np.asarray(Image.open(first)))


def test_csv_logger_has_the_metrics_and_its_folder_the_pictures(make_trainer, tmp_path):
    logger = CSVLogger(tmp_path, name="csv", version=0)
    trainer = make_trainer(logger=logger, callbacks=[HedgeCallback(on_error="raise")], log_every_n_steps=1)
    trainer.fit(Classifier(), loader(), loader())
    written = tmp_path / "csv" / "version_0"
    assert "hedge/pointing_game" in (written / "metrics.csv").read_text()
    assert len(list((written / "hedge").glob("epoch_*/look.json"))) == 2


def test_relevant_pixels_go_to_the_relatively_strongest_class():
    maps = np.array([[[1.0, 0.1, 0.0]], [[4.0, 10.0, -5.0]]])
    assert relevant_pixels(maps, [0, 6]).tolist() == [[1, 7, 0]]
    assert relevant_pixels(np.zeros((1, 2, 2)), [0]).sum() == 0


def test_masks_of_many_classes_are_cut_to_what_can_be_drawn():
    assert byte_ids(np.array([[0, 7, 254, 255, 900, 65535]]), 65535).tolist() == [[0, 7, 254, 0, 0, 255]]
    assert byte_ids(np.array([[0, 7, 254, 255]]), 255).tolist() == [[0, 7, 254, 255]]
