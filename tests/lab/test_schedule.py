import pytest
import torch

from relcl_lib.lab.runtime import make_generator
from relcl_lib.lab.schedule import epoch_batches


@pytest.mark.parametrize("bucket", [0, 3])
def test_an_epoch_holds_every_sentence_once(bucket):
    lengths = torch.randint(3, 60, (101,), generator=make_generator(0, "x"))
    batches = epoch_batches(lengths, 8, bucket, make_generator(1, "order"))
    assert sorted(torch.cat(batches).tolist()) == list(range(101))
    assert sorted(map(len, batches)) == [5, *[8] * 12]
    again = epoch_batches(lengths, 8, bucket, make_generator(1, "order"))
    assert all(map(torch.equal, batches, again))
    pads = sum(float((lengths[b].max() - lengths[b]).sum()) for b in batches)
    if bucket:
        plain = epoch_batches(lengths, 8, 0, make_generator(1, "order"))
        assert pads < sum(float((lengths[b].max() - lengths[b]).sum()) for b in plain) / 2
