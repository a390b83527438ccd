"""A second device where there is none: numbers of the CPU in tensors that say they are elsewhere.

As on a GPU, an operation on tensors of two devices fails, and what is made without a device is on
the CPU. The device is called `meta`, which torch knows everywhere and keeps no numbers on itself.
"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

AWAY = torch.device("meta")
MOVES = ("aten::_to_copy", "aten::copy_")
READ = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")


class Away(torch.Tensor):
    """A tensor on the second device; `inner` has its numbers."""

    @staticmethod
    def __new__(cls, inner):
        facts = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), dtype=inner.dtype, device=AWAY, **facts
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """Lets tensors be made on the second device by their `device` argument."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


def carried_out(func, args, kwargs):
    """Do an operation on the numbers, and say on which device its result is."""
    tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, torch.Tensor)]
    away = any(isinstance(part, Away) for part in tensors)
    here = [part for part in tensors if not isinstance(part, Away) and part.ndim]
    name = func._schema.name
    if away and here and name not in MOVES:
        raise RuntimeError(f"{name}: tensors on two devices")
    wanted = kwargs.get("device")
    target = (AWAY if away else torch.device("cpu")) if wanted is None else torch.device(wanted)
    plain = {**kwargs, **({} if wanted is None else {"device": "cpu"})}
    result = func(*tree_map(inner_of, args), **tree_map(inner_of, plain))
    if func._schema.is_mutable and isinstance(result, torch.Tensor):
        return written(func, args, kwargs)
    if name in READ or target != AWAY:
        return result
    return tree_map(lambda part: Away(part) if isinstance(part, torch.Tensor) else part, result)


def inner_of(part):
    return part.inner if isinstance(part, Away) else part


def written(func, args, kwargs):
    """Return the argument that an operation in place has written to."""
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return args[index] if index < len(args) else kwargs[argument.name]
    raise NotImplementedError(func)


def moved(net):
    """Bring parameters and buffers to the second device, in place."""
    for module in net.modules():
        for name, value in module._parameters.items():
            if value is not None:
                there = torch.nn.Parameter(Away(value.data), requires_grad=value.requires_grad)
                module._parameters[name] = there
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = Away(value)
    return net


@contextlib.contextmanager
def second_device(monkeypatch):
    """Pretend that there is one, for generators and autocast too, whose numbers are the CPU's."""
    generator, autocast = torch.Generator, torch.autocast

    def autocast_of(kind, *args, **kwargs):
        return contextlib.nullcontext() if kind == AWAY.type else autocast(kind, *args, **kwargs)

    with monkeypatch.context() as patch, SecondDevice():
        patch.setattr(torch, "Generator", lambda *_: generator())
        patch.setattr(torch, "autocast", autocast_of)
        yield
