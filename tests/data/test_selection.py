import numpy as np
import pytest

from hedgeseg.data import Shapes, ShapesDataModule
from hedgeseg.data.joined import JoinedImages
from hedgeseg.data.label_counts import label_counts
from hedgeseg.data.selection import SelectedClasses, SelectedDataModule


@pytest.fixture
def scenes():
    return Shapes(12, image_size=64)


def test_only_images_labels_masks_and_boxes_of_the_chosen_classes(scenes):
    chosen = SelectedClasses(scenes, ["star", "disc"])
    star, disc = scenes.classes.index("star"), scenes.classes.index("disc")
    assert chosen.ids == [name for i, name in enumerate(scenes.ids) if {star, disc} & set(scenes.labels(i))]
    for index, name in enumerate(chosen.ids):
        there = scenes.ids.index(name)
        before, after = scenes.mask(there), chosen.mask(index)
        assert (after[before == star + 1] == 1).all()
        assert (after[before == disc + 1] == 2).all()
        assert (after[before == 0] == 0).all()
        assert (after[~np.isin(before, [0, star + 1, disc + 1])] == 255).all()
        assert set(chosen.labels(index)) == {
            {star: 0, disc: 1}[label] for label in scenes.labels(there) if label in (star, disc)
        }
        assert set(chosen.boxes(index)[1].tolist()) == set(chosen.labels(index))


def test_the_others_may_be_background(scenes):
    chosen = SelectedClasses(scenes, ["star"], others="background")
    assert all(set(np.unique(chosen.mask(i))) <= {0, 1} for i in range(len(chosen)))


def test_names_that_are_not_there(scenes):
    for names in (["cat"], [], ["star", "star"]):
        with pytest.raises(ValueError, match="choose different ones of the classes"):
            SelectedClasses(scenes, names)
    with pytest.raises(ValueError, match="'void' or 'background'"):
        SelectedClasses(scenes, ["star"], others="ignored")


def test_a_data_module_of_which_some_classes_are_taken():
    module = SelectedDataModule(ShapesDataModule(num_train=8, num_val=8, num_predict=8, image_size=32), ["ring"])
    module.setup()
    assert module.num_classes == 1
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].shape == (len(module.val_dataset), 1)
    assert set(batch["mask"].unique().tolist()) <= {0, 1, 255}


def test_joined_images_keep_their_order_and_names(scenes):
    other = Shapes(3, "val", image_size=64)
    joined = JoinedImages([scenes, other])
    assert joined.ids == scenes.ids + other.ids
    assert np.array_equal(joined.image(13), other.image(1))
    assert joined.labels(14) == other.labels(2)
    assert np.array_equal(joined.mask(0), scenes.mask(0))
    with pytest.raises(ValueError, match="is in two of the data sets"):
        JoinedImages([scenes, Shapes(1, image_size=64)])


def test_labels_are_counted_as_shares_of_each_image(scenes):
    counts = label_counts(scenes)
    shares = np.array([np.bincount(scenes.mask(i).ravel(), minlength=7) / 64**2 for i in range(12)]).sum(0)
    assert counts.tolist() == pytest.approx((shares * 1e6).tolist(), abs=12)
    assert label_counts(scenes, limit=2).sum() == pytest.approx(2e6, abs=20)
