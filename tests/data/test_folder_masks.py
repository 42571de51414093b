import warnings

import numpy as np
import pytest
from PIL import Image
from test_class_folders import pictures

from hedgeseg.data import FolderDataModule
from hedgeseg.data.mask_files import MaskFiles
from hedgeseg.data.mask_values import MaskValues
from hedgeseg.visual import voc_palette

CLASSES = ("crack", "dent", "fray")
SAID = pytest.mark.filterwarnings("ignore:.*masks as of")


def block(value, size=(20, 30), background=0, dtype=np.uint8):
    pixels = np.full((*size, len(value)) if isinstance(value, tuple) else size, background, dtype)
    pixels[5:15, 6:18] = value
    return pixels


def write(path, pixels, palette=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path, **options)
    return path


def expected(value, **more):
    return block(value, **more).astype(int)


def binary(pixels):
    return {
        "0 and 255": pixels,
        "0 and 1": (pixels > 0).astype(np.uint8),
        "bilevel": Image.fromarray(pixels > 0),
        "grey as RGB": np.repeat(pixels[..., None], 3, 2),
        "black and red": np.stack([pixels, 0 * pixels, 0 * pixels], 2),
        "transparent": np.stack([pixels, pixels, pixels, pixels], 2),
        "16 bits": pixels.astype(np.uint16) * 257,
        "smoothed": np.where(np.roll(pixels, 1, 0) != pixels, 128, pixels).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", binary(block(255)))
def test_a_binary_mask_marks_the_one_class_of_its_image_and_says_so(tmp_path, kind):
    path, values = write(tmp_path / "a.png", binary(block(255))[kind]), MaskValues(CLASSES)
    found = values.read(path, [2])
    assert set(np.unique(found)) == {0, 3}
    if kind != "smoothed":
        assert np.array_equal(found, expected(3))
    assert values.assumed
    if kind in ("0 and 255", "grey as RGB"):
        assert "255 is not void; if it is: mask_values {255: void}" in values.assumed[-1]


def test_a_compressed_mask_is_cut_in_the_middle(tmp_path):
    path, values = write(tmp_path / "a.jpg", block(255, size=(60, 90)), quality=70), MaskValues(CLASSES)
    assert abs(int((values.read(path, [1]) == 2).sum()) - 120) <= 4
    assert "greys between black and white are cut at 128" in values.assumed


@pytest.mark.parametrize("white", [255, 1])
@pytest.mark.parametrize("labels", [[0, 1], []])
def test_a_binary_mask_of_no_or_several_classes_is_refused_with_what_to_type(tmp_path, white, labels):
    path = write(tmp_path / "a.png", block(white))
    if white == 1:  # an id like any other
        assert np.array_equal(MaskValues(CLASSES).read(path, labels), expected(1))
        return
    with pytest.raises(ValueError, match=r"holds 255 and 0 alone.*--data.mask_values '\{255: crack\}'"):
        MaskValues(CLASSES).read(path, labels)
    for name, id in (("dent", 2), ("void", 255), ("background", 0)):
        assert np.array_equal(MaskValues(CLASSES, {255: name}).read(path, labels), expected(id))


def test_a_mask_of_255_alone_is_never_void_in_silence(tmp_path):
    path, values = write(tmp_path / "a.png", np.full((20, 30), 255, np.uint8)), MaskValues(CLASSES)
    assert np.unique(values.read(path, [1])).tolist() == [2]
    assert values.assumed
    with pytest.raises(ValueError, match="what is 255"):
        MaskValues(CLASSES).read(path, [])


def test_ids_stay_ids_and_255_beside_them_is_void(tmp_path):
    ids = block(2)
    ids[0], ids[1, :3] = 255, 3
    assert np.array_equal(MaskValues(CLASSES).read(write(tmp_path / "a.png", ids), [1, 2]), ids)
    palette = write(tmp_path / "p.png", ids, voc_palette().flatten().tolist())
    assert np.array_equal(MaskValues(CLASSES).read(palette, [1, 2]), ids)


def test_a_mask_in_the_colours_of_voc(tmp_path):
    ids = block(2)
    ids[0], ids[1, :3] = 255, 3
    path, values = write(tmp_path / "a.png", voc_palette()[ids]), MaskValues(CLASSES)
    assert np.array_equal(values.read(path, [1, 2]), ids)
    assert values.assumed == ["colours are those of PASCAL VOC's palette"]


def test_a_table_of_colours(tmp_path):
    pixels = block((255, 0, 0))
    pixels[0], pixels[1] = (0, 0, 255), (1, 2, 3)
    path = write(tmp_path / "a.png", pixels)
    with pytest.raises(ValueError, match=r"4 colours, 0,0,0, 0,0,255, .*mask_values"):
        MaskValues(CLASSES).read(path, [0, 1])
    values = MaskValues(CLASSES, {"255,0,0": "dent", "#0000ff": "fray", "1, 2, 3": "void"})
    found = values.read(path, [])
    assert np.array_equal(found[2:], expected(2)[2:])
    assert (found[0] == 3).all()
    assert (found[1] == 255).all()
    grey = block(255)
    grey[0] = 128
    mixed = MaskValues(CLASSES, {255: "crack", 128: "void", "255,0,0": "dent"}).read(
        write(tmp_path / "g.png", grey), []
    )
    assert np.array_equal(mixed[1:], expected(1)[1:])
    assert (mixed[0] == 255).all()
    indexed = Image.fromarray(pixels).quantize(8)
    assert np.array_equal(values.read(write(tmp_path / "p.png", indexed), []), found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({255: "scratch"}, r"'scratch' is none of the classes \['crack', 'dent', 'fray'\]"),
        ({"red": "crack"}, "'red' is neither a value such as 255 nor a colour"),
        ({"300,0,0": "crack"}, "'300,0,0' is neither"),
    ],
)
def test_values_that_mean_nothing(given, message):
    with pytest.raises(ValueError, match=message):
        MaskValues(CLASSES, given)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (block(7), r"holds the values \[0, 7\] but there are 3 classes.*mask_values \{7: crack\}"),
        (np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8), "expected ids"),
        (block(1, dtype=np.float32) * np.float32(0.5), "fractions such as 0.5"),
    ],
)
def test_values_without_a_meaning_are_refused(tmp_path, pixels, message):
    with pytest.raises(ValueError, match=message):
        MaskValues(CLASSES).read(write(tmp_path / "a.tif", pixels), [0])
    with pytest.raises(ValueError, match="of which mask_values says nothing"):
        MaskValues(CLASSES, {200: "crack"}).read(write(tmp_path / "b.png", block(7)), [0])


