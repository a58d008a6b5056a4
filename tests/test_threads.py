"""Work shared out among threads: each call once, whoever makes it; what a call raises comes out."""

import threading
import time

import pytest

from evsim.threads import share_out


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_each_call_is_made_once(threads, n):
    made = []

    def work(i, j):
        time.sleep(1e-4 * (i % 3))
        made.append((i, j))

    share_out(threads, work, ((i, -i) for i in range(n)))
    assert sorted(made) == [(i, -i) for i in range(n)]


def test_threads_work_at_the_same_time():
    both, met = threading.Barrier(2, timeout=30), []

    def work(_):
        both.wait()
        met.append(threading.current_thread())

    share_out(2, work, [(0,), (1,)])
    assert len(set(met)) == 2
    assert threading.current_thread() in met


@pytest.mark.parametrize("by_this_thread", [True, False])
def test_exceptions_come_out_when_nothing_runs_any_more(by_this_thread):
    this, running = threading.current_thread(), []
    both = threading.Barrier(2, timeout=30)

    def work(_):
        running.append(1)
        both.wait()
        if (threading.current_thread() is this) != by_this_thread:
            time.sleep(0.02)
            running.pop()
            return
        running.pop()
        raise KeyError("of a call")

    with pytest.raises(KeyError, match="of a call"):
        share_out(2, work, [(0,), (1,)])
    assert running == []
