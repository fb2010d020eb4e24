import pytest
from conftest import make_text
from hypothesis import example, given
from hypothesis import strategies as st

from lstm.config import Refused
from lstm.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train([make_text(600)], 400)
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
PARTS = ["\n", "\n\n", " ", "  ", "\t", "\0", "\u2581", "😀", "é", "e\u0301", "<0x0A>", "<unk>", "wolf"]
ODD = st.lists(st.sampled_from(PARTS))


@given(UNICODE)
@example("")
@example(" \n  \n\n\t\0\r\n ")
@example("\u2581 a\u2581")
def test_every_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER.encode_sampled(text, 0.2, seed=1)) == text


@given(ODD.map("".join))
def test_every_odd_text_comes_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(ODD.map("".join), ODD.map("".join))
def test_a_text_after_another_joins_it(first, second):
    ids = TOKENIZER.encode(first) + TOKENIZER.encode(second, after=first)
    assert TOKENIZER.decode(ids) == first + second


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1)))
def test_the_stream_adds_up_and_never_holds_half_a_character(ids):
    decoder = TOKENIZER.decoder()
    parts = [decoder.push(i) for i in ids]
    assert "".join(parts) + decoder.flush() == TOKENIZER.decode(ids)
    for part in parts:
        part.encode()  # a lone surrogate would raise


def test_an_emoji_comes_whole():
    decoder = TOKENIZER.decoder()
    assert [decoder.push(i) for i in TOKENIZER.encode("\n😀")] == ["\n", "", "", "", "", "😀"]


def test_a_word_has_one_piece_at_the_start_of_a_line_and_inside_it():
    inside = TOKENIZER.encode(" wolf", after="grey")
    assert TOKENIZER.encode("wolf") == inside
    assert TOKENIZER.encode("\nwolf") == TOKENIZER.encode("\n") + inside


def test_many_texts_are_encoded_as_each_alone():
    texts = [make_text(10, seed) for seed in range(9)]
    assert TOKENIZER.encode_all(texts) == [TOKENIZER.encode(text) for text in texts]


@pytest.mark.parametrize("model", [b"", b"not a model", TOKENIZER.model[:100]])
def test_what_is_no_tokenizer_is_refused(model):
    with pytest.raises(Refused, match="tokenizer"):
        Tokenizer(model)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(Refused, match="surrogate"):
        TOKENIZER.encode("wolf \ud800")
