import pickle
import sys
import warnings

import numpy as np
import pytest
import torch

from hedgeseg.data import ImageNetSegmentation, ImageNetSegmentationDataModule, imagenet_wnids

h5py = pytest.importorskip("h5py")

NAMES = ("n02124075_1", "n01440764_22", "n02124075_3", "n99999999_4")  # the last is no class of the 1000


def photograph(row):
    pixels = np.full((20 + row, 30, 3), 40 * row, np.uint8)
    pixels[5:15, 8:20] = (200, 100, row)
    return pixels


def object_mask(row):
    mask = np.zeros((20 + row, 30), np.uint8)
    mask[5:15, 8:20] = 1
    return mask


def write_mat(path, names=NAMES, columns=("id", "target")):
    """A miniature in the layout of MATLAB 7.3: references, arrays transposed, text as codes of 16 bits."""
    with h5py.File(path, "w", userblock_size=512) as file:
        store, value = file.create_group("#refs#"), file.create_group("value")

        def put(name, array):
            return store.create_dataset(name, data=array).ref

        def column(name, references):
            data = value.create_dataset(name, (len(references), 1), dtype=h5py.ref_dtype)
            data[:, 0] = references

        def text(name, string):
            return put(name, np.array([[ord(c)] for c in string], np.uint16))

        def cell(name, reference):
            data = store.create_dataset(name, (1, 1), dtype=h5py.ref_dtype)
            data[0, 0] = reference
            return data.ref

        rows = range(len(names))
        column("img", [put(f"i{row}", photograph(row).transpose(2, 1, 0)) for row in rows])
        column("gt", [cell(f"c{row}", put(f"m{row}", object_mask(row).T)) for row in rows])
        if "id" in columns:
            column("id", [text(f"n{row}", names[row]) for row in rows])
        if "target" in columns:
            column("target", [text(f"t{row}", names[row][:9]) for row in rows])
    return path


@pytest.fixture
def mat(tmp_path):
    return write_mat(tmp_path / "gtsegs_ijcv.mat")


@pytest.fixture
def wnids(tmp_path):
    """A list of the 1000 ids in which the two classes of the miniature have the places 3 and 700."""
    order = [f"n1{number:07d}" for number in range(1000)]
    order[3], order[700] = "n01440764", "n02124075"
    path = tmp_path / "synsets.txt"
    path.write_text("\n".join(f"{wnid} some name, another" for wnid in order))
    return str(path)


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
