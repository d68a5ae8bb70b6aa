"""Check 12 of the CRECL specification, and each shortcut of the encoder against the plain way."""

import copy

import pytest
import torch
from states import same

from relcl_lib.models.marker_encoder import MarkerEncoder

MARKS = (30522, 30523, 30524, 30525)  # [E11] [E12] [E21] [E22]


def bert(hidden=32, layers=2, seed=0):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=300,
    )
    torch.manual_seed(seed)
    return BertModel(config).eval()


def encoder(network=None, seed=1, **options):
    torch.manual_seed(seed)
    return MarkerEncoder(network or bert(), 30526, **options)


def sentences(lengths=(9, 14, 7, 11), pad_to=None, seed=0):
    """Return a batch; in every second sentence the tail mention comes first."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), pad_to or max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    places = {name: [] for name in ("head", "tail", "head_end", "tail_end")}
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(1000, 2000, (n,), generator=g)
        mask[row, :n] = 1
        starts = (1, 4) if row % 2 == 0 else (4, 1)
        for at, names, marks in zip(
            starts,
            (("head", "head_end"), ("tail", "tail_end")),
            (MARKS[:2], MARKS[2:]),
            strict=True,
        ):
            for offset, name, mark in zip((0, 2), names, marks, strict=True):
                ids[row, at + offset] = mark
                places[name].append(at + offset)
    places = {name: torch.tensor(at) for name, at in places.items()}
    return {"input_ids": ids, "attention_mask": mask, **places}


def plain_states(network, batch, mask=True):
    """All states of the whole BERT, as transformers computes them."""
    attended = batch["attention_mask"] if mask else torch.ones_like(batch["attention_mask"])
    out = network(input_ids=batch["input_ids"], attention_mask=attended)
    return out.last_hidden_state


def whole(network, seed=1):
    """Return a copy of the BERT that has the rows MarkerEncoder would draw."""
    torch.manual_seed(seed)
    network = copy.deepcopy(network)
    network.resize_token_embeddings(30526, mean_resizing=False)
    return network


# --- check 12 ----------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("groups", [0, 1, 2, 3])
def test_entities_are_the_states_at_the_opening_markers(layers, groups):
    network = bert(layers=layers)
    reference, batch = whole(network), sentences()
    e = encoder(network, groups=groups).eval().entities(batch)
    assert e.shape == (4, 64)
    states = plain_states(reference, batch)
    for row in range(4):
        for half, mark in zip(e[row].split(32), (MARKS[0], MARKS[2]), strict=True):
            (at,) = (batch["input_ids"][row] == mark).nonzero()
            torch.testing.assert_close(half, states[row, at[0]], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_paper_size():
    from transformers import BertConfig, BertModel

    network = BertModel(BertConfig(num_hidden_layers=1, intermediate_size=64))
    model = encoder(network).eval()
    assert model.network.get_input_embeddings().num_embeddings == 30526
    batch = sentences()
    assert model.entities(batch).shape == (4, 1536)
    assert model(batch).shape == (4, 768)


@torch.no_grad()
@pytest.mark.parametrize("groups", [0, 1, 2])
def test_padding_changes_nothing_unless_pads_are_attended(groups):
    network = bert()
    masked = encoder(copy.deepcopy(network), groups=groups).eval()
    attending = encoder(network, groups=groups, attend_pads=True).eval()
    short, medium, long = (sentences(pad_to=n) for n in (None, 64, 256))
    for other in (medium, long):
        difference = (masked.entities(short) - masked.entities(other)).abs().max()
        assert difference < 1e-5
    assert (attending.entities(medium) - attending.entities(long)).abs().max() > 1e-3
    expected = plain_states(whole(bert()), medium, mask=False)[torch.arange(4), medium["head"]]
    torch.testing.assert_close(attending.entities(medium)[:, :32], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pairs_are_averaged():
    network = bert()
    states, batch = plain_states(whole(network), sentences()), sentences()
    e = encoder(network, pooling="pairs").eval().entities(batch)
    rows = torch.arange(4)
    expected = (states[rows, batch["tail"]] + states[rows, batch["tail_end"]]) / 2
    torch.testing.assert_close(e[:, 32:], expected, rtol=1e-4, atol=1e-5)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="opening"):
        encoder(pooling="all")


# --- gradients and the small table ----------------------------------------------------------------


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("groups", [0, 2])
def test_the_shortcuts_have_the_gradients_of_the_plain_pass(groups):
    network = bert()
    reference = whole(network)
    model = encoder(network, groups=groups).eval()
    batch = sentences()
    weights = torch.randn(4, 64, generator=torch.Generator().manual_seed(3))
    (model.entities(batch) * weights).sum().backward()
    states, rows = plain_states(reference, batch), torch.arange(4)
    e = torch.cat([states[rows, batch["head"]], states[rows, batch["tail"]]], 1)
    (e * weights).sum().backward()
    found = gradients(model)
    for name, expected in gradients(reference).items():
        ours = f"network.{name}".replace("network.encoder.layer.", "layers.")
        torch.testing.assert_close(found[ours], expected, rtol=1e-3, atol=1e-5)
    # Queries at other places than the markers get none; everything else is reached.
    assert len(found) == len(gradients(reference))


@pytest.mark.parametrize("fused", [False, True])
def test_a_small_table_trains_to_the_same_weights(fused):
    batches = [sentences(seed=seed) for seed in (0, 1, 0)]
    models = [encoder(), encoder()]

    def train(model):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
        torch.manual_seed(5)
        for batch in batches:
            optimizer.zero_grad()
            model(batch).pow(2).mean().backward()
            optimizer.step()
        return sum(p.numel() for group in optimizer.param_groups for p in group["params"])

    large = train(models[0])
    with models[1].only_tokens(torch.stack([batch["input_ids"] for batch in batches])):
        small = train(models[1])
    assert small < large / 10
    assert same(*models)


@pytest.mark.parametrize("kind", ["Roberta", "Camembert"])
def test_a_small_table_keeps_the_positions_that_are_told_by_the_pad(kind):
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = getattr(transformers, f"{kind}Config")(vocab_size=30522, **small)
    torch.manual_seed(0)
    model = encoder(getattr(transformers, f"{kind}Model")(config)).eval()
    batch = sentences()
    batch["input_ids"][batch["attention_mask"] == 0] = config.pad_token_id
    batch["input_ids"][:, 0] = 5  # CamemBERT's first token
    expected = model(batch)
    with model.only_tokens(batch["input_ids"]):
        torch.testing.assert_close(model(batch), expected)


def test_the_table_is_put_back_after_an_error():
    model = encoder()
    before = model.network.get_input_embeddings()
    with pytest.raises(RuntimeError), model.only_tokens(sentences()["input_ids"]):
        raise RuntimeError
    assert model.network.get_input_embeddings() is before
    assert torch.isfinite(model(sentences())).all()


def test_one_row_of_dropout_for_every_row_asked_for():
    model = encoder(dropout=0.5).train()
    e = torch.ones(3, 64)
    rows = model.represent(e.expand(10, 3, 64))
    assert rows.shape == (10, 3, 32)
    assert len(rows.view(30, -1).unique(dim=0)) == 30
    still = encoder(dropout=0.0).train().represent(e.expand(10, 3, 64))
    assert (still == still[:1]).all()
