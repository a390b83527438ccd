"""The class loss of SEAM and WeakTr: each class is a yes-or-no question of its own."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dealseg.depth import at_least_float32


def multilabel_soft_margin(
    logits: Float[Tensor, "b k"], tags: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    r"""Return the mean over the classes of the binary cross-entropy, one value per image.

    $$ L = -\frac{1}{K} \sum_k y_k \log\sigma(z_k) + (1 - y_k) \log\sigma(-z_k) $$

    Computed in float32 whatever the logits are, and from log-sigmoids, so that large logits give a
    large and not an infinite loss. A background logit takes no part: leave it out.

    Source: SEAM (arXiv 2004.04581) and WeakTr (arXiv 2304.01184), which both call PyTorch's
    `multilabel_soft_margin_loss`; the mean over a batch is that value.

    Args:
        logits: class scores before the sigmoid.
        tags: 1 for classes in the image, else 0.
    """
    wide = at_least_float32(logits)
    return F.multilabel_soft_margin_loss(wide, tags.to(wide.dtype), reduction="none")


class MultilabelSoftMargin(nn.Module):
    """Batch mean of :func:`multilabel_soft_margin`."""

    def forward(
        self, logits: Float[Tensor, "b k"], tags: Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch."""
        return multilabel_soft_margin(logits, tags).mean()
