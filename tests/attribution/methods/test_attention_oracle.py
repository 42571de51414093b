"""LRP of attention against autolrp, where both mean the same: products, the softmax and what leads to the pixels."""

import pytest
import torch
from torch import nn

from hedgeseg import attribute


class Attending(nn.Module):
    """No sums, biases and norms: for those the two libraries have rules of their own."""

    def __init__(self, fused):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 2, stride=2, bias=False), nn.Linear(6, 4, bias=False)
        self.q, self.k, self.v = (nn.Linear(6, 6, bias=False) for _ in range(3))
        self.fused = fused

    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2)
        q, k, v = self.q(y), self.k(y), self.v(y)
        if self.fused:
            z = nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            z = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / 6**0.5, -1) @ v
        return self.head(torch.relu(z[:, 3]))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("attention", "preset"), [("cplrp", "CPLRP"), ("attnlrp", "ATTNLRP")])
def test_lrp_epsilon_is_autolrps(attention, preset, fused):
    autolrp = pytest.importorskip("autolrp")
    torch.manual_seed(0)
    model, image = Attending(fused).eval().double(), torch.randn(1, 3, 6, 6, dtype=torch.float64)
    ours = attribute(model, image, [2], method="lrp_epsilon", epsilon=1e-12, attention=attention).maps[0, 0]
    wrapped = autolrp.tensor(image.clone())
    config = autolrp.LRPConfig(rule={**autolrp.BASE, **getattr(autolrp, preset)}, eps=1e-14)
    logit = model(wrapped)[0, 2]
    logit.lrp(config=config)  # which starts at 1, ours at the logit
    theirs = wrapped.relevance.sum(1)[0].detach() * logit.detach()
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=1e-6, atol=1e-9)
