"""The snippets of docs/extending.md, run one after the other and used as the page says."""

import pytest
import torch
from documents import run_python
from torch import nn

from hedgeseg.attribution import attribute
from hedgeseg.attribution.errors import UnsupportedOpError
from hedgeseg.attribution.methods import hedge
from hedgeseg.models import SmallCNN
from hedgeseg.seeds import Seed, write_seed
from hedgeseg.seeds.convert import FORMATS

PAGE = "docs/extending.md"


class Maxout(nn.Module):
    """The stronger of two maps, and a classifier on it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        both = self.first(images)
        stronger = both.view(len(images), 2, 8, *images.shape[2:]).amax(1)
        return self.head(self.second(stronger).relu().mean((2, 3)))


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page defines; its format's row is taken out again."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[2:5, 2:5] = 2
    write_seed("seeds", "a", Seed((mask == 2)[None].float(), torch.tensor([1]), mask))
    yield run_python(PAGE, {"model": SmallCNN(3).eval(), "image": torch.randn(3, 32, 32)})
    FORMATS.pop("text", None)


def test_every_snippet_runs_and_does_what_the_page_says(names, tmp_path, monkeypatch):
    assert (tmp_path / "as_text" / "a.txt").read_text().count("2") == 9
    assert names["seed"].mask.shape == (32, 32)

    images = torch.randn(2, 3, 32, 32)
    result = attribute(names["model"], images, [[0, 2], [1]], method=names["METHOD"])
    assert result.method == "squared"
    assert result.maps.shape == (2, 2, 32, 32)
    logits = result.logits.gather(1, result.targets.clamp(min=0))
    torch.testing.assert_close(result.maps.sum((2, 3))[0], logits[0], rtol=1e-3, atol=1e-5)  # conserves

    maxout, target = Maxout(), [1, 1]
    with pytest.raises(UnsupportedOpError, match="amax"):
        attribute(maxout, images, target, layer="second")
    table = hedge.structural_rules
    monkeypatch.setattr(hedge, "structural_rules", lambda: {**table(), **names["row"]})
    maps = attribute(maxout, images, target, layer="second").maps
    assert maps.isfinite().all()
    assert maps.std() > 0
