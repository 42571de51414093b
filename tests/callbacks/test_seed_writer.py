import json
import os
import signal

import numpy as np
import pytest
import torch
from callback_scenes import Classifier, Scenes, loader
from lightning.pytorch.utilities.exceptions import SIGTERMException
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from hedgeseg.attribution.errors import NonFiniteError
from hedgeseg.callbacks import SeedWriter
from hedgeseg.seeds import MapSource, SeedGenerator, read_seed
from hedgeseg.seeds.auto_level import Auto, PooledMoments
from hedgeseg.seeds.cutting import cut_seed
from hedgeseg.seeds.fusion import normalise
from hedgeseg.seeds.manifest import FolderMismatchError
from hedgeseg.seeds.maps import checked_maps
from hedgeseg.seeds.multiscale import resize, unflip
from hedgeseg.seeds.smoothing import smooth
from hedgeseg.seeds.spread import affinity
from hedgeseg.visual import voc_palette


class Sized(Scenes):
    """Scenes that say how large the original image was, one of them with an id that cannot be a file."""

    bad = False

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        identifier = "../escape" if self.bad and index == 1 else sample["id"]
        return {**sample, "size": torch.tensor([40 + index, 60]), "index": index, "id": identifier}

    def image(self, index):
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (40 + index, 60, 3), dtype=np.uint8)


def predict(make_trainer, writer, data=None, module=None):
    trainer = make_trainer(callbacks=[writer])
    trainer.predict(module or Classifier(), data or DataLoader(Sized(4), batch_size=2), return_predictions=False)
    return writer


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Classifier()


def test_one_pair_of_files_per_image(make_trainer, tmp_path, module):
    writer = predict(make_trainer, SeedWriter(str(tmp_path / "seeds"), on_error="raise"), module=module)
    assert writer.counts == {"written": 4, "skipped": 0, "failed": 0}
    for index in range(4):
        seed = read_seed(tmp_path / "seeds", f"scene_{index}")
        assert seed.size == (40 + index, 60)
        assert seed.classes.tolist() == Scenes()[index]["label"].nonzero().flatten().tolist()
        png = Image.open(tmp_path / "seeds" / f"scene_{index}.png")
        assert png.mode == "P"
        assert np.array_equal(np.array(png.getpalette()).reshape(-1, 3), voc_palette())


def test_an_image_of_no_class_gets_a_mask_of_background_without_an_attribution_call(make_trainer, tmp_path, module):
    asked = []

    def method(model, images, targets):
        asked.append(torch.as_tensor(targets).tolist())
        return torch.rand(len(images), len(targets[0]), *images.shape[-2:])

    class Negatives(Sized):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return {**sample, "label": torch.zeros_like(sample["label"])} if index == 1 else sample

    writer = SeedWriter(str(tmp_path / "seeds"), SeedGenerator(method=method), on_error="raise")
    predict(make_trainer, writer, DataLoader(Negatives(2), batch_size=2), module)
    assert writer.counts == {"written": 2, "skipped": 0, "failed": 0}
    assert len(asked) == 1
    seed = read_seed(tmp_path / "seeds", "scene_1")
    assert seed.classes.tolist() == []
    assert seed.size == (41, 60)
    assert not seed.mask.any()


def test_the_seed_is_the_generators(make_trainer, tmp_path, module):
    predict(make_trainer, SeedWriter(str(tmp_path / "seeds"), {"flip": True}, on_error="raise"), module=module)
    sample = Sized()[2]
    expected = SeedGenerator(flip=True)(module, sample["image"], sample["label"].nonzero().flatten(), size=(42, 60))
    torch.testing.assert_close(read_seed(tmp_path / "seeds", "scene_2").scores, expected.scores, rtol=1e-4, atol=1e-5)


