"""Files are opened the way the tools they are for open them (their few lines of reading, spelt out here)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hedgeseg.seeds import Seed
from hedgeseg.seeds.formats import (
    read_clip_es,
    read_irn,
    read_psa,
    read_psa_crf,
    read_wsol,
    write_clip_es,
    write_irn,
    write_psa,
    write_psa_crf,
    write_wsol,
)


@pytest.fixture
def seed():
    scores = torch.rand(2, 10, 13, generator=torch.Generator().manual_seed(0)) / 2
    return Seed(scores, [3, 14], torch.zeros(10, 13))


def test_irn_eval_cam_reads_it(tmp_path, seed):
    cam_dict = np.load(write_irn(tmp_path, "2007_000032", seed), allow_pickle=True).item()
    cams = np.pad(cam_dict["high_res"], ((1, 0), (0, 0), (0, 0)), mode="constant", constant_values=0.3)
    keys = np.pad(cam_dict["keys"] + 1, (1, 0), mode="constant")
    labels = keys[np.argmax(cams, axis=0)]
    assert labels.shape == (10, 13)
    assert set(np.unique(labels)) == {0, 4, 15}


def test_irn_random_walk_reads_it(tmp_path, seed):
    cam_dict = np.load(write_irn(tmp_path, "x", seed), allow_pickle=True).item()
    cams = cam_dict["cam"].cpu()
    assert cams.shape == (2, 3, 4)
    up = F.interpolate(cams.unsqueeze(1), scale_factor=4, mode="bilinear", align_corners=False)
    assert up[..., 0, :10, :13].shape == (2, 10, 13)


def test_psa_reads_it(tmp_path, seed):
    cam_dict = np.load(write_psa(tmp_path, "x", seed), allow_pickle=True).item()
    tensor = np.zeros((21, 10, 13), np.float32)
    for key in cam_dict:
        tensor[key + 1] = cam_dict[key]
    assert np.array_equal(tensor[[4, 15]], seed.scores.numpy())


def test_psa_affinity_labels_read_crf_results(tmp_path, seed):
    crf = np.load(write_psa_crf(tmp_path, "x", seed), allow_pickle=True).item()
    assert list(crf) == [0, 4, 15]
    stacked = np.array(list(crf.values()))
    assert np.allclose(stacked.sum(0), 1, atol=1e-6)
    label = np.array(list(crf.keys()))[np.argmax(stacked, 0)]
    assert set(np.unique(label)) <= {0, 4, 15}


def test_the_power_background_of_psa(tmp_path, seed):
    crf = np.load(write_psa_crf(tmp_path, "x", seed, alpha=4), allow_pickle=True).item()
    assert np.allclose(crf[0], (1 - seed.scores.numpy().max(0)) ** 4)


def test_clip_es_reads_it(tmp_path, seed):
    cam_dict = np.load(write_clip_es(tmp_path, "x", seed), allow_pickle=True).item()
    cams, keys = cam_dict["attn_highres"], np.pad(cam_dict["keys"] + 1, (1, 0), mode="constant")
    assert cams.dtype == np.float16
    background = np.power(1 - np.max(cams, axis=0, keepdims=True), 1)
    label = keys[np.argmax(np.concatenate((background, cams), axis=0), axis=0)]
    assert label.shape == (10, 13)


def test_the_wsol_evaluation_reads_it(tmp_path, seed):
    one = Seed(seed.scores[:1], [3], seed.mask)
    write_wsol(tmp_path, "val/ILSVRC2012_val_00000001.JPEG", one)
    cam = np.load(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG.npy")
    assert cam.shape == (10, 13)
    assert not np.isnan(cam).any()
    assert 0 <= cam.min() <= cam.max() <= 1
    with pytest.raises(ValueError, match="of one class"):
        write_wsol(tmp_path, "x", seed)


@pytest.mark.parametrize(
    ("write", "read", "tolerance"),
    [
        (write_irn, read_irn, 0),
        (write_psa, read_psa, 0),
        (write_psa_crf, read_psa_crf, 0),
        (write_clip_es, read_clip_es, 1e-3),
    ],
)
def test_what_is_written_is_read_only_when_pickles_are_allowed(tmp_path, seed, write, read, tolerance):
    write(tmp_path, "x", seed)
    with pytest.raises(ValueError, match="pickle"):
        read(tmp_path, "x")
    scores, classes = read(tmp_path, "x", allow_pickle=True)
    assert classes.tolist() == [3, 14]
    assert classes.dtype == np.int64
    assert scores.dtype == np.float32
    assert np.abs(scores - seed.scores.numpy()).max() <= tolerance


def test_wsol_round_trip(tmp_path, seed):
    write_wsol(tmp_path, "x", Seed(seed.scores[1:], [14], seed.mask))
    scores, classes = read_wsol(tmp_path, "x", class_index=14)
    assert np.array_equal(scores, seed.scores[1:].numpy())
    assert classes.tolist() == [14]


def test_the_two_psa_layouts_are_told_apart(tmp_path, seed):
    write_psa(tmp_path, "plain", seed)
    with pytest.raises(ValueError, match="read it as 'psa'"):
        read_psa_crf(tmp_path, "plain", allow_pickle=True)


def test_formats_mistaken_for_each_other_are_named(tmp_path, seed):
    write_psa(tmp_path, "psa", seed)
    write_wsol(tmp_path, "wsol", Seed(seed.scores[:1], [3], seed.mask))
    with pytest.raises(ValueError, match="'high_res'"):
        read_irn(tmp_path, "psa", allow_pickle=True)
    with pytest.raises(ValueError, match="attn_highres"):
        read_clip_es(tmp_path, "psa", allow_pickle=True)
    with pytest.raises(ValueError, match="not a dictionary"):
        read_psa(tmp_path, "wsol", allow_pickle=True)
    with pytest.raises(ValueError, match="holds a pickle"):
        read_wsol(tmp_path, "psa")


def test_images_without_labels(tmp_path):
    blank = Seed(torch.zeros(0, 8, 9), [], torch.zeros(8, 9))
    write_irn(tmp_path, "irn", blank)
    write_psa_crf(tmp_path, "crf", blank)
    assert read_irn(tmp_path, "irn", allow_pickle=True).scores.shape == (0, 8, 9)
    assert read_psa_crf(tmp_path, "crf", allow_pickle=True).scores.shape == (0, 8, 9)
