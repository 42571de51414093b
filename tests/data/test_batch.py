import pytest
import torch

from hedgeseg.data import VOID, Shapes, collate, void_id


def samples(n=3):
    data = Shapes(n, image_size=32)
    return [data[i] for i in range(n)]


def test_collate_stacks_and_lists():
    given = samples()
    batch = collate(given)
    assert batch["image"].shape == (3, 3, 32, 32)
    assert batch["label"].shape == (3, 6)
    assert batch["mask"].shape == (3, 32, 32)
    assert batch["index"].tolist() == [0, 1, 2]
    assert batch["size"].tolist() == [[32, 32]] * 3
    assert [len(boxes) for boxes in batch["boxes"]] == [len(sample["boxes"]) for sample in given]
    assert batch["id"] == ["train_00000", "train_00001", "train_00002"]


def test_single_labels_stack_to_a_vector():
    given = [{**sample, "label": torch.tensor(i)} for i, sample in enumerate(samples())]
    assert collate(given)["label"].tolist() == [0, 1, 2]


def test_a_batch_without_masks_has_no_mask():
    given = [{k: v for k, v in sample.items() if k != "mask"} for sample in samples()]
    assert "mask" not in collate(given)


@pytest.mark.parametrize("void", [255, 65535])
def test_an_image_without_a_mask_among_others_says_nothing(void):
    given = samples()
    if void != VOID:
        given = [{**sample, "void": torch.tensor(void)} for sample in given]
    for absent in (0, 1):
        some = [
            {k: v for k, v in s.items() if k not in ("mask", "void")} if i == absent else s for i, s in enumerate(given)
        ]
        batch = collate(some)
        assert batch["mask"][absent].unique().tolist() == [void]
        assert torch.equal(batch["mask"][2], given[2]["mask"])
        assert batch.get("void", torch.tensor([VOID] * 3)).tolist() == [void] * 3


def test_images_of_several_sizes():
    given = samples()
    given[1]["image"] = torch.zeros(3, 32, 40)
    with pytest.raises(ValueError, match="differ in shape"):
        collate(given)


def test_void_moves_out_of_the_way_of_many_classes():
    assert [void_id(count) for count in (1, 20, 254, 255, 919)] == [255, 255, 255, 65535, 65535]
    assert void_id(20) == VOID
    with pytest.raises(ValueError, match="70000 classes do not fit"):
        void_id(70000)


def test_void_is_told_only_where_it_is_unusual():
    assert "void" not in collate(samples())
