import torch

from hedgeseg.callbacks.batches import Example
from hedgeseg.callbacks.watchlist import Watchlist


def examples(*keys):
    return [Example(key, torch.zeros(3, 4, 4), (0,), True) for key in keys]


def keys(watchlist, loader=0):
    return [e.key for e in watchlist.examples(loader)]


def test_the_first_images_are_watched_for_ever():
    watchlist = Watchlist(3)
    watchlist.offer(0, examples("a", "b"))
    assert not watchlist.complete(0)
    watchlist.offer(0, examples("c", "d"))
    assert watchlist.complete(0)
    watchlist.offer(0, examples("e"))
    assert keys(watchlist) == ["a", "b", "c"]


def test_loaders_are_apart():
    watchlist = Watchlist(1)
    watchlist.offer(0, examples("a"))
    watchlist.offer(2, examples("b"))
    assert keys(watchlist, 0) == ["a"]
    assert keys(watchlist, 1) == []
    assert keys(watchlist, 2) == ["b"]


def resumed(state, size=3):
    watchlist = Watchlist(size)
    watchlist.load_state_dict(state)
    return watchlist


def test_a_resumed_run_finds_its_images_in_a_shuffled_loader():
    watchlist = Watchlist(3)
    watchlist.offer(0, examples("a", "b", "c"))
    state = watchlist.state_dict()
    again = resumed(state)
    again.offer(0, examples("x", "c", "y", "a"))
    assert not again.complete(0)
    again.offer(0, examples("b", "z"))
    assert again.complete(0)
    assert keys(again) == ["a", "b", "c"]
    assert again.state_dict() == state


def test_a_resumed_run_on_other_data_watches_other_images():
    again = resumed({"0": ["a", "b", "c"]})
    again.offer(0, examples("x", "y"))
    assert keys(again) == ["x", "y"]


def test_what_is_not_yet_found_stays_in_the_state():
    assert resumed({"0": ["a", "b"]}).state_dict() == {"0": ["a", "b"]}
