import torch
from torch.utils.data import DataLoader

from hedgeseg.data import Shapes, collate, train_transform
from hedgeseg.pipeline.repeatable import RepeatableImages, RepeatableOrder


def epoch(number, workers=0, seed=3):
    scenes = Shapes(7, image_size=32, transform=train_transform(32))
    scenes.random = True
    loader = DataLoader(
        RepeatableImages(scenes),
        batch_size=3,
        sampler=RepeatableOrder(7, seed, lambda: number),
        num_workers=workers,
        collate_fn=collate,
    )
    batches = list(loader)
    return [name for batch in batches for name in batch["id"]], torch.cat([batch["image"] for batch in batches])


def test_an_epoch_depends_on_its_number_and_the_seed_alone():
    torch.manual_seed(0)
    names, images = epoch(4)
    torch.manual_seed(1)
    again, same = epoch(4)
    assert names == again
    assert torch.equal(images, same)
    assert sorted(names) == sorted(Shapes(7).ids)
    assert epoch(5)[0] != names
    assert epoch(4, seed=4)[0] != names


def test_nor_does_it_depend_on_the_number_of_processes():
    names, images = epoch(2)
    other, same = epoch(2, workers=2)
    assert names == other
    assert torch.equal(images, same)


def test_what_is_drawn_elsewhere_goes_on_as_it_would():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    scenes = Shapes(2, image_size=32, transform=train_transform(32))
    scenes.random = True
    RepeatableImages(scenes)[0, 99]
    assert torch.equal(torch.rand(3), expected)
