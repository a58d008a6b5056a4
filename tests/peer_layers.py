"""evsim's layers for modules of SpikingJelly, sinabs, snnTorch and torch, as the golden files list them."""

import evsim

ROOMS = {"spikingjelly": evsim.spikingjelly, "sinabs": evsim.sinabs, "snntorch": evsim.snntorch}


def make_layer(peer, file, case, number, surrogates=None):
    """evsim's layer for a case's module, with its weights from the golden file.

    A neuron's surrogate is surrogates[class](**kwargs), with class and kwargs as the case has them.
    """
    module, key = case["modules"][number], f"{case['name']}/{number}"
    kind, kwargs = module["class"], dict(module["kwargs"])
    if hasattr(evsim, kind) and not hasattr(ROOMS[peer], kind):
        kwargs = {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}
        if f"{key}.weight" in file:
            kwargs["weight"] = file[f"{key}.weight"]
            kwargs["bias"] = file.get(f"{key}.bias", False)
        return getattr(evsim, kind)(**kwargs)
    if "surrogate" in kwargs:
        kwargs["surrogate"] = surrogates[kwargs["surrogate"]["class"]](**kwargs["surrogate"]["kwargs"])
    if peer != "sinabs":
        return getattr(ROOMS[peer], kind)(**kwargs)
    kwargs.pop("rec_connect", None)
    if "spike_fn" in kwargs:
        kwargs["multi_spike"] = kwargs.pop("spike_fn") == "MultiSpike"
    if "reset_fn" in kwargs:
        kwargs["reset"] = {"MembraneSubtract": "subtract", "MembraneReset": "zero"}[kwargs.pop("reset_fn")]
    if kind != "ALIF":
        kwargs["learn"] = tuple(name for name in ("tau_mem", "tau_syn") if name in kwargs)  # as sinabs does
    neurons = getattr(evsim.sinabs, kind.removesuffix("Recurrent"))(**kwargs)
    if not kind.endswith("Recurrent"):
        return neurons
    weight, bias = (file[f"{key}.rec_connect.{name}"] for name in ("weight", "bias"))
    return evsim.Recurrent(neurons, evsim.Linear(*weight.shape[::-1], bias=bias, weight=weight))
