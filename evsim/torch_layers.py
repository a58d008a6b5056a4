"""Networks of PyTorch as evsim's layers: the one place that imports torch (extra `torch`)."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from numpy.typing import NDArray

from evsim.analog import AnalogNetwork, BatchNorm, Dropout, ReLU
from evsim.layers import AvgPool2d, Conv1d, Conv2d, Flatten, Layer, Linear, MaxPool2d, SumPool2d

__all__ = ["is_torch", "read_torch"]


def is_torch(model: Any) -> bool:
    """Whether it is a module of PyTorch, which whoever has one has imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def read_torch(model: Any) -> AnalogNetwork:
    """A torch.nn.Sequential, a GraphModule of torch.fx, or a module that torch.fx can trace, with its weights.

    Raises
    ------
    ValueError : a module or function that is not supported, or a graph that is no chain; names it by its path.
    """
    read = list(_chain(model))
    return AnalogNetwork(*(layer for _, layer in read), names=[name for name, _ in read])


def _chain(model: Any) -> Iterator[tuple[str, Layer]]:
    """The layers of a traced module with their paths, in order."""
    before: Any = None
    for node in _graph(model).nodes:
        if _is_size(node):
            continue
        users = [user for user in node.users if not _is_size(user)]
        inputs = [each for each in node.all_input_nodes if not _is_size(each)]
        name = str(node.target if node.op == "call_module" else node.name)
        if inputs != ([] if before is None else [before]) or len(users) > 1:
            raise ValueError(
                f"convert: {name} takes {len(inputs)} inputs and goes to {len(users)} places; a network must be a "
                "chain, in which each layer takes what the one before it gives"
            )
        before = node
        if node.op == "call_module":
            layer = _layer(name, model.get_submodule(node.target))
            if layer is not None:
                yield name, layer
        elif node.op in ("call_function", "call_method"):
            yield name, _function(name, node)
        elif node.op not in ("placeholder", "output"):
            raise ValueError(f"convert: {name} ({node.op}) is not supported; only modules and functions are")


def _graph(model: Any) -> Any:
    from torch import fx

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module: Any, path: str) -> bool:
            return super().is_leaf_module(module, path) or next(module.children(), None) is None

    if isinstance(model, fx.GraphModule):
        return model.graph
    try:
        return Tracer().trace(model)
    except Exception as error:  # whatever the model's own code does with a stand-in for its input
        raise ValueError(
            f"convert: {type(model).__name__} cannot be traced by torch.fx: {error}; give a torch.nn.Sequential"
        ) from error


def _is_size(node: Any) -> bool:
    """Whether it is only part of saying which shape is wanted: x.size(0), x.shape[0]."""
    if node.op == "call_method":
        return bool(node.target == "size")
    if node.op != "call_function" or node.target.__name__ not in ("getattr", "getitem"):
        return False
    return node.args[1] == "shape" or _is_size(node.args[0])


def _array(tensor: Any) -> NDArray[Any]:
    made: NDArray[Any] = tensor.detach().cpu().numpy()
    return made


def _layer(name: str, module: Any) -> Layer | None:
    """evsim's layer for a module; None for one that does nothing."""
    from torch import nn

    if not list(module.children()) and isinstance(module, nn.Identity | nn.Sequential):
        return None
    kinds: dict[Any, Callable[[str, Any], Layer]] = {
        nn.Linear: _linear,
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.BatchNorm1d: _batch_norm,
        nn.BatchNorm2d: _batch_norm,
        nn.AvgPool2d: _average,
        nn.MaxPool2d: _maximum,
        nn.ReLU: lambda name, m: ReLU(),
        nn.Flatten: _flatten,
    }
    kinds |= {each: lambda name, m: Dropout() for each in (nn.Dropout, nn.Dropout1d, nn.Dropout2d)}
    kind = type(module)
    if kind in kinds:
        return kinds[kind](name, module)
    if kind.__name__ == "SumPool2d":  # sinabs'
        _require(name, kind, ceil_mode=(module.ceil_mode, False))
        return SumPool2d(module.kernel_size, module.stride)
    if kind.__name__ == "NeuromorphicReLU":  # sinabs' ReLU that rounds while it is trained
        return ReLU()
    known = ", ".join(each.__name__ for each in kinds)
    raise ValueError(f"convert: {name} ({kind.__name__}) is not supported; known are {known}, SumPool2d, Identity")


