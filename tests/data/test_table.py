import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import FolderDataModule
from hedgeseg.data.negatives import BackgroundQuestionError


def folder(root, text, names=("0.png", "1.png", "2.png", "3.png"), images="images"):
    for name in names:
        path = root / images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(path)
    (root / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def read(root, **options):
    module = FolderDataModule(str(root), csv="labels.csv", train_fraction=0, **options)
    module.setup()
    data = module.val_dataset
    return {name: tuple(data.classes[label] for label in data.labels(i)) for i, name in enumerate(data.ids)}


def test_a_column_of_bits_keeps_its_negatives(tmp_path):
    folder(tmp_path, "image,defect\n0.png,1\n1.png,0\n2.png,0\n3.png,1\n")
    assert read(tmp_path) == {"0": ("defect",), "1": (), "2": (), "3": ("defect",)}


def test_several_columns_of_bits_keep_rows_of_zeros(tmp_path):
    folder(tmp_path, "image,crack,dent\n0.png,1,1\n1.png,0,0\n2.png,TRUE,false\n3.png,,1.0\n")
    assert read(tmp_path) == {"0": ("crack", "dent"), "1": (), "2": ("crack",), "3": ("dent",)}


def test_a_label_of_bits_is_asked_about(tmp_path):
    folder(tmp_path, "image,label\n0.png,1\n1.png,0\n2.png,0\n3.png,1\n")
    with pytest.raises(BackgroundQuestionError, match="'0'"):
        read(tmp_path)
    assert read(tmp_path, background="0") == {"0": ("1",), "1": (), "2": (), "3": ("1",)}
    assert read(tmp_path, background=[])["1"] == ("0",)


def test_an_empty_cell_is_a_negative(tmp_path):
    folder(tmp_path, "image,label\n0.png,crack\n1.png,\n2.png,dent\n")
    assert read(tmp_path) == {"0": ("crack",), "1": (), "2": ("dent",)}


def test_a_name_of_nothing_is_asked_about(tmp_path):
    folder(tmp_path, "image,label\n0.png,crack\n1.png,good\n2.png,dent\n")
    with pytest.raises(BackgroundQuestionError, match="'good'"):
        read(tmp_path)
    assert read(tmp_path, background="good")["1"] == ()


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_separators_of_cells_are_told_apart(tmp_path, sign):
    rows = [["image", "cat", "dog"], ["0.png", "1", "0"], ["1.png", "1", "1"]]
    folder(tmp_path, "\n".join(sign.join(row) for row in rows))
    assert read(tmp_path) == {"0": ("cat",), "1": ("cat", "dog")}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["polar bear;cat", "dog", "cat"], [("polar bear", "cat"), ("dog",), ("cat",)]),
        (["cat|dog", "dog", "polar bear"], [("cat", "dog"), ("dog",), ("polar bear",)]),
        (['"cat,dog"', "dog", "polar bear"], [("cat", "dog"), ("dog",), ("polar bear",)]),
        (["cat dog", "dog", "cat"], [("cat", "dog"), ("dog",), ("cat",)]),
        (["polar bear", "dog", "cat"], [("polar bear",), ("dog",), ("cat",)]),
        (["\"['cat', 'polar bear']\"", "[dog]", "[]"], [("cat", "polar bear"), ("dog",), ()]),
    ],
)
def test_names_within_a_cell(tmp_path, cells, expected):
    folder(tmp_path, "image,labels\n" + "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells)))
    assert [set(found) for found in read(tmp_path).values()] == [set(names) for names in expected]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["cat|dog", "cat;dog"], "';' in line 3 and by '|' in line 2"),
        (["polar bear", "brown bear", "cat"], "'brown bear' one class or several.*separator"),
    ],
)
def test_a_column_that_reads_in_two_ways_is_refused(tmp_path, cells, message):
    folder(tmp_path, "image,labels\n" + "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells)))
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        read(tmp_path)
    assert read(tmp_path, separator=";")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfimage,label\r\n0.png,cat\r\n1.png,dog\r\n",
        "image,label\n0.png,cat\n1.png,dog\n".encode("utf-16"),
        b'"image","label"\n"0.png","cat"\n"1.png","dog"\n\n',
        b"Label,File Name\ncat,0.png\ndog,1.png\n",
        b"image_id;label;age\n0;cat;3\n1;dog;4\n",
        b"path,label\nimages\\0.png,cat\n.\\images\\1.png,dog\n",
        b"path,label\n/home/somebody/pets/images/0.png,cat\nC:\\pets\\1.PNG,dog\n",
    ],
)
def test_what_spreadsheets_write(tmp_path, text):
    folder(tmp_path, text)
    assert read(tmp_path) == {"0": ("cat",), "1": ("dog",)}


@pytest.mark.parametrize(
    "text",
    [
        "image;crack;dent;;\n0.png;1;0;;\n1.png;0;1;;\n",
        "image;crack;dent\n0.png;1;0;\n1.png;0;1;;\n",
        "image;crack;dent;\n0.png;1;0\n1.png;0;1;\n",
        'sep=;\r\n"image";"crack";"dent"\r\n0.png;1;0\r\n1.png;0;1\r\n',
        ",image,crack,dent\n0,0.png,1,0\n1,1.png,0,1\n",
    ],
)
def test_columns_without_a_name_are_no_classes(tmp_path, text):
    folder(tmp_path, text)
    assert read(tmp_path) == {"0": ("crack",), "1": ("dent",)}
    assert FolderDataModule(str(tmp_path), csv="labels.csv").classes == ("crack", "dent")