def masked(root, image="images", **masks):
    """One image of class crack and one of dent, with the masks that are given by path."""
    pictures(root, f"{image}/crack/a.png", f"{image}/dent/b.png", f"{image}/good/c.png")
    for path, pixels in masks.items():
        write(root / path.replace("__", "/").replace("DOT", "."), pixels)
    return root


def read(root, **options):
    module = FolderDataModule(str(root), train_fraction=0, background="good", image_size=[16, 24], **options)
    module.setup()
    data = module.val_dataset
    return {name: data.mask(i) for i, name in enumerate(data.ids)}, module


@SAID
@pytest.mark.parametrize(
    "name", ["masks/crack/a.png", "masks/crack/a_mask.png", "images/crack/a_mask.png", "gt/crack/a-gt.tif"]
)
def test_masks_are_found_and_images_without_one_have_none(tmp_path, name):
    masked(tmp_path)
    write(tmp_path / name, block(255))
    found, module = read(tmp_path)
    assert module.classes == ("crack", "dent")
    assert np.array_equal(found["crack__a"], expected(1))
    assert found["dent__b"] is None
    assert not found["good__c"].any()
    batch = next(iter(module.val_dataloader()))
    assert [set(mask.unique().tolist()) for mask in batch["mask"]] == [{0, 1}, {255}, {0}]


@SAID
def test_several_masks_of_one_image_add_up(tmp_path):
    root = masked(tmp_path)
    first, second = block(255), np.zeros((20, 30), np.uint8)
    second[16:18, 2:5] = 255
    write(root / "images/dent/b_mask.png", first)
    write(root / "images/dent/b_mask_1.png", second)
    assert np.array_equal(read(root)[0]["dent__b"], expected(2) + 2 * (second > 0))


