import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from miniatures import MAT_NAMES as NAMES
from miniatures import mat_object as object_mask
from miniatures import mat_photograph as photograph
from miniatures import write_mat, write_wnids

from hedgeseg.data import ImageNetSegmentation, ImageNetSegmentationDataModule, imagenet_wnids

h5py = pytest.importorskip("h5py")


@pytest.fixture
def mat(tmp_path):
    return write_mat(tmp_path / "gtsegs_ijcv.mat")


@pytest.fixture
def wnids(tmp_path):
    return write_wnids(tmp_path / "synsets.txt")


def test_pixels_masks_and_boxes_are_those_of_the_file(mat):
    data = ImageNetSegmentation(mat)
    assert data.classes == ("n01440764", "n02124075", "n99999999")
    assert data.ids == list(NAMES)
    assert [data.labels(i) for i in range(4)] == [(1,), (0,), (1,), (2,)]
    for row in range(4):
        assert np.array_equal(data.image(row), photograph(row))
        assert np.array_equal(data.mask(row), object_mask(row) * (data.labels(row)[0] + 1))
        boxes, labels = data.boxes(row)
        assert boxes.tolist() == [[8, 5, 20, 15]]
        assert labels.tolist() == list(data.labels(row))


def test_indices_are_imagenets_and_other_classes_are_counted(mat, wnids):
    module = ImageNetSegmentationDataModule(str(mat), wnids=wnids, image_size=[40, 60], batch_size=3)
    assert module.num_classes == 1000
    with pytest.warns(UserWarning, match="3 of 4 images used; 1 without a label: n99999999_4"):
        module.setup()
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].tolist() == [700, 3, 700]
    assert batch["void"].tolist() == [65535] * 3
    expected = torch.zeros(40, 60, dtype=torch.int64)
    expected[10:30, 16:40] = 701
    assert torch.equal(batch["mask"][0], expected)
    assert batch["boxes"][0].tolist() == [[16, 10, 40, 30]]
    assert batch["size"].tolist() == [[20, 30], [21, 30], [22, 30]]


def test_own_classes_need_no_list(mat):
    module = ImageNetSegmentationDataModule(str(mat), labels="own", image_size=32, batch_size=4)
    assert module.num_classes == 3
    module.setup()
    assert next(iter(module.predict_dataloader()))["label"].tolist() == [1, 0, 1, 2]
    with pytest.raises(RuntimeError, match="no train set"):
        module.train_dataloader()
    with pytest.raises(ValueError, match="no use with labels='own'"):
        ImageNetSegmentationDataModule(str(mat), labels="own", wnids="x.txt")


def test_workers_open_the_file_themselves(mat):
    module = ImageNetSegmentationDataModule(str(mat), labels="own", image_size=32, batch_size=2, num_workers=2)
    module.setup()
    module.val_dataset.image(0)  # now the file is open in this process
    assert [batch["id"] for batch in module.val_dataloader()] == [list(NAMES[:2]), list(NAMES[2:])]
    again = pickle.loads(pickle.dumps(module.val_dataset))
    assert np.array_equal(again.image(1), photograph(1))


@pytest.mark.parametrize("columns", [("id",), ("target",)])
def test_either_text_names_the_class(tmp_path, columns):
    data = ImageNetSegmentation(write_mat(tmp_path / "x.mat", columns=columns))
    assert data.labels(0) == (1,)
    assert data.ids[0] == ("n02124075_1" if columns == ("id",) else "0000")


def test_half_downloaded_file(mat):
    content = mat.read_bytes()
    mat.write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=r"only half downloaded.*Delete it and get it from http"):
        ImageNetSegmentation(mat)
    mat.write_text("<html>404</html>")
    with pytest.raises(OSError, match="broken or only half downloaded"):
        ImageNetSegmentation(mat)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not found: get it from http.*gtsegs_ijcv\.mat"):
        ImageNetSegmentation(tmp_path / "gtsegs_ijcv.mat")
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match=r"is not gtsegs_ijcv\.mat"):
        ImageNetSegmentation(tmp_path / "other.mat")
    with pytest.raises(ValueError, match="row 0: no WordNet id"):
        ImageNetSegmentation(write_mat(tmp_path / "odd.mat", names=("cat", "dog")))


def test_without_h5py(mat, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'hedgeseg\[matlab\]'"):
        ImageNetSegmentation(mat)


def test_nothing_is_said_where_nothing_was_left_out(mat):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ImageNetSegmentation(mat).report.kept == 4


def test_list_of_classes_may_come_from_timm():
    pytest.importorskip("timm")
    assert imagenet_wnids()[:2] == ("n01440764", "n01443537")
    assert list(imagenet_wnids()) == sorted(imagenet_wnids())  # ImageNet's order is alphabetical
