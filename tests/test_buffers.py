"""Memory that is used again: never while anything refers to it."""

import copy
import gc

import numpy as np
import pytest

import evsim
from evsim.aligned import LINE
from evsim.buffers import Buffers
from evsim.training import forward


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [0, 1, (3, 5), (2, 0), (7, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_arrays_are_as_asked_for(shape, dtype):
    made = Buffers().empty("x", shape, dtype)
    assert made.shape == np.empty(shape).shape
    assert made.dtype == dtype
    assert made.flags.c_contiguous
    assert made.flags.writeable
    assert address(made) % LINE == 0 or made.size == 0


def test_memory_is_used_again_for_its_purpose_alone():
    buffers = Buffers()
    first = address(buffers.empty("x", 1000, np.float32))
    assert address(buffers.empty("y", 1000, np.float32)) != first
    assert address(buffers.empty("x", (10, 50), np.float64)) == first
    assert address(buffers.empty("x", 20, np.uint8)) == first
    assert address(buffers.empty("x", 100_000, np.float32)) != first


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[2:5], lambda x: x.reshape(2, -1).T, lambda x: x.view("u1")])
def test_memory_in_use_is_left_alone(view):
    buffers = Buffers()
    held = view(buffers.empty("x", 10, np.float32))
    held[...] = 7
    other = buffers.empty("x", 10, np.float32)
    other[...] = 8
    assert (held == 7).all()
    where = address(other)
    del other
    gc.collect()
    assert address(buffers.empty("x", 10, np.float32)) == where  # that of the last one is kept


def test_what_training_gave_stays_as_it_is():
    rng = np.random.default_rng(1)
    net = evsim.Sequential(
        evsim.Linear(20, 12), evsim.spikingjelly.LIFNode(tau=2.0), evsim.Linear(12, 5), evsim.spikingjelly.LIFNode()
    )
    kept = []
    for _ in range(4):
        net.reset()
        x = (rng.random((17, 9, 20)) < 0.4).astype(np.float32)
        output, backward = forward(net, x)
        gradients = backward(rng.normal(size=output.shape))
        arrays = [output, backward.frames(1), *gradients.values()]
        kept.append((arrays, [array.copy() for array in arrays]))
    for arrays, copies in kept:
        for array, before in zip(arrays, copies, strict=True):
            assert (array == before).all()


def test_a_copy_of_a_network_has_memory_of_its_own():
    net = evsim.Sequential(evsim.Linear(6, 3), evsim.spikingjelly.LIFNode())
    x = np.ones((4, 2, 6), np.float32)
    one, _ = forward(net, x)
    other = copy.deepcopy(net)
    other.reset()
    two, _ = forward(other, x)
    assert not np.shares_memory(one, two)
    assert (one == two).all()
