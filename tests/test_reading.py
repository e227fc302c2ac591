"""The reader of pictures: order, bounded groups, errors, interrupts, and what is left when it is closed."""

import gc
import multiprocessing
import threading
from dataclasses import replace
from itertools import chain

import pytest
import torch
from waiting import until

from workbench import images, progress
from workbench.errors import WorkbenchError
from workbench.retrieval import reading


class TestRead:
    """Pictures in their order, a group at a time."""

    @pytest.mark.parametrize("count", [0, 1, 4, 7])
    def test_pictures_come_in_their_order_by_whatever_reader(self, corpus, count):
        works = list(corpus)[:count]
        decoded = [decode(works, 32) for decode in (reading.decoded_by_threads, reading.decoded_by_processes)]
        resized = [(images.resize(images.from_levels(levels), sides) for levels, sides in each) for each in decoded]
        for pictures in (reading.read(works, 32, torch.device("cpu")), *resized):
            pictures = list(pictures)
            assert len(pictures) == count
            assert all(torch.equal(picture, work.load(32)) for picture, work in zip(pictures, works, strict=True))

    def test_a_group_is_no_larger_than_fits_and_what_comes_before_a_bad_file_is_read(self, corpus, tmp_path):
        works = list(corpus)[:7]
        assert [len(group) for group in reading._groups(works, 32, 3, 10**6)] == [3, 3, 1]
        pixels = [load.shape[-2] * load.shape[-1] for load in (work.load(32) for work in works)]
        groups = list(reading._groups(works, 32, 3, max(pixels) + min(pixels)))
        assert list(chain(*groups)) == works and max(map(len, groups)) == 2
        assert [len(group) for group in reading._groups(works, 32, 3, 1)] == [1] * 7
        assert not list(reading._groups([], 32, 3, 1))
        damaged = tmp_path / works[2].name
        damaged.write_bytes(b"no longer a picture")
        read = reading.loaded([*works[:2], replace(works[2], path=damaged), *works[3:]], 32)
        assert torch.equal(next(read), works[0].load(32)) and torch.equal(next(read), works[1].load(32))
        with pytest.raises(WorkbenchError, match=damaged.name):
            next(read)

    def test_a_reader_that_is_closed_leaves_no_threads_and_the_number_of_torch_as_it_was(self, corpus):
        works = list(corpus)[:6]
        before, computing = threading.active_count(), torch.get_num_threads()
        read = reading.loaded(works, 32)
        next(read)
        assert threading.active_count() > before
        read.close()
        assert (threading.active_count(), torch.get_num_threads()) == (before, computing)
        assert len(list(reading.loaded(works, 32))) == 6 and threading.active_count() == before
        stop = threading.Event()
        stop.set()
        with progress.stoppable(stop), pytest.raises(progress.Stopped):
            next(reading.loaded(works, 32))
        assert threading.active_count() == before


class TestDecoded:
    """Pictures decoded for a GPU, by threads and by processes."""

    def test_what_is_much_larger_than_needed_is_scaled_where_it_is_decoded(self, corpus, monkeypatch):
        """Or a group of large pictures would fill the memory."""
        works = list(corpus)[:4]  # of 64 px
        for decode in (reading.decoded_by_threads, reading.decoded_by_processes):
            assert [levels.shape[2] for levels, _ in decode(works, 16)] == [3] * 4  # levels, of four times the size
        monkeypatch.setattr(reading, "MAX_REDUCTION", 2)
        for decode in (reading.decoded_by_threads, reading.decoded_by_processes):
            found = list(decode(works, 16))
            assert all(torch.equal(picture, work.load(16)) for (picture, _), work in zip(found, works, strict=True))

    def test_an_error_of_a_process_is_raised_as_it_is_and_no_process_is_left(self, corpus, tmp_path):
        works = list(corpus)[:6]
        copy = tmp_path / works[2].name
        copy.write_bytes(b"no longer a picture")
        works[2] = replace(works[2], path=copy)
        read = reading.decoded_by_processes(works, 32)
        for work in works[:2]:
            levels, sides = next(read)
            assert torch.equal(images.resize(images.from_levels(levels), sides), work.load(32))
        with pytest.raises(WorkbenchError, match=works[2].name) as met:
            next(read)
        assert "Traceback" not in str(met.value)
        state = torch.random.get_rng_state()
        read = reading.decoded_by_processes(works[:2], 32)
        next(read)
        assert torch.equal(torch.random.get_rng_state(), state)
        read.close()
        gc.collect()
        until(lambda: not multiprocessing.active_children())


class TestBatches:
    """Pictures of one shape together."""

    @pytest.mark.parametrize("error", [WorkbenchError("a bad file"), KeyboardInterrupt()])
    def test_what_was_read_before_an_error_is_yielded(self, error):
        def pictures():
            for i in range(5):
                yield i, torch.zeros(1, 3, 4, 4)
            raise error

        found = []
        with pytest.raises(type(error)):
            for batch in reading.batches(pictures(), 3):
                found.append([i for i, _ in batch])
        assert found == [[0, 1, 2], [3, 4]]
        left = reading.batches(pictures(), 2)
        next(left)
        left.close()

    def test_a_batch_of_one_is_yielded_before_the_next_picture_is_read(self):
        read = []
        batches = reading.batches(((read.append(i), torch.zeros(1)) for i in range(3)), 1)
        next(batches)
        assert read == [0]