@pytest.mark.parametrize("header", ["id,filename,label", "image_id,path,label", "name,image,label"])
def test_a_file_name_says_more_than_a_number(tmp_path, header):
    folder(tmp_path, f"{header}\n1,0.png,cat\n0,1.png,dog\n")
    assert read(tmp_path) == {"0": ("cat",), "1": ("dog",)}


def test_names_in_windows_code_page(tmp_path):
    folder(tmp_path, "image,label\n0.png,Käfer\n1.png,dog\n".encode("cp1252"))
    assert read(tmp_path)["0"] == ("Käfer",)


def test_images_with_absolute_and_nested_paths_and_beside_the_table(tmp_path):
    folder(tmp_path, "", ["a/0.png", "b/0.png"])
    (tmp_path / "labels.csv").write_text(f"image,label\n{tmp_path}/images/a/0.png,cat\nb/0.png,dog\n")
    assert read(tmp_path) == {"a__0": ("cat",), "b__0": ("dog",)}
    flat = folder(tmp_path / "flat", "image,label\n0.png,cat\n1.png,dog\n", images=".")
    assert read(flat) == {"0": ("cat",), "1": ("dog",)}


def test_images_that_are_not_there_are_counted_and_named(tmp_path):
    folder(tmp_path, "image,label\n0.png,cat\n1.png,dog\ngone.png,dog\n")
    for verify in (True, False):
        with pytest.warns(UserWarning, match=r"2 of 3 images used; 1 unreadable: gone\.png \(no such file\)"):
            assert set(read(tmp_path, verify=verify)) == {"0", "1"}
    (tmp_path / "labels.csv").write_text("image,label\na,cat\nb,dog\n")
    with pytest.raises(ValueError, match=r"none of its 2 images is in .*such as 'a'; there lies '0\.png'"):
        read(tmp_path)


def test_an_image_in_several_rows_has_all_their_labels(tmp_path):
    folder(tmp_path, "image,label\n0.png,cat\n0.png,dog\n1.png,dog\n./0.png,bird\n")
    assert read(tmp_path)["0"] == ("bird", "cat", "dog")
    assert "1 images in several rows" in FolderDataModule(str(tmp_path), csv="labels.csv").notes[0]
    (tmp_path / "labels.csv").write_text("image,label,split\n0.png,cat,train\n0.png,dog,val\n")
    with pytest.raises(ValueError, match=r"line 3: 0\.png is in line 2 with another split"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png,cat\n1.png,dog\n", "needs a header: its first line .* is an image"),
        ("image\n0.png\n", "needs a header"),
        ("image,label\n", "a header and no image"),
        ("image,label,split\n0.png,cat,train\n1.png,dog,later\n", "line 3: split 'later' is none of train, val, test"),
        ("image,label,class\n0.png,a,b\n", "may all be the labels; give label_columns"),
        ("image,cat,age\n0.png,1,37\n", "line 2: '37' is neither 0 nor 1.*'age' is no class"),
        ("image,cat,cat\n0.png,1,0\n", "has 2 columns called 'cat'"),
        (b"PK\x03\x04......", "save it as CSV"),
    ],
)
def test_tables_that_cannot_be_understood(tmp_path, text, message):
    folder(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_label_columns_are_chosen(tmp_path):
    folder(tmp_path, "image,cat,age\n0.png,1,37\n1.png,0,12\n")
    assert read(tmp_path, label_columns=["cat"]) == {"0": ("cat",), "1": ()}
    with pytest.raises(ValueError, match="has no column 'dog'"):
        read(tmp_path, label_columns=["dog"])


def test_splits_and_groups_of_the_table(tmp_path):
    names = [f"{i}.png" for i in range(6)]
    splits = ["train", "training", "Train", "valid", "validation", "testing"]
    rows = "".join(f"{n},{'cat' if i % 2 else 'dog'},{s}\n" for i, (n, s) in enumerate(zip(names, splits, strict=True)))
    folder(tmp_path, "image,label,split\n" + rows, names)
    module = FolderDataModule(str(tmp_path), csv="labels.csv", predict="test")
    module.setup()
    assert [d.ids for d in (module.train_dataset, module.val_dataset, module.test_dataset, module.predict_dataset)] == [
        ["0", "1", "2"], ["3", "4"], ["5"], ["5"]
    ]  # fmt: skip
    assert module.task == "multiclass"


def test_no_patient_is_on_both_sides(tmp_path):
    names = [f"{i}.png" for i in range(40)]
    rows = "".join(f"{n},{'ill' if i % 3 else 'well'},p{i // 4}\n" for i, n in enumerate(names))
    folder(tmp_path, "image,label,patient\n" + rows, names)
    module = FolderDataModule(str(tmp_path), csv="labels.csv", train_fraction=0.7)
    module.setup()
    sides = [{int(name) // 4 for name in data.ids} for data in (module.train_dataset, module.val_dataset)]
    assert sides[0] | sides[1] == set(range(10))
    assert not sides[0] & sides[1]