def test_a_second_run_does_what_is_missing(make_trainer, tmp_path, module):
    folder = tmp_path / "seeds"
    predict(make_trainer, SeedWriter(str(folder)), module=module)
    (folder / "scene_3.png").unlink()
    before = (folder / "scene_0.npz").stat().st_mtime_ns
    again = predict(make_trainer, SeedWriter(str(folder)), module=module)
    assert again.counts == {"written": 1, "skipped": 3, "failed": 0}
    assert (folder / "scene_0.npz").stat().st_mtime_ns == before


def test_a_polite_kill_stops_after_the_batch_and_is_gone_on_with(make_trainer, tmp_path, module):
    class Terminated(SeedWriter):
        def _save(self, identifier, result):
            super()._save(identifier, result)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SIGTERMException):
        predict(make_trainer, Terminated(str(tmp_path)), module=module)
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert predict(make_trainer, SeedWriter(str(tmp_path)), module=module).counts["written"] == 2


def test_another_network_or_other_settings_are_refused(make_trainer, tmp_path, module):
    folder = str(tmp_path / "seeds")
    predict(make_trainer, SeedWriter(folder), module=module)
    with pytest.raises(FolderMismatchError, match="background"):
        predict(make_trainer, SeedWriter(folder, {"background": 0.3}), module=module)
    with pytest.raises(FolderMismatchError, match="weights"):
        predict(make_trainer, SeedWriter(folder), module=Classifier())


def test_an_image_that_fails_is_named_and_the_others_go_on(make_trainer, tmp_path, module):
    folder = tmp_path / "seeds"
    data = Sized(4)
    data.bad = True
    writer = SeedWriter(str(folder))
    with pytest.warns(UserWarning, match=r"image '\.\./escape' has no seed: ValueError"):
        predict(make_trainer, writer, DataLoader(data, batch_size=2), module)
    assert writer.counts == {"written": 3, "skipped": 0, "failed": 1}
    assert not (tmp_path / "escape.png").exists()
    with pytest.raises(ValueError, match="escape"):
        predict(make_trainer, SeedWriter(str(folder), on_error="raise"), DataLoader(data, batch_size=2), module)


def test_a_network_that_is_not_finite_is_refused_with_the_id(make_trainer, tmp_path, module):
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] = float("inf")
    writer = SeedWriter(str(tmp_path / "seeds"), {"flip": True}, on_error="raise")
    with pytest.raises(NonFiniteError, match=r"'scene_0'.*weight"):
        predict(make_trainer, writer, module=module)


def test_failures_are_kept_and_tried_again(make_trainer, tmp_path, module):
    folder = tmp_path / "seeds"

    class Broken(SeedGenerator):
        broken = True

        def __call__(self, model, image, classes, **kwargs):
            if self.broken and kwargs["size"][0] == 41:
                raise RuntimeError("out of luck")
            return super().__call__(model, image, classes, **kwargs)

    generator = Broken()
    with pytest.warns(UserWarning, match=r"1 images have no seed.*scene_1: RuntimeError: out of luck"):
        predict(make_trainer, SeedWriter(str(folder), generator), module=module)
    generator.broken = False
    again = predict(make_trainer, SeedWriter(str(folder), generator), module=module)
    assert again.counts == {"written": 1, "skipped": 3, "failed": 0}
    assert again._manifest.failures() == {}


def test_predicted_classes(make_trainer, tmp_path, module):
    with torch.no_grad():
        module.network[-1].weight.zero_()
        module.network[-1].bias.copy_(torch.tensor([-1.0, 2.0, 1.0]))
    predict(make_trainer, SeedWriter(str(tmp_path / "s"), target="predicted", on_error="raise"), module=module)
    assert read_seed(tmp_path / "s", "scene_0").classes.tolist() == [1, 2]


def test_images_without_ids_are_numbered_by_the_data_set(make_trainer, tmp_path, module):
    images = [(Scenes()[i]["image"], torch.tensor(i % 3)) for i in range(3)]

    class Pairs(Classifier):
        def predict_step(self, batch, batch_idx, dataloader_idx=0):
            return self(batch[0])

    predict(make_trainer, SeedWriter(str(tmp_path / "s"), on_error="raise"), DataLoader(images, batch_size=2), Pairs())
    assert {p.name for p in (tmp_path / "s").glob("*.png")} == {f"0_00000{i}.png" for i in range(3)}


