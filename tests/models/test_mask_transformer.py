import numpy as np
import torch
from torch import nn

from dealseg.config.segmenter import SegmenterConfig
from dealseg.models.mask_transformer import ClassTokenDecoder
from dealseg.models.segmenter import Segmenter


def layer_norm(values, layer):
    centred = (values - values.mean()) / np.sqrt(values.var() + layer.eps)
    return centred * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def unit(values):
    return values / np.sqrt((values**2).sum())


def test_a_logit_is_the_normalised_cosine_of_a_patch_and_a_class():
    """The decoder without its blocks, which are timm's, against loops over patches and classes."""
    torch.manual_seed(0)
    decoder = ClassTokenDecoder(8, 3, 0.0).double().eval()
    decoder.blocks = nn.Identity()
    features = torch.randn(2, 8, 2, 3, dtype=torch.float64)
    found = decoder(features).detach()
    assert found.shape == (2, 3, 2, 3)
    weight = {n: p.detach().numpy() for n, p in decoder.named_parameters()}
    for b, i, j in np.ndindex(2, 2, 3):
        patch = weight["enter.weight"] @ features[b, :, i, j].numpy() + weight["enter.bias"]
        patch = unit(weight["patch_map.weight"] @ layer_norm(patch, decoder.norm))
        cosines = []
        for token in weight["tokens"][0]:
            own = unit(weight["class_map.weight"] @ layer_norm(token, decoder.norm))
            cosines.append(patch @ own)
        expected = layer_norm(np.array(cosines), decoder.scale)
        np.testing.assert_allclose(found[b, :, i, j].numpy(), expected, atol=1e-12)


def test_deit_small_has_the_papers_four_million_parameters_in_its_decoder():
    decoder = ClassTokenDecoder(384, 21, 0.1)
    count = sum(parameter.numel() for parameter in decoder.parameters())
    assert round(count / 1e6, 2) == 4.00


def test_the_logits_of_a_patch_have_mean_zero_over_the_classes_at_the_start():
    config = SegmenterConfig("mask_transformer", "test_vit", pretrained=False)
    model = Segmenter(("cup", "box"), config, long_side=64).eval()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 40, 56))
    assert logits.shape == (1, 3, 40, 56)
    torch.testing.assert_close(logits.sum(1), torch.zeros(1, 40, 56), atol=1e-4, rtol=0)
