"""Pictures of many callers share runs, and each caller gets the scores of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
import torch

from scanner.classifier import Classifier
from scanner.classifier_batching import MicroBatcher
from scanner.classifier_precision import Device
from scanner.errors import ScannerError

AT_ONCE = timedelta(0)
FOR_EVER = timedelta(seconds=60)


def pictures(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1)


def doubled(batch: torch.Tensor) -> torch.Tensor:
    return torch.cat([batch, batch * 2], dim=1)


def test_callers_share_a_run_and_get_their_own_rows() -> None:
    sizes = []

    def infer(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return doubled(batch)

    # Nobody's patience ends, so the run begins when it is full: all four are in it.
    batcher = MicroBatcher(infer, most=8, patience=FOR_EVER)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda n: batcher(pictures(n, n + 10)), range(4)))
    assert sizes == [8]
    for number, rows in enumerate(results):
        assert rows.tolist() == doubled(pictures(number, number + 10)).tolist()


def test_a_caller_alone_waits_no_longer_than_its_patience() -> None:
    batcher = MicroBatcher(doubled, patience=AT_ONCE)
    assert batcher(pictures(3)).tolist() == [[3, 6]]
    assert batcher(pictures(4)).tolist() == [[4, 8]]


def test_whoever_comes_while_a_run_is_on_shares_the_next_one() -> None:
    sizes: list[int] = []
    has_begun, may_end = threading.Event(), threading.Event()

    def infer(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        has_begun.set()
        assert may_end.wait(60)
        return doubled(batch)

    batcher = MicroBatcher(infer, most=4, patience=AT_ONCE)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(batcher, pictures(1))
        assert has_begun.wait(60)
        others = [threads.submit(batcher, pictures(n)) for n in range(2, 6)]
        # The four fill the next run exactly, whichever of them opened it.
        while (waiting := batcher._open) is None or not waiting.is_full.wait(0.01):
            assert not any(one.done() for one in others)
        may_end.set()
        assert first.result(60).tolist() == [[1, 2]]
        assert [one.result(60).tolist() for one in others] == [[[n, 2 * n]] for n in range(2, 6)]
    assert sizes == [1, 4]


def test_many_pictures_of_one_caller_take_several_runs() -> None:
    sizes = []

    def infer(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return doubled(batch)

    rows = MicroBatcher(infer, most=4, patience=AT_ONCE)(pictures(*range(10)))
    assert rows[:, 0].tolist() == list(range(10))
    assert sizes == [4, 4, 2]


def test_a_run_never_takes_more_than_the_most() -> None:
    sizes = []

    def infer(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return doubled(batch)

    batcher = MicroBatcher(infer, most=4, patience=timedelta(milliseconds=1))
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda n: batcher(pictures(n, -n, n)), range(40)))
    assert [rows[:, 0].tolist() for rows in results] == [[n, -n, n] for n in range(40)]
    assert max(sizes) <= 4
    assert sum(sizes) == 120


@pytest.mark.parametrize(
    "infer",
    [
        lambda _: (_ for _ in ()).throw(RuntimeError("out of memory")),
        lambda batch: doubled(batch)[1:],
    ],
)
def test_a_run_that_fails_fails_for_everybody_in_it_and_for_nobody_else(infer: object) -> None:
    broken = threading.Event()
    broken.set()

    def sometimes(batch: torch.Tensor) -> torch.Tensor:
        return infer(batch) if broken.is_set() else doubled(batch)  # type: ignore[operator, no-any-return]

    batcher = MicroBatcher(sometimes, most=3, patience=FOR_EVER)
    with ThreadPoolExecutor(3) as threads:
        for one in [threads.submit(batcher, pictures(n)) for n in range(3)]:
            with pytest.raises(ScannerError, match="run of the model failed"):
                one.result(60)
    broken.clear()
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda n: batcher(pictures(n)), range(3)))
    assert [rows.tolist() for rows in results] == [[[n, 2 * n]] for n in range(3)]


def test_a_classifier_on_a_graphics_processor_shares_runs_and_keeps_its_frames_in_order() -> None:
    sizes = []

    def infer(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        brightness = batch.mean(dim=(1, 2, 3))
        return torch.stack([brightness, 1 - brightness], dim=1)

    # What stands for the processor's work runs here; how pictures come to it and scores from it is the same.
    classifier = Classifier(
        labels=("bright", "dark"), runtime={}, infer=infer, side=16, device=Device.CUDA, at_once=1
    )
    frames = np.stack([np.full((256, 256, 3), value, dtype=np.uint8) for value in (0, 51, 255)])
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda turn: classifier.score(np.roll(frames, turn, axis=0)), range(6)))
    for turn, scores in enumerate(results):
        expected = np.roll(np.array([0, 0.2, 1]), turn)
        np.testing.assert_allclose(scores, np.stack([expected, 1 - expected], axis=1), atol=1e-5)
    assert sum(sizes) == 18
    assert classifier.score(frames[:0]).shape == (0, 2)