def test_the_refiner_sees_the_original_photograph(make_trainer, tmp_path, module):
    shown = []

    def refine(image, probabilities):
        shown.append(np.asarray(image))
        return probabilities

    writer = SeedWriter(str(tmp_path / "s"), {"refine": refine}, on_error="raise")
    predict(make_trainer, writer, module=module)
    assert np.array_equal(shown[1], Sized().image(1))


def test_a_mask_of_no_label_is_background(make_trainer, tmp_path, module):
    samples = [{**Sized()[0], "label": torch.zeros(3)}]
    predict(make_trainer, SeedWriter(str(tmp_path / "s"), on_error="raise"), DataLoader(samples), module)
    seed = read_seed(tmp_path / "s", "scene_0")
    assert len(seed.classes) == 0
    assert seed.mask.sum() == 0


def test_settings_are_on_disk(make_trainer, tmp_path, module):
    predict(make_trainer, SeedWriter(str(tmp_path / "s"), {"background": 0.2}), loader(2), module)
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["config"]["classes"] == "label"
    assert len(manifest["config"]["weights"]) == 64


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="target is 'label' or 'predicted'"):
        SeedWriter(str(tmp_path), target="labels")
    with pytest.raises(ValueError, match="on_error"):
        SeedWriter(str(tmp_path), on_error="ignore")


def test_auto_cuts_at_the_levels_of_all_images(make_trainer, tmp_path, module):
    generator = SeedGenerator(method="grad_cam", background="auto", refine="guided")
    writer = predict(make_trainer, SeedWriter(str(tmp_path / "seeds"), generator, on_error="raise"), module=module)
    levels = json.loads((tmp_path / "seeds" / "levels.json").read_text())
    pooled = PooledMoments()
    seeds = [read_seed(tmp_path / "seeds", f"scene_{index}") for index in range(4)]
    for seed in seeds:
        pooled.add(seed.scores, seed.classes.tolist())
    assert {int(c): level for c, level in levels.items()} == {int(c): Auto().level(pooled[int(c)]) for c in levels}
    for index, seed in enumerate(seeds):
        rule = Auto().over(pooled, seed.classes.tolist())
        picture = torch.from_numpy(Sized().image(index))
        wanted = cut_seed(seed.scores, seed.classes, rule, generator.refiner, lambda picture=picture: picture)
        assert torch.equal(seed.mask, wanted.mask)
    assert writer.counts["written"] == 4


def test_auto_after_a_stop_is_what_it_is_without_one(make_trainer, tmp_path, module):
    for folder, parts in (("whole", [4]), ("stopped", [2, 4])):
        for count in parts:
            data = DataLoader(Sized(count), batch_size=2)
            predict(make_trainer, SeedWriter(str(tmp_path / folder), on_error="raise"), data, module)
    for index in range(4):
        for suffix in ("png", "npz"):
            whole, stopped = (tmp_path / f / f"scene_{index}.{suffix}" for f in ("whole", "stopped"))
            assert whole.read_bytes() == stopped.read_bytes()
    assert (tmp_path / "whole" / "levels.json").read_text() == (tmp_path / "stopped" / "levels.json").read_text()


def test_auto_is_not_cut_again_where_nothing_is_new(make_trainer, tmp_path, module):
    times = []
    for _ in range(2):
        predict(make_trainer, SeedWriter(str(tmp_path / "seeds"), on_error="raise"), module=module)
        times.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "seeds").glob("*.png")})
    assert times[0] == times[1]


def test_auto_with_scores_made_smaller_keeps_them_as_they_are(make_trainer, tmp_path, module):
    folder, kept = tmp_path / "seeds", []
    for _ in range(2):
        predict(make_trainer, SeedWriter(str(folder), scores="quarter", on_error="raise"), module=module)
        kept.append({path.name: path.read_bytes() for path in folder.glob("scene_*")})
        (folder / "levels.json").unlink()
    assert kept[0] == kept[1]


