"""Counting words must not solve the generated corpus, and must not be useless either."""

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline

from relcl_lib.data.sentences import load_sentences
from relcl_lib.text.markers import mark_sentences
from relcl_lib.text.pretrained import load_encoder
from relcl_lib.worlds.corpus import make_documents, make_sentences
from relcl_lib.worlds.grammar import RELATIONS
from relcl_lib.worlds.world import make_world


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


def masked(data, kind):
    """Texts in which the first mentions are one sign each, and their labels."""
    texts, labels = [], []
    for sentence, split in zip(data.sentences, data.split, strict=True):
        if split == kind:
            words = [word.lower() for word in sentence.tokens]
            spans = [(sentence.head, "<h>"), (sentence.tail, "<t>")]
            for (start, end), sign in sorted(spans, reverse=True):
                words[start:end] = [sign]
            texts.append(" ".join(words))
            labels.append(sentence.label)
    return texts, labels


def fine_tuned_accuracy(data, encoder_name, *, epochs=5, rate=1e-3):
    """Train an encoder and a linear layer on its entity markers; the share right of the test."""
    tokenizer, encoder = load_encoder(encoder_name)
    tokens = mark_sentences(data, tokenizer)
    kinds = torch.tensor([split == "train" for split in data.split])
    train, test = kinds.nonzero().squeeze(1), (~kinds).nonzero().squeeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        head = torch.nn.Linear(2 * encoder.config.hidden_size, len(data.relations))

        def logits(batch):
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            hidden = encoder(**inputs).last_hidden_state
            rows = torch.arange(len(hidden))
            return head(torch.cat([hidden[rows, batch[key]] for key in ("head", "tail")], 1))

        steps = epochs * -(-len(train) // 32)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
        encoder.train()
        for _ in range(epochs):
            for rows in train[torch.randperm(len(train))].split(32):
                batch = tokens.batch(rows)
                loss = torch.nn.functional.cross_entropy(logits(batch), batch["labels"])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    encoder.eval()
    with torch.no_grad():
        batch = tokens.batch(test)
        return float((logits(batch).argmax(-1) == batch["labels"]).float().mean())


@pytest.mark.slow
def test_the_tiny_encoder_clearly_beats_counting_words():
    data = load_sentences("synthetic")
    train, test = masked(data, "train"), masked(data, "test")
    words, trigrams = (
        make_pipeline(
            CountVectorizer(token_pattern=r"\S+", ngram_range=(1, n)),
            LogisticRegression(max_iter=300),
        )
        .fit(*train)
        .score(*test)
        for n in (1, 3)
    )
    encoder = fine_tuned_accuracy(data, "tiny")
    print(f"bag of words {words:.3f}, trigrams {trigrams:.3f}, tiny encoder {encoder:.3f}")
    assert words < trigrams < 0.8
    assert trigrams + 0.08 < encoder < 0.98
