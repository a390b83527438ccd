import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError
from seam_views import random_tags

from dealseg.losses import MultilabelSoftMargin, multilabel_soft_margin
from oracles import seam_losses as oracle


def random_logits(classes=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(3, classes, generator=generator, dtype=dtype)


@pytest.mark.parametrize("classes", [1, 4, 20])
def test_equals_the_binary_cross_entropy_of_each_class(classes):
    logits, tags = random_logits(classes), random_tags(classes=classes)
    expected = oracle.soft_margin(logits.numpy(), tags.numpy())
    np.testing.assert_allclose(multilabel_soft_margin(logits, tags), expected, rtol=1e-12)


def test_the_batch_mean_is_pytorch_s_loss():
    logits, tags = random_logits(), random_tags()
    expected = F.multilabel_soft_margin_loss(logits, tags)
    torch.testing.assert_close(MultilabelSoftMargin()(logits, tags), expected)


def test_undecided_logits_cost_the_logarithm_of_two_and_sure_ones_nothing():
    tags = random_tags()
    undecided = multilabel_soft_margin(torch.zeros(3, 4).double(), tags)
    np.testing.assert_allclose(undecided, np.log(2), rtol=1e-12)
    assert multilabel_soft_margin(1000 * (2 * tags - 1), tags).max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_large_wrong_logits_cost_what_they_are_wrong_by(dtype):
    tags = random_tags(dtype=torch.float32)
    logits = (1e4 * (1 - 2 * tags)).to(dtype).requires_grad_()
    loss = multilabel_soft_margin(logits, tags)
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss.detach(), logits.detach().float().abs().mean(1), rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(logits.grad.float().abs(), 1 / 4)


def test_under_autocast_it_is_computed_in_float32():
    logits, tags = random_logits(dtype=torch.float32), random_tags(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = multilabel_soft_margin(logits, tags)
    assert torch.equal(loss, multilabel_soft_margin(logits, tags))


def test_the_gradient_is_that_of_finite_differences():
    logits = random_logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: multilabel_soft_margin(z, random_tags()), logits)


def test_logits_and_tags_of_other_shapes_are_refused():
    with pytest.raises(TypeCheckError):
        multilabel_soft_margin(torch.zeros(2, 3), torch.zeros(2, 4))
