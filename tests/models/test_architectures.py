import sys
import warnings
from urllib.error import URLError

import pytest
import torch
from torch import nn

from hedgeseg.models import build_network
from hedgeseg.models.architectures import head_name, replace_head


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "small.pth"
    torch.save(build_network("small_cnn", 4).state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        ("small_cnn", "classifier"),
        ("squeezenet1_0", "classifier.1"),
        ("mobilenet_v2", "classifier.1"),
        ("resnet18", "fc"),
        ("vgg11", "classifier.6"),
        ("densenet121", "classifier"),
        ("inception_v3", "fc"),
        ("googlenet", "fc"),
    ],
)
def test_head_of_any_architecture_is_found_and_replaced(arch, head):
    with torch.device("meta"):
        network = build_network(arch, 5)
        assert head_name(network) == head
        replace_head(network, 3)
    assert len(network.get_submodule(head).weight) == 3


def test_weights_are_loaded_from_a_state_dict(weights):
    network = build_network("small_cnn", 4, weights)
    assert torch.equal(network.classifier.weight, torch.load(weights)["classifier.weight"])


def test_weights_are_loaded_from_a_checkpoint(tmp_path, weights):
    state = {f"network.{name}": value for name, value in torch.load(weights).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    network = build_network("small_cnn", 4, str(tmp_path / "last.ckpt"))
    assert torch.equal(network.classifier.bias, state["network.classifier.bias"])


def test_another_number_of_classes_replaces_the_head_and_says_so(weights):
    with pytest.warns(UserWarning, match="gives 4 logits instead of 7: its head 'classifier'"):
        network = build_network("small_cnn", 7, weights)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    kept = torch.load(weights)["features.0.weight"]
    assert torch.equal(network.features[0].weight, kept)


def test_wrong_state_dict_names_what_does_not_fit(tmp_path, weights):
    state = torch.load(weights)
    state["stranger"] = state.pop("features.0.weight")
    state["features.1.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="does not fit small_cnn") as caught:
        build_network("small_cnn", 4, str(tmp_path / "wrong.pth"))
    for part in (
        "1 missing: features.0.weight",
        "1 unexpected: stranger",
        "features.1.bias (9,) instead of (24,)",
    ):
        assert part in str(caught.value)


def test_missing_file_lists_the_known_names():
    with pytest.raises(FileNotFoundError, match=r"'nowhere\.pth': no such file.*IMAGENET1K_V1"):
        build_network("resnet18", 10, "nowhere.pth")


def test_files_that_are_no_state_dict(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match="could not be read as a state dict"):
        build_network("small_cnn", 4, str(tmp_path / "text.pth"))
    torch.save(build_network("small_cnn", 4), tmp_path / "module.pth")  # pickled code: never executed
    with pytest.raises(ValueError, match="weights_only=True"):
        build_network("small_cnn", 4, str(tmp_path / "module.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds list, not a state dict"):
        build_network("small_cnn", 4, str(tmp_path / "list.pth"))


def test_unknown_architecture_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown architecture 'resnet19'.*resnet18"):
        build_network("resnet19", 4)


def test_download_that_fails_says_what_to_do(monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ConnectionError, match=r"IMAGENET1K_V1 of resnet18.*Fetch https://.*by hand"):
        build_network("resnet18", 10, "IMAGENET1K_V1")


def test_old_densenet_names_are_understood(tmp_path):
    state = build_network("densenet121", 3).state_dict()
    old = {name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for name, value in state.items()}
    torch.save(old, tmp_path / "old.pth")
    network = build_network("densenet121", 3, str(tmp_path / "old.pth"))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_imagenet_weights(shared):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = build_network("squeezenet1_0", 1000, str(shared / "data" / "weights" / "squeezenet1_0.pth"))
    assert isinstance(network, nn.Module)


def test_timm_architectures():
    pytest.importorskip("timm")
    network = build_network("timm/resnet18", 3).eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"unknown architecture 'timm/resnet19'.*near are \['.*resnet"):
        build_network("timm/resnet19", 3)


def test_timm_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs timm: pip install 'hedgeseg\[timm\]'"):
        build_network("timm/resnet18", 3)