@SAID
@pytest.mark.parametrize("name", ["masks/{c}/0.png", "masks/0_{c}.png"])
def test_a_mask_per_class_of_an_image_of_several(tmp_path, name):
    pictures(tmp_path, "images/0.png", "images/1.png", "images/2.png")
    (tmp_path / "labels.csv").write_text("image,crack,dent\n0.png,1,1\n1.png,1,0\n2.png,0,0\n")
    large, small = block(255), np.zeros((20, 30), np.uint8)
    small[6:8, 7:9] = 255
    write(tmp_path / name.format(c="crack"), small)
    write(tmp_path / name.format(c="dent"), large)
    module = FolderDataModule(str(tmp_path), csv="labels.csv", train_fraction=0)
    module.setup()
    wanted = expected(2)
    wanted[6:8, 7:9] = 1
    assert np.array_equal(module.val_dataset.mask(0), wanted)
    assert module.val_dataset.mask(1) is None
    assert not module.val_dataset.mask(2).any()


def test_ground_truth_beside_splits_as_industrial_sets_have_it(tmp_path):
    pictures(tmp_path, "train/good/0.png", "train/hole/0.png", "test/good/0.png", "test/hole/1.png")
    write(tmp_path / "ground_truth/hole/1_mask.png", block(255))
    module = FolderDataModule(str(tmp_path), background="good")
    module.setup()
    assert module.classes == ("hole",)
    with pytest.warns(UserWarning, match="255 is not void"):
        assert np.array_equal(module.val_dataset.mask(1), expected(1))
    assert module.train_dataset.mask(1) is None


@SAID
def test_one_bad_mask_costs_its_image_and_all_bad_masks_stop(tmp_path):
    root = masked(tmp_path)
    write(root / "masks/crack/a.png", np.full((9, 9), 255, np.uint8))
    write(root / "masks/dent/b.png", block(255))
    with pytest.warns(UserWarning, match="mask of 'crack__a' is left out: its mask is 9 x 9 but the image is 20 x 30"):
        found, module = read(root)
    assert found["crack__a"] is None
    assert np.array_equal(found["dent__b"], expected(2))
    assert set(module.val_dataset.source.mask_faults) == {"crack__a"}
    (root / "masks/dent/b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="image 'crack__a': its mask is 9 x 9"):
        read(root)


def test_learning_and_predicting_open_no_mask(tmp_path):
    root = masked(tmp_path)
    pictures(root, "images/crack/d.png", "images/dent/e.png", "images/good/f.png")
    (root / "masks" / "crack").mkdir(parents=True)
    (root / "masks" / "crack" / "a.png").write_bytes(b"no image")
    (root / "masks" / "crack" / "d.png").write_bytes(b"no image")
    module = FolderDataModule(str(root), background="good", train_fraction=0.5, image_size=16, batch_size=2)
    module.setup()
    for loader in (module.train_dataloader(), module.predict_dataloader()):
        assert all("mask" not in batch for batch in loader)


def test_a_folder_of_masks_by_name(tmp_path):
    root = masked(tmp_path)
    write(root / "other/crack/a.png", block(200))
    found, _ = read(root, masks="other", mask_values={200: "crack"})
    assert np.array_equal(found["crack__a"], expected(1))
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*elsewhere"):
        read(root, masks="elsewhere")


def test_masks_turn_with_their_photographs(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "images/crack/a.jpg", np.zeros((20, 30, 3), np.uint8), exif=exif)
    pictures(tmp_path, "images/dent/b.png", "images/good/c.png")
    write(tmp_path / "masks/crack/a.png", block(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, module = read(tmp_path)
    assert found["crack__a"].shape == module.val_dataset.image(0).shape[:2] == (30, 20)


def test_what_systems_and_editors_leave_among_masks_is_no_mask(tmp_path):
    mask = write(tmp_path / "masks" / "crack" / "a.png", block(255))
    for name in ("crack/._a.png", "crack/.a_mask.png", ".ipynb_checkpoints/crack/a.png", "__MACOSX/crack/a.png"):
        write(tmp_path / "masks" / name, block(1))
    for name in ("crack/a.png~", "crack/Thumbs.db", ".DS_Store"):
        (tmp_path / "masks" / name).write_bytes(b"no picture")
    files = MaskFiles(tmp_path / "masks", [], CLASSES)
    assert files.paths == [mask]
    assert files.of("crack/a", split=False) == ((mask, None),)
