"""Which samples each rank trains on."""

from __future__ import annotations

import pytest

import train_loop


@pytest.mark.parametrize(("samples", "batch"), [(50, 16), (50, 50), (49, 16), (7, 3)])
def test_shares_make_up_the_same_global_batches_on_any_number_of_ranks(samples, batch, monkeypatch):
    def batches(ranks):
        shares = []
        for rank in range(ranks):
            monkeypatch.setattr(train_loop.dist, "get_rank", lambda rank=rank: rank)
            monkeypatch.setattr(train_loop.dist, "get_world_size", lambda: ranks)
            mine = train_loop.Shares(samples, batch, seed=1)
            mine.epoch = 4
            shares.append(list(mine))
            assert len(mine) == len(shares[-1])
            assert all(shares[-1])  # no rank is ever without a sample
        return [sorted(sum(parts, [])) for parts in zip(*shares, strict=True)]  # noqa: RUF017 - short lists

    alone = batches(1)
    assert sorted(i for b in alone for i in b) == list(range(samples))
    assert batches(2) == alone if samples % batch != 1 else len(batches(2)) == len(alone) - 1
    assert sorted(i for b in batches(3) for i in b) == list(range(samples))
