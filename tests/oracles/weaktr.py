"""WeakTr, slow and obvious: a loop over layers, all attention maps kept, stacked and cloned.

Written from the project's notes on the published code (third version): it keeps what that keeps, so
it is also what the benchmark measures memory against. Reads parameters by their original names.
"""

import torch
import torch.nn.functional as F


def layer_norm(x, state, name):
    weight = state[f"{name}.weight"]
    return F.layer_norm(x, weight.shape, weight, state[f"{name}.bias"], 1e-6)


def linear(x, state, name):
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def embed(image, state, classes, trained):
    """Class tokens, registers, patches; positions added to the first and the last."""
    weight = state["patch_embed.proj.weight"]
    patch = weight.shape[-1]
    patches = F.conv2d(image, weight, state["patch_embed.proj.bias"], stride=patch)
    rows, columns = patches.shape[-2:]
    positions = state["pos_embed"]
    table = positions[:, classes:]
    if not (rows * columns == table.shape[1] and image.shape[-2] == image.shape[-1]):
        table = table.reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / trained, (columns + 0.1) / trained)
        table = F.interpolate(table, scale_factor=scale, mode="bicubic")
        table = table.permute(0, 2, 3, 1).flatten(1, 2)
    tokens = [state["cls_token"] + positions[:, :classes]]
    if "reg_token" in state:
        tokens.append(state["reg_token"])
    batch = [token.expand(len(image), -1, -1) for token in tokens]
    x = torch.cat([*batch, patches.flatten(2).transpose(1, 2) + table], dim=1)
    return x, (rows, columns)


def attention(x, state, name, heads):
    """The branch's output, and every map."""
    batch, count, width = x.shape
    qkv = linear(x, state, f"{name}.qkv").reshape(batch, count, 3, heads, width // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    if f"{name}.q_norm.weight" in state:
        q, k = layer_norm(q, state, f"{name}.q_norm"), layer_norm(k, state, f"{name}.k_norm")
    scores = q @ k.transpose(-2, -1) * (width // heads) ** -0.5
    maps = scores.softmax(dim=-1)
    mixed = (maps @ v).transpose(1, 2).reshape(batch, count, width)
    return linear(mixed, state, f"{name}.proj"), maps


def transformer(x, state, heads):
    """Tokens after the last block, and what each block's attention made: output and maps."""
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    branches, maps = [], []
    for layer in range(depth):
        name = f"blocks.{layer}"
        branch, attended = attention(
            layer_norm(x, state, f"{name}.norm1"), state, f"{name}.attn", heads
        )
        branches.append(branch)
        maps.append(attended)
        x = x + branch * state.get(f"{name}.ls1.gamma", 1)
        hidden = linear(layer_norm(x, state, f"{name}.norm2"), state, f"{name}.mlp.fc1")
        x = x + linear(F.gelu(hidden), state, f"{name}.mlp.fc2") * state.get(f"{name}.ls2.gamma", 1)
    return x, branches, maps


def fusion(branches, state, heads, pool):
    """A weight for each head and layer, all layers of a head in a row: (b, heads x layers)."""
    features = torch.stack(branches).detach().clone()
    layers, batch, count, width = features.shape
    features = features.view(layers, batch, count, width // heads, heads)
    features = features.permute(1, 4, 0, 2, 3).reshape(batch, heads * layers, count, -1)
    features = features.amax(dim=2) if pool == "max" else features.mean(dim=2)
    name = "adaptive_attention_fusion"
    scores = linear(linear(features, state, f"{name}.attn_feat_ffn.0"), state,
                    f"{name}.attn_feat_ffn.1").flatten(1)  # fmt: skip
    hidden = linear(scores, state, f"{name}.attn_head_ffn.0").relu()
    return linear(hidden, state, f"{name}.attn_head_ffn.2").sigmoid()


def weaktr(image, state, classes, heads, trained=14, pool="max"):
    """Logits and CAMs of normalised images; positions were trained on a `trained`^2 grid."""
    x, (rows, columns) = embed(image, state, classes, trained)
    count = x.shape[1]
    first = count - rows * columns
    x, branches, maps = transformer(x, state, heads)
    grid = x[:, first:].transpose(1, 2).reshape(len(x), -1, rows, columns)
    coarse = F.conv2d(grid, state["head.weight"], state["head.bias"], padding=1)

    maps = torch.stack(maps)
    kept = maps.detach().clone()
    kept = kept.permute(1, 2, 0, 3, 4).reshape(len(x), -1, count, count)
    used = [torch.cat([each[:, :classes], each[:, first:]], dim=1) for each in branches]
    weighted = fusion(used, state, heads, pool)[:, :, None, None] * kept
    mean = weighted.mean(dim=1)
    fused = mean[:, :classes, first:].reshape(coarse.shape) * coarse.detach().clone().relu()
    fine = torch.matmul(mean[:, None, first:, first:], fused.flatten(2)[..., None])
    fine = fine.reshape(coarse.shape)
    logits = {
        "tokens": x[:, :classes].mean(dim=-1),
        "coarse": coarse.mean(dim=(2, 3)),
        "fine": fine.mean(dim=(2, 3)),
    }
    return logits, {"coarse": coarse, "fused": fused, "fine": fine}
