import pytest
from PIL import Image

from hedgeseg.data import PicturesDataModule, picture_files


def picture(path, size=(20, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path)
    return path


def test_folders_with_subfolders_and_files(tmp_path):
    picture(tmp_path / "in" / "a.jpg")
    picture(tmp_path / "in" / "deep" / "b.png")
    picture(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("x")
    found = picture_files([tmp_path / "in", picture(tmp_path / "c.bmp")])
    assert list(found) == ["a", "deep/b", "c"]


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt is no image"):
        picture_files([tmp_path / "notes.txt"])
    with pytest.raises(FileNotFoundError, match="holds no image"):
        picture_files([tmp_path])
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        picture_files([tmp_path / "nowhere"])
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="would both be called 'a'"):
        picture_files([tmp_path])


def test_batches_of_new_pictures(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number}.png", (20 + number, 10))
    module = PicturesDataModule([tmp_path], ["cat", "dog"], image_size=16, batch_size=2)
    module.setup()
    first, second = module.predict_dataloader()
    assert first["image"].shape == (2, 3, 16, 16)
    assert first["size"].tolist() == [[10, 20], [10, 21]]
    assert second["id"] == ["2"]
    assert "mask" not in first
    assert module.predict_dataset.image(1).shape == (10, 21, 3)
