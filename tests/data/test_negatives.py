import numpy as np
import pytest
from PIL import Image

from hedgeseg.data import FolderDataModule
from hedgeseg.data.negatives import BackgroundQuestionError, as_option, seems_negative, without_background


def pictures(root, **counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(np.full((20, 30, 3), 10 * i, np.uint8)).save(root / name / f"{i}.png")
    return str(root)


def labels(dataset):
    return {name: dataset.labels(i) for i, name in enumerate(dataset.ids)}


@pytest.mark.parametrize(
    "name", ["good", "OK", "normal", "Negative", "background", "none", "healthy", "free", "no_crack"]
)
def test_a_folder_that_may_mean_nothing_is_asked_about(tmp_path, name):
    root = pictures(tmp_path, crack=3, **{name: 3})
    with pytest.raises(BackgroundQuestionError, match=f"'{name}'") as caught:
        FolderDataModule(root).setup("fit")
    assert f"--data.background {name} " in str(caught.value)
    assert "--data.background none-of-them" in str(caught.value)
    for given in (name, [name]):
        assert FolderDataModule(root, background=given).classes == ("crack",)
    for given in ([], "none-of-them"):
        assert set(FolderDataModule(root, background=given).classes) == {"crack", name}


@pytest.mark.parametrize(
    ("nothing", "something"),
    [
        ("notumor", "glioma"), ("no_tumor", "yes"), ("gut", "schlecht"), ("non_defective", "defective"), ("ok", "nok"),
        ("undamaged", "damaged"), ("clean", "dirty"), ("intact", "broken"), ("pass", "fail"), ("NoCrack", "Crack"),
        ("uncracked", "cracked"), ("defect-free", "defective"), ("scratchless", "scratched"), ("ohne_Riss", "Riss"),
        ("non-cancer", "cancer"), ("Bottle good", "Bottle broken"),
    ],
)  # fmt: skip
def test_one_of_a_pair_is_asked_about(nothing, something):
    with pytest.raises(BackgroundQuestionError) as caught:
        without_background([something, nothing], None, "data")
    assert caught.value.names == (nothing,)


@pytest.mark.parametrize("name", ["nose", "notebook", "nok", "bad", "uncle", "unicorn", "wireless", "broken", "fail"])
def test_names_that_only_begin_so_are_not(name):
    assert not seems_negative(name)


@pytest.mark.parametrize("name", ["cat", "crack", "polar bear", "fraying", "background noise maker", "nozzle", "9"])
def test_other_names_are_not(name):
    assert seems_negative(name) == (name == "background noise maker") * False


def test_negatives_are_learnt_from_and_validated_on(tmp_path):
    module = FolderDataModule(pictures(tmp_path, crack=10, dent=5, good=20), background="good", image_size=16)
    module.setup("fit")
    assert module.task == "multilabel"
    assert module.classes == ("crack", "dent")
    for dataset, numbers in ((module.train_dataset, (8, 4, 16)), (module.val_dataset, (2, 1, 4))):
        found = list(labels(dataset).values())
        assert (found.count((0,)), found.count((1,)), found.count(())) == numbers
    negative = module.val_dataset.ids.index(next(n for n, present in labels(module.val_dataset).items() if not present))
    assert module.val_dataset[negative]["label"].tolist() == [0, 0]
    assert module.predict_dataset.report.negatives == 20


def test_several_names_of_nothing(tmp_path):
    root = pictures(tmp_path, crack=4, good=4, empty=4)
    with pytest.raises(BackgroundQuestionError, match="'empty' and 'good'"):
        FolderDataModule(root).setup()
    module = FolderDataModule(root, background=["good", "empty"])
    module.setup()
    assert list(labels(module.predict_dataset).values()).count(()) == 8


def test_names_that_cannot_be_background(tmp_path):
    root = pictures(tmp_path, crack=4, good=4)
    with pytest.raises(ValueError, match=r"background names 'fine', the data have \['crack', 'good'\]"):
        FolderDataModule(root, background="fine").setup()
    with pytest.raises(ValueError, match="no class is left"):
        FolderDataModule(root, background=["good", "crack"]).setup()


def test_one_logit_per_class_is_not_a_softmax(tmp_path):
    root = pictures(tmp_path, crack=4, good=4)
    with pytest.raises(ValueError, match="shows 0 classes; task='multiclass' needs one"):
        FolderDataModule(root, background="good", task="multiclass").setup()


def test_two_folders_of_digits_are_asked_about_ten_are_not():
    with pytest.raises(BackgroundQuestionError, match="'0'"):
        without_background(["0", "1"], None, "digits")
    assert without_background([str(i) for i in range(10)], None, "digits")[1] == frozenset()


def test_a_class_of_every_image_is_refused_with_the_reason(tmp_path):
    root = pictures(tmp_path, crack=4)
    with pytest.raises(ValueError, match=r"all 4 images show 'crack', so nothing could be learnt.*train_fraction 0"):
        FolderDataModule(root).setup("fit")
    for stage in ("predict", "validate"):  # a network that has learnt elsewhere may be asked
        FolderDataModule(root).setup(stage)
    FolderDataModule(root, train_fraction=0).setup()


def test_training_folders_without_a_positive_are_refused(tmp_path):
    pictures(tmp_path / "train", good=4)
    root = pictures(tmp_path / "test", good=2, broken=3, crack=3).removesuffix("/test")
    with pytest.raises(ValueError, match=r"none of the 4 training images shows a class.*split 'random'"):
        FolderDataModule(root, background="good").setup()
    module = FolderDataModule(root, background="good", split="random")
    module.setup()
    assert len(module.train_dataset) + len(module.val_dataset) == 12


@pytest.mark.parametrize(
    ("names", "option"),
    [(["free"], "free"), (["no crack"], "'[\"no crack\"]'"), (["0"], "'[\"0\"]'"), (["no"], "'[\"no\"]'"),
     (["a", "b"], "'[\"a\", \"b\"]'")],
)  # fmt: skip
def test_what_is_typed_is_what_is_read(names, option):
    import shlex

    from hedgeseg.commands.describe import data_module

    assert as_option(names) == option
    words = shlex.split(f"--data.root=x --data.background {option}")
    given = data_module(None, "FolderDataModule", words).background
    assert ([given] if isinstance(given, str) else given) == names


def test_the_question_reads_on_a_command_line():
    from hedgeseg.commands.describe import data_module

    words = ["--data.root=x", "--data.background", "none-of-them", "--data.mask_values", "{255: crack}"]
    module = data_module(None, "FolderDataModule", words)
    assert module.background == "none-of-them"
    assert module.mask_values == {255: "crack"}
