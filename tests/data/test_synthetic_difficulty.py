"""Counting words must not solve the generated corpus, and must not be useless either."""

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from relcl_lib.data.synthetic import make_documents, make_sentences, make_world
from relcl_lib.data.synthetic_encoder import build_tokenizer, tiny_bert
from relcl_lib.data.synthetic_grammar import RELATIONS


@pytest.fixture(scope="module")
def world():
    return make_world(0)


def bag_of_words():
    return make_pipeline(CountVectorizer(token_pattern=r"\S+"), LogisticRegression(max_iter=300))


def rows(by, name_entities):
    texts, relations = [], []
    for relation, records in by.items():
        for record in records:
            tokens = list(record["tokens"])
            for key in ("h", "t") if name_entities else ():
                for positions in record[key][2]:
                    for i in positions:
                        tokens[i] = f"<{key}>"
            texts.append(" ".join(tokens))
            relations.append(relation)
    return texts, relations


@pytest.mark.parametrize("name_entities", [False, True])
def test_a_bag_of_words_is_far_from_telling_the_relations(world, name_entities):
    splits = make_sentences(world, {"train": 60, "test": 20})
    train, test = (rows(splits[split], name_entities) for split in ("train", "test"))
    accuracy = bag_of_words().fit(*train).score(*test)
    assert 3 / len(RELATIONS) < accuracy < 0.65


def pairs(records):
    texts, related = [], []
    for record in records:
        gold = {(label["h"], label["t"]) for label in record["labels"]}
        places = [{m["sent_id"] for m in mentions} for mentions in record["vertexSet"]]
        types = [mentions[0]["type"] for mentions in record["vertexSet"]]
        for h, t in ((h, t) for h in range(len(types)) for t in range(len(types)) if h != t):
            words = [w for i in sorted(places[h] | places[t]) for w in record["sents"][i]]
            near = "together" if places[h] & places[t] else "apart"
            texts.append(" ".join([*words, f"<{types[h]}-{types[t]}>", f"<{near}>"]))
            related.append((h, t) in gold)
    return texts, related


def test_a_bag_of_words_is_far_from_telling_related_pairs(world):
    records = make_documents(world, {"train": 80, "dev": 1, "test": 40})
    train, test = pairs(records["train"]), pairs(records["test"])
    found = bag_of_words().fit(*train).predict(test[0])
    share = sum(test[1]) / len(test[1])
    always = 2 * share / (1 + share)
    assert always < f1_score(test[1], found) < 0.65


MARKERS = {"h": ("[E11]", "[E12]"), "t": ("[E21]", "[E22]")}


def marked(by, tokenizer):
    """Token ids with the first mentions marked, and relation numbers."""
    texts, relations = [], []
    for number, records in enumerate(by.values()):
        for record in records:
            tokens = list(record["tokens"])
            for key in sorted(MARKERS, key=lambda k: -record[k][2][0][0]):
                first, last = record[key][2][0][0], record[key][2][0][-1]
                opening, closing = MARKERS[key]
                tokens[first : last + 1] = [opening, *tokens[first : last + 1], closing]
            texts.append(" ".join(tokens))
            relations.append(number)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return batch["input_ids"], torch.tensor(relations)


@pytest.mark.slow
def test_a_tiny_bert_clearly_beats_the_bag_of_words(world):
    splits = make_sentences(world)
    bag = bag_of_words().fit(*rows(splits["train"], False)).score(*rows(splits["test"], False))
    tokenizer = build_tokenizer(rows(splits["train"], False)[0])
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [marker for pair in MARKERS.values() for marker in pair]}
    )
    opening = [tokenizer.convert_tokens_to_ids(pair[0]) for pair in MARKERS.values()]
    encoder = tiny_bert(tokenizer).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = torch.nn.Linear(2 * 64, len(RELATIONS))

        def logits(ids):
            ids = ids[:, : int((ids > 0).sum(1).max())]
            hidden = encoder(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
            return head(torch.cat([hidden[ids == marker] for marker in opening], -1))

        ids, relations = marked(splits["train"], tokenizer)
        steps = 7 * -(-len(ids) // 32)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
        for _ in range(7):
            for rows_at in torch.randperm(len(ids)).split(32):
                loss = torch.nn.functional.cross_entropy(logits(ids[rows_at]), relations[rows_at])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    encoder.eval()
    ids, relations = marked(splits["test"], tokenizer)
    with torch.no_grad():
        accuracy = float((logits(ids).argmax(-1) == relations).float().mean())
    print(f"bag of words {bag:.3f}, tiny BERT {accuracy:.3f}")
    assert bag + 0.08 < accuracy < 0.97