def test_auto_without_scores_stays_at_the_levels_of_the_images(make_trainer, tmp_path, module):
    generator = SeedGenerator(method="grad_cam")
    writer = SeedWriter(str(tmp_path / "seeds"), generator, scores="none", on_error="raise")
    predict(make_trainer, writer, module=module)
    assert not (tmp_path / "seeds" / "levels.json").exists()
    sample = Sized()[0]
    labels = sample["label"].nonzero().flatten()
    alone = generator(module.eval(), sample["image"], labels, size=(40, 60))
    assert np.array_equal(np.array(Image.open(tmp_path / "seeds" / "scene_0.png")), alone.mask.numpy())


class Recorded:
    """A function that makes maps, and notes how many images it was asked for at a time."""

    def __init__(self, source):
        self.source, self.asked = source, []

    def __call__(self, model, images, targets):
        self.asked.append(len(images))
        return self.source(model, images, targets)


def test_images_of_one_shape_and_number_of_classes_are_explained_in_one_call(make_trainer, tmp_path, module):
    class One(Sized):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "label": torch.eye(3)[index % 3]}

    source = Recorded(MapSource("hedge"))
    generator = SeedGenerator(method=source, flip=True, spread=False)
    for folder, together in (("several", 3), ("alone", None)):
        writer = SeedWriter(str(tmp_path / folder), generator, together=together, on_error="raise")
        predict(make_trainer, writer, DataLoader(One(4), batch_size=2), module)
    assert source.asked == [6, 2, 2, 2, 2, 2]  # an image and its mirror image; three wait for each other across batches
    for index in range(4):
        several, alone = (read_seed(tmp_path / folder, f"scene_{index}") for folder in ("several", "alone"))
        torch.testing.assert_close(several.scores, alone.scores, rtol=1e-4, atol=1e-5)
        assert (several.mask != alone.mask).float().mean() < 0.002


def test_of_several_images_one_that_fails_costs_only_itself(make_trainer, tmp_path, module):
    def fails_on_dark_images(model, images, targets):
        if len(images) > 1 or images.sum() == 0:
            raise RuntimeError("out of memory, say")
        return images[:, :1].abs().expand(-1, len(targets[0]), -1, -1)

    class Dark(Sized):
        def __getitem__(self, index):
            sample = {**super().__getitem__(index), "label": torch.eye(3)[0]}
            return {**sample, "image": sample["image"] * 0} if index == 1 else sample

    writer = SeedWriter(str(tmp_path / "s"), SeedGenerator(method=fails_on_dark_images))
    with pytest.warns(UserWarning, match="'scene_1' has no seed: RuntimeError: out of memory, say"):
        predict(make_trainer, writer, DataLoader(Dark(4), batch_size=4), module)
    assert writer.counts == {"written": 3, "skipped": 0, "failed": 1}


def test_likeness_is_overheard_in_the_pass_that_makes_the_maps(make_trainer, tmp_path, module):
    """The network is run by Lightning, and once by attribution; `spread` runs it no third time."""
    torch.manual_seed(0)
    module.network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    passes = []
    module.network.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    writer = SeedWriter(str(tmp_path / "s"), {"method": "hedge", "spread": True, "flip": True}, on_error="raise")
    predict(make_trainer, writer, DataLoader(Sized(1), batch_size=1), module)
    assert passes == [1, 2]
    sample = Sized()[0]
    labels = sample["label"].nonzero().flatten().tolist()
    maps = checked_maps(
        MapSource("hedge"), module, torch.stack([sample["image"], sample["image"].flip(-1)]), [labels] * 2
    )
    alike = affinity(module, sample["image"])
    looks = unflip(smooth(maps.clamp(min=0), 0.02))
    wanted = normalise(resize(alike.spread(normalise(resize(looks, alike.size).sum(0))), (40, 60)))
    torch.testing.assert_close(read_seed(tmp_path / "s", "scene_0").scores, wanted, rtol=1e-4, atol=1e-5)
