"""score, report, validate and convert on folders that predict wrote: names, nested ids, damaged files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from hedgeseg.cli import main
from hedgeseg.seeds import Seed, read_seed, write_seed
from hedgeseg.seeds.formats import write_psa, write_psa_crf
from hedgeseg.seeds.manifest import open_folder

NAMES = ["rust", "crack"]
PLACES = {"good/a.jpg": 0, "bad/a.jpg": 1, "bad/deep/b.jpg": 1}


def truth_of(label):
    mask = np.zeros((12, 16), np.uint8)
    mask[3:9, 4:12] = label + 1
    return mask


def one_seed(label, mask=None):
    mask = truth_of(label) if mask is None else mask
    scores = torch.from_numpy(mask == label + 1)[None].float()
    return Seed(scores, torch.tensor([label]), torch.from_numpy(mask))


def write_all(root, joined=lambda name: name.replace("/", "__"), manifest=True, binary=False):
    """Photographs and masks in nested folders, and their seeds under the ids that predict gives them."""
    if manifest:
        open_folder(root / "seeds", {"class_names": NAMES})
    for name, label in PLACES.items():
        stem = name.removesuffix(".jpg")
        for folder in ("images", "masks"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(root / "images" / name)
        mask = truth_of(label)
        Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8) if binary else mask).save(
            root / "masks" / f"{stem}.png"
        )
        write_seed(root / "seeds", joined(stem), one_seed(label))
    return root


def scores_of(root, *more):
    argv = ["score", str(root / "seeds"), "--masks", str(root / "masks"), "--no-detection"]
    code = main([*argv, "--json", str(root / "scores.json"), *more])
    return code, next(iter(json.loads((root / "scores.json").read_text()).values())) if code == 0 else None


@pytest.mark.parametrize(
    "joined",
    [lambda name: name.replace("/", "__"), lambda name: name, lambda name: f"masks__{name.replace('/', '__')}"],
)
def test_nested_ids_are_scored_as_predict_wrote_them(tmp_path, joined):
    code, scores = scores_of(write_all(tmp_path, joined))
    assert code == 0
    assert scores["images"] == 3
    assert scores["without_seed"] == 0
    assert scores["miou"] == pytest.approx(1)


def test_names_are_those_of_the_manifest(tmp_path, capsys):
    code, scores = scores_of(write_all(tmp_path), "--per-class")
    assert code == 0
    assert list(scores["per_class"]) == ["background", *NAMES]
    assert "crack" in capsys.readouterr().out
    for given in ("crack,rust", "voc", "rust"):
        assert scores_of(tmp_path, "--classes", given)[0] == 2
        assert "was made for the classes ['rust', 'crack']" in capsys.readouterr().err
    assert list(scores_of(tmp_path, "--classes", "Rost,Riss")[1]["per_class"]) == ["background", "Rost", "Riss"]


def test_without_names_classes_are_numbered(tmp_path):
    scores = scores_of(write_all(tmp_path, manifest=False))[1]
    assert list(scores["per_class"]) == ["background", "class 1", "class 2"]


def test_binary_masks_mark_the_class_of_the_seed(tmp_path, capsys):
    code, scores = scores_of(write_all(tmp_path, binary=True))
    assert code == 0
    assert scores["miou"] == pytest.approx(1)
    assert scores["foreground"] == pytest.approx(48 / 192)
    assert "values 0 and 255 are background and the class" in capsys.readouterr().out
    worse = scores_of(tmp_path, "--mask-values", "255=crack")[1]
    assert worse["per_class"]["rust"]["precision"] == 0
    assert scores_of(tmp_path, "--mask-values", "255:crack")[0] == 2


def test_empty_seeds_of_binary_masks_are_wrong(tmp_path):
    write_all(tmp_path, binary=True)
    for name, label in PLACES.items():
        identifier = name.removesuffix(".jpg").replace("/", "__")
        write_seed(tmp_path / "seeds", identifier, one_seed(label, np.zeros((12, 16), np.uint8)))
    assert scores_of(tmp_path)[1]["miou"] < 0.3


def test_report_and_validate_of_nested_ids(tmp_path, capsys):
    write_all(tmp_path)
    common = [str(tmp_path / "seeds"), "--images", str(tmp_path / "images")]
    page = tmp_path / "page.html"
    assert main(["report", *common, "--masks", str(tmp_path / "masks"), "--out", str(page), "--no-detection"]) == 0
    assert "0 images of the data set have none" in page.read_text()
    assert "crack" in page.read_text()
    assert main(["validate", *common]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    write_seed(tmp_path / "seeds", "bad__a", one_seed(5))
    assert main(["validate", *common]) == 1
    assert "classes [5] do not exist, there are 2" in capsys.readouterr().out


def test_validate_of_nothing_is_no_success(tmp_path, capsys):
    write_all(tmp_path)
    for path in (tmp_path / "seeds").rglob("*.npz"):
        path.unlink()
    assert main(["validate", str(tmp_path / "seeds")]) == 1
    assert "look like those of png" in capsys.readouterr().err


def test_turned_photographs_have_the_size_of_their_seeds(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((16, 12, 3), np.uint8)).save(tmp_path / "images" / "a.jpg", exif=exif)
    write_seed(tmp_path / "seeds", "a", one_seed(0))
    assert main(["validate", str(tmp_path / "seeds"), "--images", str(tmp_path / "images")]) == 0


CUTS = (0, 1, 4, 10, 50, 120)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_a_damaged_seed_costs_only_itself(tmp_path, cut, suffix, capsys):
    write_all(tmp_path)
    path = tmp_path / "seeds" / f"bad__a{suffix}"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match=f"1 seeds are left out: .*bad__a{suffix} is damaged"):
        code, scores = scores_of(tmp_path)
    assert (code, scores["images"], scores["unreadable"]) == (0, 2, 1)
    common = [str(tmp_path / "seeds"), "--images", str(tmp_path / "images")]
    with pytest.warns(UserWarning, match="1 seeds are left out"):
        assert main(["report", *common, "--no-crf", "--out", str(tmp_path / "page.html")]) == 0
    assert f"bad__a{suffix} is damaged" in (tmp_path / "page.html").read_text()
    assert main(["validate", *common]) == 1
    assert main(["convert", str(tmp_path / "seeds"), str(tmp_path / "out"), "--from", "npz", "--to", "irn"]) == 1
    output = capsys.readouterr()
    assert "2 converted" in output.out
    assert "bad__a: unreadable" in output.out
    assert f"bad__a{suffix} is damaged" in output.err


@pytest.mark.parametrize("crf", [[], ["--no-crf"]])
@pytest.mark.parametrize("kind", ["images/bad/a.jpg", "masks/bad/a.png"])
def test_a_damaged_photograph_or_true_mask_costs_only_itself(tmp_path, kind, crf):
    write_all(tmp_path)
    (tmp_path / kind).write_bytes((tmp_path / kind).read_bytes()[:30])
    common = [str(tmp_path / "seeds"), "--masks", str(tmp_path / "masks")]
    page = tmp_path / "page.html"
    if "masks" in kind:
        with pytest.warns(UserWarning, match=r"1 seeds are left out: true mask of bad__a"):
            assert scores_of(tmp_path)[1]["unreadable"] == 1
        with pytest.warns(UserWarning, match="bad__a"):
            assert main(["report", *common, "--images", str(tmp_path / "images"), "--out", str(page), *crf]) == 0
    else:
        assert scores_of(tmp_path)[1]["images"] == 3
        assert main(["report", *common, "--images", str(tmp_path / "images"), "--out", str(page), *crf]) == 0
    assert "bad__a" in page.read_text()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["irn", "psa", "psa_crf", "clip_es", "wsol"])
def test_damaged_files_of_other_tools_are_named(tmp_path, cut, kind, capsys):
    write_all(tmp_path)
    argv = ["convert", str(tmp_path / "seeds"), str(tmp_path / "other"), "--from", "npz", "--to", kind]
    assert main(argv) == 0
    path = tmp_path / "other" / "bad__a.npy"
    path.write_bytes(path.read_bytes()[:cut])
    back = ["convert", str(tmp_path / "other"), str(tmp_path / "back"), "--from", kind, "--to", "npz"]
    assert main([*back, "--allow-pickle"]) == 1
    output = capsys.readouterr()
    assert "2 converted" in output.out
    assert "bad__a.npy" in output.err
    assert main(["validate", str(tmp_path / "other"), "--format", kind, "--allow-pickle"]) == 1
    assert "bad__a: unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("classes", [[0], [0, 1], [1], [0, 4, 7]])
@pytest.mark.parametrize("soft", [False, True])
def test_the_two_layouts_of_psa_are_told_apart(tmp_path, classes, soft):
    rows = np.linspace(0, 1, 20)[:, None] * np.ones((1, 30))
    maps = np.stack([np.roll(rows, 5 * k, axis=0) * (rows > 0.3) for k in range(len(classes))])
    if soft:
        maps = maps / max(maps.sum(0).max(), 1)
    seed = Seed(torch.from_numpy(maps).float(), torch.tensor(classes), torch.zeros(20, 30, dtype=torch.uint8))
    write_psa(tmp_path / "psa", "a", seed)
    write_psa_crf(tmp_path / "crf", "a", seed)
    write_psa_crf(tmp_path / "alpha", "a", seed, alpha=16)

    def convert(folder, kind):
        return main(
            ["convert", str(tmp_path / folder), str(tmp_path / "out"), "--from", kind, "--to", "npz", "--allow-pickle"]
        )

    for folder, kind in (("psa", "psa"), ("crf", "psa_crf"), ("alpha", "psa_crf")):
        assert convert(folder, kind) == 0
        assert read_seed(tmp_path / "out", "a").classes.tolist() == classes
    assert convert("psa", "psa_crf") == 1
    assert convert("crf", "psa") == 1
    assert convert("alpha", "psa") == 1


def coco_file(root, categories, labels):
    entry = {"id": 1, "file_name": "dir/img.v2.jpg", "height": 12, "width": 16}
    annotations = [
        {"id": i, "image_id": 1, "category_id": c, "segmentation": [[4 * i, 2, 4 * i + 3, 2, 4 * i + 3, 9, 4 * i, 9]]}
        for i, c in enumerate(labels)
    ]
    content = {"images": [entry], "annotations": annotations, "categories": categories}
    (root / "x.json").write_text(json.dumps(content))
    return str(root / "x.json")


def test_category_ids_are_no_class_indices(tmp_path):
    ids = [1, 90, 255, 300]
    source = coco_file(tmp_path, [{"id": i, "name": f"c{i}"} for i in reversed(ids)], ids)
    assert main(["convert", source, str(tmp_path / "out"), "--from", "coco", "--to", "npz"]) == 0
    assert read_seed(tmp_path / "out", "dir/img.v2").classes.tolist() == [0, 1, 2, 3]
    named = [
        "convert",
        source,
        str(tmp_path / "own"),
        "--from",
        "coco",
        "--to",
        "npz",
        "--classes",
        "x,c300,c255,c90,c1",
    ]
    assert main(named) == 0
    assert read_seed(tmp_path / "own", "dir/img.v2").classes.tolist() == [1, 2, 3, 4]


def test_categories_that_do_not_fit(tmp_path, capsys):
    source = coco_file(tmp_path, [{"id": i, "name": f"c{i}"} for i in range(255)], [1])
    assert main(["convert", source, str(tmp_path / "out"), "--from", "coco", "--to", "png"]) == 1
    assert "255 categories do not fit" in capsys.readouterr().err
    source = coco_file(tmp_path, [{"id": 1, "name": "a"}], [1])
    argv = ["convert", source, str(tmp_path / "out"), "--from", "coco", "--to", "png", "--classes", "b,c"]
    assert main(argv) == 1
    assert "['a'] are not among the classes" in capsys.readouterr().err


def test_a_segmentation_that_cannot_be_painted_is_named(tmp_path):
    source = coco_file(tmp_path, [{"id": 1, "name": "a"}], [1, 1])
    content = json.loads((tmp_path / "x.json").read_text())
    content["annotations"][1]["segmentation"] = {"size": [12, 16], "counts": "xx~~"}
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 annotations are left out: annotation 1"):
        assert main(["convert", source, str(tmp_path / "out"), "--from", "coco", "--to", "png"]) == 0


def test_coco_names_the_photographs(tmp_path):
    write_all(tmp_path)
    target = tmp_path / "x.json"
    argv = ["convert", str(tmp_path / "seeds"), str(target), "--from", "npz", "--to", "coco"]
    assert main([*argv, "--images", str(tmp_path / "images")]) == 0
    content = json.loads(target.read_text())
    assert {entry["file_name"] for entry in content["images"]} == set(PLACES)
    assert [category["name"] for category in content["categories"]] == NAMES


@pytest.mark.parametrize("kind", ["full", "quarter", "none"])
def test_folders_with_few_or_no_scores_are_scored_by_their_masks(tmp_path, kind):
    write_all(tmp_path)
    for path in (tmp_path / "seeds").rglob("*__*"):
        path.unlink()
    for name, label in PLACES.items():
        identifier = name.removesuffix(".jpg").replace("/", "__")
        write_seed(tmp_path / "seeds", identifier, one_seed(label), scores=kind)
    scores = scores_of(tmp_path)[1]
    assert scores["miou"] == pytest.approx(1)
    assert (scores["miou_best"] is None or np.isnan(scores["miou_best"])) == (kind == "none")


def test_a_seed_of_no_class_is_scored_against_background_though_no_mask_says_so(tmp_path):
    root = write_all(tmp_path)
    Image.fromarray(np.full((12, 16, 3), 90, np.uint8)).save(root / "images" / "none.jpg")
    blank = Seed(torch.zeros(0, 12, 16), torch.zeros(0, dtype=torch.long), torch.zeros(12, 16, dtype=torch.uint8))
    write_seed(root / "seeds", "none", blank)
    assert scores_of(root)[1]["images"] == 4
    report = ["report", str(root / "seeds"), "--images", str(root / "images"), "--masks", str(root / "masks")]
    assert main([*report, "--out", str(root / "r.html"), "--no-detection", "--no-crf"]) == 0
    assert "4 images" in (root / "r.html").read_text()


def test_binary_masks_of_seeds_without_scores_name_the_option_of_the_command(tmp_path, capsys):
    write_all(tmp_path, binary=True)
    for path in (tmp_path / "seeds").glob("*.npz"):
        path.unlink()
    assert main(["score", str(tmp_path / "seeds"), "--masks", str(tmp_path / "masks")]) == 1
    said = capsys.readouterr().err
    assert "what is 255?" in said
    assert "a_rust.png" in said
    assert "--mask-values 255=rust or --mask-values 255=void" in said
    assert "--data" not in said
