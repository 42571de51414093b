import json
import shlex

import pytest
from miniatures import write_coco_folder, write_voc
from test_class_folders import pictures, two
from test_coco_lessons import roboflow

from hedgeseg.commands.describe import data_module
from hedgeseg.data.layouts import recognise


def built(layout):
    """The data module that the layout's command would make."""
    (command,) = layout.commands()
    words = [word for word in shlex.split(command)[6:] if word]
    assert shlex.split(command)[:5] == ["uv", "run", "train.py", "fit", "--config"]
    module = data_module(None, layout.module, words)
    module.setup("validate")
    return module


def test_class_folders_and_their_splits(tmp_path):
    pictures(tmp_path, *two("train"), *two("valid"))
    (layout,) = recognise(tmp_path)
    assert (layout.module, layout.config, layout.question) == ("FolderDataModule", "folder.yaml", None)
    assert "split as given: train, val" in layout.notes
    assert built(layout).classes == ("cat", "dog")


def test_a_folder_within_a_folder(tmp_path):
    pictures(tmp_path, *two("pets"), "__MACOSX/x.png")
    (layout,) = recognise(tmp_path / "pets")
    assert built(layout).classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["labels.csv", "the labels.tsv"])
def test_a_table(tmp_path, name):
    pictures(tmp_path, "images/0.png", "images/1.png", "images/2.png", "images/3.png")
    (tmp_path / name).write_text("image;cat;dog\n0.png;1;0\n1.png;1;1\n2.png;0;0\n3.png;0;1\n")
    (layout,) = recognise(tmp_path)
    assert layout.options == {"csv": name}
    assert built(layout).task == "multilabel"


def test_a_question_has_a_command_for_each_answer(tmp_path):
    pictures(tmp_path, "crack/a.png", "no crack/b.png")
    (layout,) = recognise(tmp_path)
    first, second = layout.commands()
    assert shlex.split(first)[-2:] == ["--data.background", '["no crack"]']
    assert second.endswith("--data.background none-of-them")


def test_coco_with_its_table(tmp_path):
    write_coco_folder(tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"name": "no data"}))
    layout, *_ = recognise(tmp_path)
    assert (layout.module, layout.words) == ("CocoFolderDataModule", "COCO's format, instances.json")
    assert built(layout).num_classes == 2


def test_voc_with_and_without_annotations(tmp_path):
    write_voc(tmp_path)
    (layout,) = recognise(tmp_path)
    assert layout.module == "VocDataModule"
    assert "labels" not in layout.options
    built(layout)
    for path in tmp_path.rglob("Annotations/*.xml"):
        path.unlink()
    assert recognise(tmp_path)[0].options["labels"] == "mask"


def test_what_is_nothing_is_said_with_what_is_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere not found"):
        recognise(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="there is no image, and nothing else"):
        recognise(tmp_path)
    pictures(tmp_path, "images/0.png", "masks/0.png", "b.png")
    with pytest.raises(
        ValueError, match=r"there is 3 images, such as 'b\.png', and b\.png, images/, masks/.*class folders"
    ):
        recognise(tmp_path)
    (tmp_path / "labels.csv").write_text("image,label\nx.png,cat\n")
    with pytest.raises(ValueError, match="none of its 1 images is in"):
        recognise(tmp_path)


def test_coco_files_in_folders_of_splits(tmp_path):
    roboflow(tmp_path)
    (layout,) = recognise(tmp_path)
    assert (layout.module, layout.options) == ("CocoFolderDataModule", {"annotation": "_annotations.coco.json"})
    assert layout.notes == ("split as given: train, val, test",)
    module = built(layout)
    assert (len(module.train_dataset), len(module.val_dataset), len(module.test_dataset)) == (4, 3, 2)
    (layout,) = recognise(tmp_path / "train")
    assert layout.options == {"annotation": "_annotations.coco.json", "train_fraction": 0.7}
    built(layout)