def _require(name: str, kind: type, **allowed: tuple[Any, Any]) -> None:
    """Refuse settings that evsim's layers do not have."""
    for setting, (value, wanted) in allowed.items():
        if value != wanted:
            raise ValueError(f"convert: {name} ({kind.__name__}): {setting} is {value!r}; it must be {wanted!r}")


def _bias(module: Any) -> Any:
    return False if module.bias is None else _array(module.bias)


def _linear(name: str, m: Any) -> Layer:
    return Linear(m.in_features, m.out_features, bias=_bias(m), weight=_array(m.weight))


def _convolution(name: str, m: Any) -> Layer:
    _require(name, type(m), padding_mode=(m.padding_mode, "zeros"))
    padding = m.padding
    if isinstance(padding, str):
        spans = [d * (k - 1) for k, d in zip(m.kernel_size, m.dilation, strict=True)]
        if padding == "same" and any(span % 2 for span in spans):
            raise ValueError(f"convert: {name} ({type(m).__name__}): padding 'same' is uneven; it must be whole a side")
        padding = tuple(span // 2 if padding == "same" else 0 for span in spans)
    sizes = {"kernel_size": m.kernel_size, "stride": m.stride, "padding": padding, "dilation": m.dilation}
    kind = Conv1d if len(m.kernel_size) == 1 else Conv2d
    settings: dict[str, Any] = {key: int(size[0]) if kind is Conv1d else tuple(size) for key, size in sizes.items()}
    return kind(m.in_channels, m.out_channels, **settings, groups=m.groups, bias=_bias(m), weight=_array(m.weight))


def _batch_norm(name: str, m: Any) -> Layer:
    if m.running_mean is None:
        raise ValueError(f"convert: {name} ({type(m).__name__}): it keeps no running mean; train it with one")
    weight, bias = (1.0, 0.0) if m.weight is None else (_array(m.weight), _array(m.bias))
    return BatchNorm(_array(m.running_mean), _array(m.running_var), weight, bias, m.eps)


def _average(name: str, m: Any) -> Layer:
    pool = AvgPool2d(m.kernel_size, m.stride, m.padding)
    if any(pool.padding):
        _require(name, type(m), count_include_pad=(m.count_include_pad, True))
    _require(name, type(m), ceil_mode=(m.ceil_mode, False), divisor_override=(m.divisor_override, None))
    return pool


def _maximum(name: str, m: Any) -> Layer:
    _require(name, type(m), ceil_mode=(m.ceil_mode, False), return_indices=(m.return_indices, False))
    if m.dilation not in (1, (1, 1)):
        raise ValueError(f"convert: {name} (MaxPool2d): dilation is {m.dilation!r}; it must be 1")
    return MaxPool2d(m.kernel_size, m.stride, m.padding)


def _flatten(name: str, m: Any) -> Layer:
    _require(name, type(m), start_dim=(m.start_dim, 1), end_dim=(m.end_dim, -1))
    return Flatten()


def _function(name: str, node: Any) -> Layer:
    """evsim's layer for a function or method that is called."""
    import torch
    from torch import nn

    target, (_, *given), named = node.target, node.args, node.kwargs
    if target in ("relu", torch.relu, nn.functional.relu):
        return ReLU()
    if target in (nn.functional.dropout, nn.functional.dropout2d):
        return Dropout()
    if target in ("flatten", torch.flatten):
        return _flatten(name, nn.Flatten(*given, **{"start_dim": 0, **named} if not given else named))
    if target in ("view", "reshape", torch.reshape) and len(given) == 2 and given[1] == -1:
        return Flatten()
    if target is nn.functional.avg_pool2d:
        return _average(name, nn.AvgPool2d(*given, **named))
    if target is nn.functional.max_pool2d:
        return _maximum(name, nn.MaxPool2d(*given, **{key: x for key, x in named.items() if x is not None}))
    called = target if isinstance(target, str) else target.__name__
    raise ValueError(
        f"convert: {name} ({called}) is not supported; known functions are relu, dropout, flatten, view(n, -1), "
        "avg_pool2d, max_pool2d"
    )
