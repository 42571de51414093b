import numpy as np
import pytest
from miniatures import write_pets
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from hedgeseg.data import PetDataModule
from hedgeseg.data.archives import archives_of
from hedgeseg.data.pet import PET, read_pet_list


@pytest.fixture
def pets(tmp_path):
    return write_pets(tmp_path)


def test_trimap_becomes_mask_and_box(pets):
    module = PetDataModule(str(pets), image_size=[40, 60])
    assert module.classes == ("Abyssinian", "american_bulldog")
    module.setup()
    batch = next(iter(module.val_dataloader()))
    assert batch["label"].tolist() == [1]
    expected = np.zeros((40, 60), np.int64)
    expected[8:28, 10:50] = 255
    expected[12:24, 16:44] = 2
    assert np.array_equal(batch["mask"][0].numpy(), expected)
    assert batch["boxes"][0].tolist() == [[16, 12, 44, 24]]
    assert batch["box_labels"][0].tolist() == [1]


def test_what_is_not_a_trimap(pets):
    folder = pets / "oxford-iiit-pet" / "annotations"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "trimaps" / "american_bulldog_3.png")
    module = PetDataModule(str(pets))
    module.setup()
    with pytest.raises(ValueError, match=r"american_bulldog_3\.png is not a trimap"):
        module.val_dataset[0]
    (folder / "test.txt").write_text("oops\n")
    with pytest.raises(ValueError, match="line 1: expected"):
        read_pet_list(folder.parent, "test")


def test_missing_archive_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images\.tar\.gz and annotations\.tar\.gz from https"):
        PetDataModule(str(tmp_path)).setup()


def test_checksums_are_torchvisions():
    assert PET.archives == archives_of(OxfordIIITPet._RESOURCES)


def test_archive_unpacked_in_part(pets):
    folder = pets / "oxford-iiit-pet"
    (folder / "images" / "american_bulldog_3.jpg").unlink()
    (folder / "images.tar.gz").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match=r"1 of 6 files are missing.*images\.tar\.gz is broken or only half"):
        PetDataModule(str(pets)).setup()


def test_download_that_breaks_off(tmp_path, server, monkeypatch):
    folder, address = server
    (folder / "images.tar.gz").write_bytes(b"half an archive")
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", ((f"{address}/images.tar.gz", PET.archives[0].md5),))
    message = r"Oxford-IIIT Pet could not be downloaded.*images\.tar\.gz is broken or only half downloaded"
    with pytest.raises(ConnectionError, match=message):
        PetDataModule(str(tmp_path / "data"), download=True).prepare_data()
