from collections import Counter
from functools import partial

import pytest
import torch
from callback_scenes import Classifier, small_network
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from hedgeseg.callbacks import HedgeCallback
from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.watchlist import Candidate, Spread, Watchlist


def example(key, labels=(0,)):
    return Example(key, torch.zeros(3, 4, 4), labels, True)


def candidates(keys, labels=None):
    labels = [(0,)] * len(keys) if labels is None else labels
    return [Candidate(k, row, partial(example, k, row)) for k, row in zip(keys, labels, strict=True)]


def keys(watchlist, loader=0, **kwargs):
    return [e.key for e in watchlist.examples(loader, **kwargs)]


def spread(size, labels):
    kept = Spread(size)
    for i, row in enumerate(labels):
        kept.offer(candidates([str(i)], [row])[0])
    return [e.labels for e in kept.examples()]


def counts(rows):
    return sorted(Counter(label for row in rows for label in (row or (None,))).items(), key=str)


SORTED = [(c,) for c in range(4) for _ in range(30)]


@pytest.mark.parametrize("labels", [SORTED, SORTED[::-1], SORTED[::7] + SORTED[::3]])
@pytest.mark.parametrize("size", [4, 8])
def test_every_class_is_watched_whatever_the_order(labels, size):
    assert counts(spread(size, labels)) == [(c, size // 4) for c in range(4)]


def test_any_first_part_is_spread_as_well():
    rows = spread(8, SORTED)
    assert len(set(rows[:4])) == len(set(rows[4:])) == 4


def test_a_rare_class_gets_its_share():
    labels = [(0,)] * 500
    labels[321] = labels[450] = (1,)
    assert counts(spread(6, labels)) == [(0, 4), (1, 2)]


def test_more_classes_than_places():
    assert len(set(spread(8, [(c,) for c in range(100) for _ in range(3)]))) == 8


def test_images_without_a_class_are_like_one_more():
    assert counts(spread(6, [(0,)] * 9 + [()] * 9 + [(1,)] * 9)) == [(0, 2), (1, 2), (None, 2)]


def test_several_labels():
    rows = spread(6, [(0, 1)] * 9 + [(0, 2)] * 9 + [(0, 3)] * 9)
    assert {label for row in rows for label in row} == {0, 1, 2, 3}


def test_the_first_images_stay_where_they_are_as_good():
    kept = Spread(3)
    for i in range(30):
        kept.offer(candidates([str(i)], [(i % 3,)])[0])
    assert [e.key for e in kept.examples()] == ["0", "1", "2"]


def test_images_are_copied_only_where_they_are_kept():
    taken = []

    def take(i):
        taken.append(i)
        return example(str(i), (i // 1000,))

    kept = Spread(4)
    for i in range(4000):
        kept.offer(Candidate(str(i), (i // 1000,), partial(take, i)))
    assert len(taken) <= 4 + 4


def test_the_choice_is_open_until_the_first_look_and_then_closed():
    watchlist = Watchlist(3)
    watchlist.offer(0, candidates("abcd"))
    assert not watchlist.complete(0)
    watchlist.offer(0, candidates("e", [(1,)]))
    assert keys(watchlist) == ["a", "e", "b"]
    assert watchlist.complete(0)


def test_where_nothing_is_known_the_first_images_do():
    watchlist = Watchlist(2)
    watchlist.offer(0, candidates("abc", [None] * 3))
    assert watchlist.complete(0)
    assert keys(watchlist) == ["a", "b"]


def test_images_there_is_nothing_to_explain_in_take_no_place():
    def labelled(e):
        return bool(e.labels)

    watchlist, both = Watchlist(4), Watchlist(4)
    for w in (watchlist, both):
        w.offer(0, candidates("abcdefgh", [()] * 4 + [(0,)] * 4))
    assert keys(watchlist, wants=labelled) == ["e", "f", "g", "h"]
    assert sorted(keys(both)) == ["a", "b", "e", "f"]


def test_loaders_are_apart():
    watchlist = Watchlist(1)
    watchlist.offer(0, candidates("a"))
    watchlist.offer(2, candidates("b"))
    assert [keys(watchlist, i) for i in range(3)] == [["a"], [], ["b"]]


def resumed(state, size=3):
    watchlist = Watchlist(size)
    watchlist.load_state_dict(state)
    return watchlist


def test_a_resumed_run_finds_its_images_in_a_shuffled_loader():
    watchlist = Watchlist(3)
    watchlist.offer(0, candidates("abc"))
    assert keys(watchlist) == ["a", "b", "c"]
    state = watchlist.state_dict()
    again = resumed(state)
    again.offer(0, candidates("xcya"))
    assert not again.complete(0)
    again.offer(0, candidates("bz"))
    assert again.complete(0)
    assert keys(again) == ["a", "b", "c"]
    assert again.state_dict() == state
    assert again.lost == []


def test_what_the_data_no_longer_has_is_known():
    again = resumed({"0": ["a", "b", "c"]})
    again.offer(0, candidates("cxya"))
    assert keys(again) == ["a", "c"]
    assert again.lost == ["b"]


def test_a_resumed_run_on_other_data_watches_other_images():
    again = resumed({"0": ["a", "b", "c"]})
    again.offer(0, candidates("xyz", [(0,), (0,), (1,)]))
    assert keys(again) == ["x", "z", "y"]


def test_what_is_not_yet_found_stays_in_the_state():
    assert resumed({"0": ["a", "b"]}).state_dict() == {"0": ["a", "b"]}


def test_a_key_that_comes_twice_is_watched_once():
    again = resumed({"0": ["a", "b"]})
    again.offer(0, candidates("aaab"))
    assert keys(again) == ["a", "b"]


# In a training


class Folders(Dataset):
    """Images of sorted class folders, as torchvision's ImageFolder gives them: index, no ids."""

    classes = ("ant", "bee", "cow", "dog")

    def __init__(self, each=8):
        self.each = each

    def __len__(self):
        return len(self.classes) * self.each

    def __getitem__(self, index):
        label = index // self.each
        image = 0.1 * torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(index))
        image[label % 3] += 1
        return image, label


class Stream(IterableDataset):
    def __iter__(self):
        folders = Folders()
        return (folders[i] for i in range(len(folders)))


class Softmax(Classifier):
    def __init__(self):
        super().__init__(small_network(4))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self(batch[0])


@pytest.mark.parametrize("data", [Folders, Stream])
def test_sorted_class_folders_show_every_class(make_trainer, tmp_path, data):
    seen = []
    for epochs, resume in ((1, False), (2, True)):
        callback = HedgeCallback(on_error="raise", max_fraction=None)
        trainer = make_trainer(max_epochs=epochs, callbacks=[callback])
        path = tmp_path / "last.ckpt"
        trainer.fit(
            Softmax(), DataLoader(Folders(1), 4), DataLoader(data(), 4), ckpt_path=path if resume else None,
            weights_only=True,
        )  # fmt: skip
        trainer.save_checkpoint(path)
        watched = callback._monitors["fit"].watchlist.examples(0)
        seen.append([e.key for e in watched])
        assert [e.labels for e in watched] == [(0,), (1,), (2,), (3,)] * 2
    assert seen[0] == seen[1]
