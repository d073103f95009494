from model.training.labelled_texts import LabelledTexts
from pipeline.sampling.eval_split import split_evaluation
from pipeline.sampling.hash_sampling import HashStream, in_hash_sample, text_hashes


def rows_of(num_rows: int) -> LabelledTexts:
    texts = [f"text {place % (num_rows // 2)}" for place in range(num_rows)]  # each of them twice
    labels = [f"{place % 3}" for place in range(num_rows)]
    return LabelledTexts(texts=texts, labels=labels, num_rejected=7)


def test_every_row_is_on_one_side_and_equal_texts_are_together():
    rows = rows_of(1000)
    kept, drawn = split_evaluation(rows, 0.2)
    assert drawn is not None
    assert len(kept) + len(drawn) == 1000
    assert not set(kept.texts) & set(drawn.texts)
    assert 120 < len(drawn) < 280
    assert (kept.num_rejected, drawn.num_rejected) == (7, 0)
    pairs = sorted(zip([*kept.texts, *drawn.texts], [*kept.labels, *drawn.labels], strict=True))
    assert pairs == sorted(zip(rows.texts, rows.labels, strict=True))


def test_what_distill_holds_out_is_among_them():
    texts = rows_of(1000).texts
    _, drawn = split_evaluation(rows_of(1000), 0.2)
    assert drawn is not None
    is_held_out = in_hash_sample(text_hashes(texts), 0.05, HashStream.HELD_OUT)
    assert {text for text, is_one in zip(texts, is_held_out, strict=True) if is_one} <= set(drawn.texts)


def test_a_label_stays_with_what_is_trained_on():
    plain = [f"text {place}" for place in range(500)]
    is_drawn = in_hash_sample(text_hashes(plain), 0.2, HashStream.HELD_OUT)
    rare = plain[int(is_drawn.argmax())]
    rows = LabelledTexts(texts=plain, labels=["rare" if text == rare else "other" for text in plain])
    kept, drawn = split_evaluation(rows, 0.2)
    assert rare in kept.texts
    assert drawn is not None
    assert len(drawn) == is_drawn.sum() - 1


def test_none_are_drawn_of_a_share_of_nothing():
    rows = rows_of(100)
    assert split_evaluation(rows, 0.0) == (rows, None)
